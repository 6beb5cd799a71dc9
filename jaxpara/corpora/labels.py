"""Label files: tables of text, the times and labels in them, and checks of both.

`Rows` are a pandas table with the columns `name` (of the recording), `path` and `row` (file and line, for messages),
`label` and, for sequences, `time` (texts, as the file has them). `with_values` adds `time_s` and `value` (numbers).
"""

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.tasks import Task
from jaxpara.registry import suggest

# All the spellings of the challenges from 2018 to 2023.
NAME_COLUMNS = ("file_name", "filename", "filename_audio", "file")
TIME_COLUMNS = ("timeFrame", "time", "timestamp")
SEPARATORS = (",", ";", "\t")
# Contents of the label column where the organisers keep the label secret.
UNLABELLED = frozenset({"?", "", "nan", "NaN", "NAN"})
MAX_VALUE = 1e6  # of a label, and of a time in seconds; larger ones spoil sums and squares in float32

Rows = Any  # a pandas.DataFrame; pyright cannot follow the types of its columns and rows


def read_table(path: Path, findings: Findings, **columns: Sequence[str]) -> Rows:
    """Read a UTF-8 table with a header, separated by commas, semicolons or tabs.

    Args:
      findings: collects the rows that do not fit the header; they are left out.
      columns: the columns to read besides the file names, as `new_name=spellings`.

    Returns:
      The columns `row` (the line of the file on which the row begins, from 1), `path`, `name` and the requested ones:
      texts without spaces around them.

    Raises:
      UserError: not such a table, or one without rows.
    """
    columns = {"name": NAME_COLUMNS, **columns}
    rows: list[int] = []
    cells: dict[str, list[str]] = {name: [] for name in columns}
    texts: dict[str, str] = {}  # one copy of each: names and times repeat, and a file may have millions of rows
    row = 1
    try:
        with path.open(encoding="utf-8-sig") as lines:
            header, separator = _header(path, lines.readline(), findings)
            places = [_place(path, header, what, spellings, findings) for what, spellings in columns.items()]
            # Rows are read with `csv`, because `pandas.read_csv` silently fills short rows and has no line numbers.
            reader = csv.reader(lines, delimiter=separator)
            row = 2
            for record in reader:
                begin, row = row, reader.line_num + 2
                if row > begin + 1:
                    findings.error("open quotations", path, "a quotation mark is not closed", "close it", begin)
                elif len(record) == len(header):
                    rows.append(begin)
                    for column, place in zip(cells.values(), places, strict=True):
                        cell = record[place].strip()
                        column.append(texts.setdefault(cell, cell))
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
    if not rows:
        raise findings.fatal(path, "no rows below the header", "fill it, or copy it again from the corpus")
    return pd.DataFrame({"row": rows, "path": path, **cells}, dtype=object)


def _header(path: Path, line: str, findings: Findings) -> tuple[list[str], str]:
    """Return the column names and the separator of the first line."""
    for separator in SEPARATORS:
        # Column names contain neither separators nor quotation marks.
        header = [cell.strip().strip('"') for cell in line.split(separator)]
        if any(name in header for name in NAME_COLUMNS):
            break
    else:
        what = f"the first line is {quote(line.strip())}" if line.strip() else "the first line is empty"
        raise findings.fatal(path, what, f"make it a header with a column {' or '.join(NAME_COLUMNS)}", 1)
    for name in header:
        if name and header.count(name) > 1:
            raise findings.fatal(path, f"column {quote(name)} appears twice", "delete or rename one of them", 1)
    return header, separator


def _place(path: Path, header: list[str], what: str, spellings: Sequence[str], findings: Findings) -> int:
    """Return the index of the column with one of the spellings."""
    for name in spellings:
        if name in header:
            return header.index(name)
    hint = next(filter(None, (suggest(name, header) for name in spellings)), "")
    message = f"no {what} column among {quote(', '.join(header))}{hint}"
    raise findings.fatal(path, message, f"name it {' or '.join(spellings)}", 1)


def read_rows(path: Path, task: Task, findings: Findings) -> Rows:
    """Read the rows of a label file; see `read_table`."""
    times = {"time": TIME_COLUMNS} if task.kind == "sequence" else {}
    return read_table(path, findings, label=(task.target,), **times)


def one_row_each(rows: Rows, findings: Findings) -> Rows:
    """Return the first row of each recording; the others are findings."""
    again = rows["name"].duplicated()
    others = rows.assign(first=rows.groupby("name")["row"].transform("first"))[again]
    fix = "delete one of the rows"
    findings.add_rows("error", "duplicated rows", others, "{name!r} appears here and in row {first}", fix)
    return rows[~again].reset_index(drop=True)


def with_values(rows: Rows, task: Task, may_hide: Collection[str], findings: Findings) -> Rows:
    """Return the rows with `time_s` and `value`; of class tasks, one row per recording, at 0 s.

    `time_s` is rounded to microseconds, and NaN in all rows of a recording with a wrong time. `value` is the class
    index or the position of the belt, and NaN where the label is hidden or wrong.

    Args:
      may_hide: the recordings whose label may be `?`, as in the test partition.
    """
    if task.kind == "classes":
        rows = one_row_each(rows, findings).assign(time_s=0.0)
        value = rows["label"].map({name: float(index) for index, name in enumerate(task.classes)}).astype(float)
        kind, expected = "unknown classes", f"one of {', '.join(task.classes)}"
    else:
        rows = rows.assign(time_s=_times(rows, findings))
        value = rows["label"].map(_number).astype(float)
        kind, expected = "labels that are not numbers", "a finite number with a decimal point"
    hidden = rows["label"].isin(UNLABELLED)
    what, fix = "{name!r} has the label {label!r}, which only test recordings may have", "add the label"
    findings.add_rows("error", "hidden labels outside test", rows[hidden & ~rows["name"].isin(may_hide)], what, fix)
    rows["value"] = value.where(~hidden & np.isfinite(value))
    wrong = rows[~hidden & rows["value"].isna()]
    wrong = wrong.assign(hint=[suggest(label[:60], list(task.classes)) for label in wrong["label"]])
    findings.add_rows("error", kind, wrong, f"label {{label!r}}, expected {expected}{{hint}}", "correct the label")
    if task.kind == "sequence":
        size, what = rows["value"].abs(), "label {value:g}, expected -1 to 1"
        fix = "scale the labels if the whole file is like this"
        findings.add_rows("error", "labels out of range", rows[size >= MAX_VALUE], what, fix)
        findings.add_rows("warning", "labels out of range", rows[(size > 1) & (size < MAX_VALUE)], what, fix)
    return rows


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _times(rows: Rows, findings: Findings) -> Rows:
    names, seconds = rows["name"], rows["time"].map(_number).astype(float)
    wrong = ~(seconds.abs() < MAX_VALUE)
    what = "time {time!r}, expected seconds as a number"
    findings.add_rows("error", "times that are not numbers", rows[wrong], what, "correct the time")
    # Predictions are keyed by microseconds.
    seconds = seconds.mask(_any_of(wrong, names)).round(6)
    step = seconds.groupby(names).diff()
    rows = rows.assign(at=seconds, before=seconds - step)
    what, fix = "{name!r} at {at:g} s appears twice", "delete one of the rows"
    findings.add_rows("error", "duplicated rows", rows[step == 0], what, fix)
    what, fix = "{name!r} at {at:g} s comes after {before:g} s", "sort the rows by time"
    findings.add_rows("error", "rows out of order", rows[step < 0], what, fix)
    return seconds.mask(_any_of(step <= 0, names))


def on_grid(rows: Rows, findings: Findings) -> tuple[Rows, float]:
    """Return the rows of the recordings with a label in every period from 0 s on, and the labels per second."""
    names, at = rows["name"], rows["time_s"]
    step = at.groupby(names).diff()
    # Times are often written with two decimals, so that a single step is inexact; the mean of the usual steps is not.
    typical = step.groupby(names).transform("median")
    rate_hz = 1 / step[(step - typical).abs() < 0.5 * typical].groupby(names).mean().median()
    if np.isnan(rate_hz):
        what = "{name!r} has one label or irregular ones, and no other file has more to derive the label rate from"
        single = rows[at.notna()].drop_duplicates("name")
        findings.add_rows("error", "missing rows", single, what, "add the missing rows")
        return rows[:0], 0.0
    # Rates are usually whole numbers; a deviation within the rounding error of the times is ignored.
    if abs(rate_hz - round(rate_hz)) < 1e-3 * rate_hz:
        rate_hz = float(round(rate_hz))
    period = 1 / rate_hz
    rows = rows.assign(before=at - step, due=rows.groupby("name").cumcount() * period)
    gap = step > 1.5 * period
    what = f"{{name!r}} goes from {{before:g}} s to {{time_s:g}} s, expected {period:g} s a row"
    findings.add_rows("error", "missing rows", rows[gap], what, "add the rows between")
    gaps = _any_of(gap, names)
    wrong = ~gaps & ((step < 0.75 * period) | ((at - rows["due"]).abs() > 0.5 * period))
    what = f"{{name!r}} is at {{time_s:g}} s, expected {{due:g}} s ({period:g} s a row)"
    first = rows[wrong].drop_duplicates("name")
    findings.add_rows("error", "rows at other times", first, what, "correct the times from here on")
    return rows[~(gaps | _any_of(wrong, names) | at.isna())], rate_hz


def _any_of(rows: Rows, names: Rows) -> Rows:
    """Return `[row]` True if any row of the same recording is True."""
    return rows.groupby(names).transform("any")


def truth(rows: Rows, path: Path, task: Task, named: Collection[str], findings: Findings) -> Rows:
    """Return `[row]` the labels, completed by those of the confidential label file; NaN where neither has one.

    Args:
      rows: of the label files, `with_values`.
      named: all recordings in the label files, including those with errors.
    """
    secret = read_rows(path, task, findings)
    unknown = secret[~secret["name"].isin(named)].drop_duplicates("name")
    what, fix = "no label file names {name!r}", "correct or delete the row"
    findings.add_rows("warning", "confidential labels of unknown files", unknown, what, fix)
    secret = secret[secret["name"].isin(rows["name"])].reset_index(drop=True)
    secret = with_values(secret, task, named, findings)
    # Matched by position in the recording, because the times may be rounded differently.
    known, secret = (
        table.assign(step=table.groupby("name").cumcount()).set_index(["name", "step"], drop=False)
        for table in (rows, secret[secret["time_s"].notna()])
    )
    same = (secret["time_s"] - known["time_s"]).abs() <= 1e-3  # False where one of them lacks the row
    differs = secret["name"].isin(same.index.get_level_values("name")[~same])
    first = secret[differs].drop_duplicates("name")
    what, fix = "{name!r} has other times than in the label file", "correct the rows of one of them"
    findings.add_rows("error", "confidential times", first, what, fix)
    secret = secret[~differs]
    public = known["value"].reindex(secret.index)
    contradicts = secret["value"].notna() & public.notna() & (secret["value"] != public)
    first = secret[contradicts].drop_duplicates("name")
    what, fix = "{name!r} has the label {label!r} here and another one in the label file", "correct one of them"
    findings.add_rows("error", "contradicting labels", first, what, fix)
    completed = known["value"].fillna(secret["value"].reindex(known.index))
    for name in known["name"][completed.isna()].unique():
        what = f"no label for {quote(name)}"
        findings.warning("files without a confidential label", path, what, "add it, or it is not scored")
    return completed.to_numpy()
