"""Label files: tables of text, and what is known about their columns.

`Rows` are a pandas table with the columns `name` (of the recording), `path` and `row` (file and line, for messages),
`label` and, where the file has them, `time`, `split`, `speaker` and `fold` (texts, as the file has them).
`jaxpara.corpora.values` adds `time_s` and `value` (numbers).
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.tasks import Task
from jaxpara.registry import suggest

# All the spellings of the challenges from 2018 to 2023, and the usual ones of other tables.
NAME_COLUMNS = ("file_name", "filename", "filename_audio", "file", "path")
TIME_COLUMNS = ("timeFrame", "time", "timestamp")
TARGET_COLUMNS = ("label", "target", "emotion")
OPTIONAL_COLUMNS = {
    "split": ("split", "partition", "subset"),
    "speaker": ("speaker", "speaker_id", "subject"),
    "fold": ("fold",),
}
FIELDS = {"name": "columns.file", "label": "target"}  # of `config.corpus`; that of `speaker` is `columns.speaker`
SEPARATORS = (",", ";", "\t")
MAX_LINES_ABOVE = 5  # lines above the header that are recognised as such, for the message

Rows = Any  # a pandas.DataFrame; pyright cannot follow the types of its columns and rows


def read_table(
    path: Path, findings: Findings, optional: Mapping[str, Sequence[str]] = {}, **columns: Sequence[str]
) -> Rows:
    """Read some columns of a table of files, see `records`.

    Args:
      findings: collects the rows that do not fit the header; they are left out.
      optional: more columns, as in `columns`, that the table need not have.
      columns: the columns to read besides the file names, as `new_name=spellings`; upper and lower case count only
        where the same letters name several columns.

    Returns:
      The columns `row` (the line of the file on which the row begins, from 1), `path`, `name` and the requested ones:
      texts without spaces around them. Its `attrs` have the spelling of each column in the file.

    Raises:
      UserError: not such a table, or one without rows.
    """
    columns = {"name": NAME_COLUMNS, **columns}
    lines = records(path, findings, columns["name"], _or_give("name"))
    _, header = next(lines)
    places = {what: _place(path, header, what, names, findings) for what, names in columns.items()}
    found = {what: _index(header, names) for what, names in optional.items()}
    places |= {what: place for what, place in found.items() if place is not None}
    rows: list[int] = []
    cells: dict[str, list[str]] = {what: [] for what in places}
    texts: dict[str, str] = {}  # one copy of each: names and times repeat, and a file may have millions of rows
    for row, record in lines:
        rows.append(row)
        for what, place in places.items():
            cells[what].append(texts.setdefault(record[place], record[place]))
    if not rows:
        findings.require_no_error()  # there may be rows, none of which fits the header
        raise findings.fatal(path, "no rows below the header", "fill it, or copy it again from the corpus")
    table = pd.DataFrame({"row": rows, "path": path, **cells}, dtype=object)
    table.attrs = {what: header[place] for what, place in places.items()}
    return table


def records(
    path: Path, findings: Findings, names: Sequence[str] = NAME_COLUMNS, or_give: str = ""
) -> Iterator[tuple[int, list[str]]]:
    """Yield the header of a UTF-8 table separated by commas, semicolons or tabs, then its rows.

    Args:
      findings: collects the rows that do not fit the header; they are left out.
      names: the spellings of the column with the files.
      or_give: for the message, what to do instead of naming that column so.

    Yields:
      The line of the file on which the row begins, from 1, and its cells without spaces around them.

    Raises:
      UserError: not such a table.
    """
    row = 1
    try:
        with path.open(encoding="utf-8-sig") as lines:
            header, separator = _header(path, lines, names, or_give, findings)
            yield row, header
            # Rows are read with `csv`, because `pandas.read_csv` silently fills short rows and has no line numbers.
            reader = csv.reader(lines, delimiter=separator)
            row = 2
            for record in reader:
                begin, row = row, reader.line_num + 2
                if row > begin + 1:
                    findings.error("open quotations", path, "a quotation mark is not closed", "close it", begin)
                elif len(record) == len(header):
                    yield begin, [cell.strip() for cell in record]
                elif any(cell.strip() for cell in record):
                    what = f"{len(record)} columns, the header has {len(header)}"
                    findings.error("rows of another width", path, what, "correct or delete the row", begin)
    except OSError as error:
        raise findings.fatal(path, f"cannot be read ({error.strerror})", "make it a readable file") from error
    except UnicodeDecodeError as error:
        row += error.object[: error.start].count(b"\n")  # the file is decoded piece by piece
        what = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
        raise findings.fatal(path, what, "save the file as UTF-8", row) from error
    except csv.Error as error:
        raise findings.fatal(path, f"not readable as a table ({error})", "correct the row", row) from error


def file_column(header: Sequence[str]) -> int:
    """Return the index of the column with the files; -1 if there is none."""
    place = _index(header, NAME_COLUMNS)
    return -1 if place is None else place


def _header(path: Path, lines: Any, names: Sequence[str], or_give: str, findings: Findings) -> tuple[list[str], str]:
    """Return the column names and the separator of the first line; `names` are the spellings of the file column."""
    line = lines.readline()
    header, separator = _split(line, names)
    if _index(header, names) is None:
        what = f"the first line is {quote(line.strip())}" if line.strip() else "the first line is empty"
        wanted = f"a column {' or '.join(names)}"
        for row, other in enumerate(islice(lines, MAX_LINES_ABOVE) if line.strip() else (), 2):
            if _index(_split(other, names)[0], names) is not None:
                what = f"{what}, and {quote(other.strip())} in row {row} seems to be the header"
                raise findings.fatal(path, what, "delete the lines above the header", 1)
        if len(header) > 1 and not header[0]:
            what = f"{what}, in which the first column has no name"
        hint = next(filter(None, (suggest(name.lower(), list(names)) for name in header if name)), "")
        raise findings.fatal(path, what, f"make it a header with {wanted}{or_give}{hint}", 1)
    for name in header:
        if name and header.count(name) > 1:
            raise findings.fatal(path, f"column {quote(name)} appears twice", "delete or rename one of them", 1)
    return header, separator


def _split(line: str, names: Sequence[str]) -> tuple[list[str], str]:
    """Return the cells of a header and its separator: the one with which there is a file column."""
    headers = []
    for separator in SEPARATORS:
        # Column names contain no line breaks.
        cells = next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
        headers.append(([cell.strip().strip('"') for cell in cells], separator))
    return next((found for found in headers if _index(found[0], names) is not None), headers[0])


def _index(header: Sequence[str], spellings: Sequence[str]) -> int | None:
    """Return the index of the column with one of the spellings, in any case where that is unique."""
    folded = [name.casefold() for name in header]
    for name in spellings:
        if name in header:
            return header.index(name)
    return next((folded.index(n.casefold()) for n in spellings if folded.count(n.casefold()) == 1), None)


def _place(path: Path, header: list[str], what: str, spellings: Sequence[str], findings: Findings) -> int:
    """Return the index of the column with one of the spellings."""
    if (place := _index(header, spellings)) is not None:
        return place
    hint = next(filter(None, (suggest(name, header) for name in spellings)), "")
    message = f"no {what} column among {quote(', '.join(header), 200)}{hint}"
    raise findings.fatal(path, message, f"name it {' or '.join(spellings)}{_or_give(what)}", 1)


def _or_give(what: str) -> str:
    return f", or give its name as config.corpus.{FIELDS.get(what, f'columns.{what}')}"


def read_rows(
    path: Path, task: Task, findings: Findings, columns: Mapping[str, str] = {}, *, own: bool = False
) -> Rows:
    """Read the rows of a label file; see `read_table`.

    Args:
      columns: the names of columns that do not have the usual ones, `config.corpus.columns`.
      own: True to read splits, speakers and folds too, where the file has them.
    """
    given = {what: (columns[what],) for what in ("split", "speaker") if own and columns.get(what)}
    wanted = {"label": (task.target,) if task.target else TARGET_COLUMNS, **given}
    if columns.get("file"):
        wanted["name"] = (columns["file"],)
    if task.kind == "sequence":
        wanted["time"] = (columns["time"],) if columns.get("time") else TIME_COLUMNS
    optional = {what: names for what, names in OPTIONAL_COLUMNS.items() if own and what not in given}
    return read_table(path, findings, optional, **wanted)


def one_row_each(rows: Rows, findings: Findings) -> Rows:
    """Return the first row of each recording; the others are findings."""
    again = rows["name"].duplicated()
    others = rows.assign(first=rows.groupby("name")["row"].transform("first"))[again]
    fix = "delete one of the rows"
    findings.add_rows("error", "duplicated rows", others, "{name!r} appears here and in row {first}", fix)
    return rows[~again].reset_index(drop=True)


def in_order(rows: Rows) -> Rows:
    """Return the rows of each recording one after the other, in the order of the first row of each."""
    return rows.iloc[np.argsort(pd.factorize(rows["name"])[0], kind="stable")].reset_index(drop=True)
