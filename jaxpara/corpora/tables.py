"""Label files as columns of text: separator and columns are found, the rows keep their line numbers."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxpara.corpora.findings import Defect, Findings, quote
from jaxpara.registry import suggest

# The challenges of 2018 to 2023 spell them in all these ways.
NAME_COLUMNS = ("file_name", "filename", "filename_audio", "file")
TIME_COLUMNS = ("timeFrame", "time", "timestamp")
SEPARATORS = (",", ";", "\t")
MOST_AT_ONCE = 2**16  # texts that are kept once however often they stand in a table: names, times


@dataclass(frozen=True, eq=False)
class Table:
    """A label file.

    Attributes:
      rows: `[row]` the line of the file, counted from 1, on which each row begins.
      columns: `[row]` text per column, without blanks around it.
    """

    path: Path
    rows: list[int]
    columns: dict[str, list[str]]

    def column(self, names: Sequence[str], what: str) -> list[str]:
        """The first of some columns that the table has.

        Raises:
          Defect: it has none of them.
        """
        for name in names:
            if name in self.columns:
                return self.columns[name]
        found = list(self.columns)
        hint = next(filter(None, (suggest(name, found) for name in names)), "")
        message = f"no {what} column among {quote(', '.join(found))}{hint}"
        raise Defect(self.path, 1, message, f"name it {' or '.join(names)}")

    def recordings(self) -> dict[str, list[int]]:
        """Per name in the name column, the indices of its rows."""
        indices: dict[str, list[int]] = {}
        for index, name in enumerate(self.column(NAME_COLUMNS, "file name")):
            indices.setdefault(name, []).append(index)
        return indices


def load(path: Path, findings: Findings) -> Table:
    """Reads a UTF-8 table with a header, separated by commas, semicolons or tabs.

    Args:
      findings: takes the rows that do not fit the header; they are left out.

    Raises:
      Defect: the file cannot be read, is not UTF-8, has no column for the file names, a column twice, a row that is
        no CSV, or no rows.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Defect(path, None, f"cannot be read ({error.strerror})", "make it a readable file") from error
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise Defect(path, row, what, "save the file as UTF-8") from error
    # Of a file with millions of rows neither the whole text nor all its rows are kept beside the columns.
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=None)
    header, separator = _header(path, lines.readline())
    rows: list[int] = []
    columns: list[list[str]] = [[] for _ in header]
    once: dict[str, str] = {}
    reader = csv.reader(lines, delimiter=separator)
    row = 2
    try:
        for record in reader:
            begin, row = row, reader.line_num + 2
            if row > begin + 1:
                findings.error("open quotations", path, begin, "a quotation mark is not closed", "close it")
            elif len(record) == len(header):
                rows.append(begin)
                for column, cell in zip(columns, record, strict=True):
                    text = cell.strip()
                    column.append(once.setdefault(text, text))
                if len(once) > MOST_AT_ONCE:
                    once.clear()
            elif any(cell.strip() for cell in record):
                what = f"{len(record)} columns, the header has {len(header)}"
                findings.error("rows of another width", path, begin, what, "correct or delete the row")
    except csv.Error as error:
        raise Defect(path, row, f"not readable as a table ({error})", "correct the row") from error
    if not rows:
        raise Defect(path, None, "no rows below the header", "fill it, or copy it anew from the corpus")
    return Table(path, rows, dict(zip(header, columns, strict=True)))


def _header(path: Path, line: str) -> tuple[list[str], str]:
    """The column names in the first line, and the separator with which they hold a file name column."""
    for separator in SEPARATORS:
        # A header is short; quotation marks and what they may hold are left to the rows.
        header = [cell.strip().strip('"') for cell in line.split(separator)]
        if any(name in header for name in NAME_COLUMNS):
            break
    else:
        what = f"the first line is {quote(line.strip())}" if line.strip() else "the first line is empty"
        raise Defect(path, 1, what, f"make it a header with a column {' or '.join(NAME_COLUMNS)}")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise Defect(path, 1, f"column {quote(twice[0])} stands twice", "delete or rename one of them")
    return header, separator
