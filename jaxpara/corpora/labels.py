"""Label files: tables of text, the times and labels in them, and checks of both.

`Rows` are a pandas table with the columns `name` (of the recording), `path` and `row` (file and line, for messages),
`label` and, for sequences, `time` (texts, as the file has them).
"""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora.findings import Defect, Findings, quote
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
      Defect: the file cannot be read, is not UTF-8, lacks a column, has a column twice, a row that is not CSV, or no
        rows.
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
    lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=None)
    header, separator = _header(path, lines.readline())
    # Rows are read with `csv`, because `pandas.read_csv` silently fills short rows and has no line numbers.
    rows: list[int] = []
    cells: list[list[str]] = [[] for _ in header]
    texts: dict[str, str] = {}  # one copy of each: names and times repeat, and a file may have millions of rows
    reader = csv.reader(lines, delimiter=separator)
    row = 2
    try:
        for record in reader:
            begin, row = row, reader.line_num + 2
            if row > begin + 1:
                findings.error("open quotations", path, begin, "a quotation mark is not closed", "close it")
            elif len(record) == len(header):
                rows.append(begin)
                for column, cell in zip(cells, map(str.strip, record), strict=True):
                    column.append(texts.setdefault(cell, cell))
            elif any(cell.strip() for cell in record):
                what = f"{len(record)} columns, the header has {len(header)}"
                findings.error("rows of another width", path, begin, what, "correct or delete the row")
    except csv.Error as error:
        raise Defect(path, row, f"not readable as a table ({error})", "correct the row") from error
    if not rows:
        raise Defect(path, None, "no rows below the header", "fill it, or copy it again from the corpus")
    table: dict[str, Any] = {"path": path}
    for what, spellings in {"name": NAME_COLUMNS, **columns}.items():
        column = next((name for name in spellings if name in header), None)
        if column is None:
            hint = next(filter(None, (suggest(name, header) for name in spellings)), "")
            message = f"no {what} column among {quote(', '.join(header))}{hint}"
            raise Defect(path, 1, message, f"name it {' or '.join(spellings)}")
        table[what] = cells[header.index(column)]
    return pd.DataFrame(table, index=pd.Index(rows, name="row"), dtype=object).reset_index()


def _header(path: Path, line: str) -> tuple[list[str], str]:
    """Return the column names and the separator of the first line."""
    for separator in SEPARATORS:
        # Column names contain neither separators nor quotation marks.
        header = [cell.strip().strip('"') for cell in line.split(separator)]
        if any(name in header for name in NAME_COLUMNS):
            break
    else:
        what = f"the first line is {quote(line.strip())}" if line.strip() else "the first line is empty"
        raise Defect(path, 1, what, f"make it a header with a column {' or '.join(NAME_COLUMNS)}")
    duplicated = [name for name in header if name and header.count(name) > 1]
    if duplicated:
        raise Defect(path, 1, f"column {quote(duplicated[0])} appears twice", "delete or rename one of them")
    return header, separator


def read_rows(path: Path, task: Task, findings: Findings) -> Rows:
    """Read the rows of a label file; see `read_table`."""
    times = {"time": TIME_COLUMNS} if task.kind == "sequence" else {}
    return read_table(path, findings, label=(task.target,), **times)


def one_row_each(rows: Rows, findings: Findings) -> Rows:
    """Return the first row of each recording; `findings` collects the others."""
    first = rows.drop_duplicates("name").set_index("name")["row"]
    again = rows["name"].duplicated()
    for row in rows[again].itertuples():
        what = f"{quote(row.name)} appears here and in row {first[row.name]}"
        findings.error("duplicated rows", row.path, row.row, what, "delete one of the rows")
    return rows[~again].reset_index(drop=True)


def _numbers(texts: Iterable[str]) -> np.ndarray:
    """Return `[text]` floats, NaN where a text is not a number."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(text) for text in texts], float)


def times(rows: Rows, findings: Findings) -> np.ndarray:
    """Return `[row]` seconds, rounded to microseconds.

    Args:
      findings: collects times that are not finite numbers, duplicated or out of order. All rows of such a recording are
        NaN.
    """
    names, seconds = rows["name"], _numbers(rows["time"])
    wrong = ~(np.abs(seconds) < MAX_VALUE)
    for row in rows[wrong].itertuples():
        what = f"time {quote(row.time)}, expected seconds as a number"
        findings.error("times that are not numbers", row.path, row.row, what, "correct the time")
    # Predictions are keyed by microseconds.
    seconds = pd.Series(seconds).mask(_any_of(wrong, names)).round(6)
    steps = seconds.groupby(names).diff()
    back = steps <= 0
    for row, at, step in zip(rows[back].itertuples(), seconds[back], steps[back], strict=True):
        if step == 0:
            what = f"{quote(row.name)} at {at:g} s appears twice"
            findings.error("duplicated rows", row.path, row.row, what, "delete one of the rows")
        else:
            what = f"{quote(row.name)} at {at:g} s comes after {at - step:g} s"
            findings.error("rows out of order", row.path, row.row, what, "sort the rows by time")
    return seconds.mask(_any_of(back, names)).to_numpy()


def period_s(rows: Rows, seconds: np.ndarray) -> float:
    """Return the seconds between two labels in most recordings; 0 if no recording has two.

    Times are often written with two decimals, so that a single step is inexact; the mean of the usual steps is not.
    """
    periods = []
    for at in rows.groupby("name", sort=False).indices.values():
        steps = np.diff(seconds[at])
        if steps.size and np.isfinite(steps).all():
            usual = np.abs(steps - np.median(steps)) < 0.5 * np.median(steps)
            periods.append(np.mean(steps[usual]))
    if not periods:
        return 0.0
    rate_hz = 1 / float(np.median(periods))
    # Rates are usually whole numbers; a deviation within the rounding error of the times is ignored.
    return 1 / round(rate_hz) if abs(rate_hz - round(rate_hz)) < 1e-3 * rate_hz else 1 / rate_hz


def on_grid(rows: Rows, seconds: np.ndarray, period: float, findings: Findings) -> np.ndarray:
    """Return `[row]` True for recordings with the times 0, 1, 2 ... periods; `findings` collects the other rows."""
    names, at = rows["name"], pd.Series(seconds)
    step, expected = at.groupby(names).diff(), rows.groupby("name").cumcount() * period
    gap = step > 1.5 * period
    for row, end, length in zip(rows[gap].itertuples(), at[gap], step[gap], strict=True):
        what = f"{quote(row.name)} goes from {end - length:g} s to {end:g} s, expected {period:g} s a row"
        findings.error("missing rows", row.path, row.row, what, "add the rows between")
    gaps = _any_of(gap, names)
    wrong = ~gaps & ((step < 0.75 * period) | ((at - expected).abs() > 0.5 * period))
    first = wrong & ~names.where(wrong).duplicated()
    for row, found, due in zip(rows[first].itertuples(), at[first], expected[first], strict=True):
        what = f"{quote(row.name)} is at {found:g} s, expected {due:g} s ({period:g} s a row)"
        findings.error("rows at other times", row.path, row.row, what, "correct the times from here on")
    return ~(gaps | _any_of(wrong, names) | at.isna()).to_numpy()


def values(rows: Rows, task: Task, may_hide: np.ndarray, findings: Findings) -> np.ndarray:
    """Return `[row]` class indices or belt positions, NaN where the label is hidden or wrong.

    Args:
      may_hide: `[row]` True where `?` is allowed, as in the test partition.
      findings: collects unknown classes, labels that are not finite numbers or out of range, and forbidden `?`.
    """
    texts = rows["label"]
    unlabelled = texts.isin(UNLABELLED)
    for row in rows[unlabelled & ~may_hide].itertuples():
        what = f"{quote(row.name)} has the label {quote(row.label)}, which only test recordings may have"
        findings.error("hidden labels outside test", row.path, row.row, what, "add the label")
    found = np.full(len(rows), np.nan)
    if task.kind == "classes":
        index = {name: float(number) for number, name in enumerate(task.classes)}
        found[~unlabelled] = texts[~unlabelled].map(index)
        for row in rows[~unlabelled & np.isnan(found)].itertuples():
            known = f"{', '.join(task.classes)}{suggest(row.label[:60], list(task.classes))}"
            what = f"label {quote(row.label)}, expected one of {known}"
            findings.error("unknown classes", row.path, row.row, what, "correct the label")
        return found
    found[~unlabelled] = _numbers(texts[~unlabelled])
    for row in rows[~unlabelled & ~np.isfinite(found)].itertuples():
        what = f"label {quote(row.label)}, expected a finite number with a decimal point"
        findings.error("labels that are not numbers", row.path, row.row, what, "correct the label")
    found[~np.isfinite(found)] = np.nan
    outside = np.abs(found) > 1
    for row, value in zip(rows[outside].itertuples(), found[outside], strict=True):
        what = f"label {value:g}, expected -1 to 1"
        add = findings.warning if abs(value) < MAX_VALUE else findings.error
        add("labels out of range", row.path, row.row, what, "scale the labels if the whole file is like this")
    return found


def _any_of(rows: Any, names: Any) -> Any:
    """Return `[row]` True if any row of the same recording is True."""
    return pd.Series(rows, names.index).groupby(names).transform("any")


def truth(rows: Rows, path: Path, task: Task, named: Collection[str], findings: Findings) -> np.ndarray:
    """Return `[row]` the labels, completed by those of the confidential label file; NaN where neither has one.

    Args:
      rows: of the label files, with the labels as numbers in `value` and the times in `time_s`.
      path: the confidential label file, in the form of the label files.
      named: all recordings in the label files, including those with errors.
      findings: collects the differences between the two.
    """
    secret = read_rows(path, task, findings)
    for row in secret[~secret["name"].isin(named)].drop_duplicates("name").itertuples():
        what = f"no label file names {quote(row.name)}"
        findings.warning("confidential labels of unknown files", path, row.row, what, "correct or delete the row")
    secret = secret[secret["name"].isin(rows["name"])].reset_index(drop=True)
    if task.kind == "classes":
        secret = one_row_each(secret, findings).assign(secret_s=0.0)
    else:
        secret["secret_s"] = times(secret, findings)
    secret["secret"] = values(secret, task, np.ones(len(secret), bool), findings)
    # Matched by position in the recording, because the times may be rounded differently.
    known = rows[["name", "time_s", "value"]].assign(step=rows.groupby("name").cumcount())
    secret = secret.assign(step=secret.groupby("name").cumcount())[secret["secret_s"].notna()]
    secret = secret.merge(known, on=["name", "step"], how="left", validate="one_to_one")
    differs = ~((secret["secret_s"] - secret["time_s"]).abs() <= 1e-3)
    differs |= secret.groupby("name")["row"].transform("size") != secret["name"].map(known["name"].value_counts())
    differs = _any_of(differs, secret["name"])
    for row in secret[differs].drop_duplicates("name").itertuples():
        what = f"{quote(row.name)} has other times than in the label file"
        findings.error("confidential times", path, row.row, what, "correct the rows of one of them")
    secret = secret[~differs]
    contradicts = secret["secret"].notna() & secret["value"].notna() & (secret["secret"] != secret["value"])
    for row in secret[contradicts].drop_duplicates("name").itertuples():
        what = f"{quote(row.name)} has the label {quote(row.label)} here and another one in the label file"
        findings.error("contradicting labels", path, row.row, what, "correct one of them")
    found = known.merge(secret[["name", "step", "secret"]], on=["name", "step"], how="left", validate="one_to_one")
    completed = known["value"].where(known["value"].notna(), found["secret"]).to_numpy()
    for name in known["name"][np.isnan(completed)].unique():
        what = f"no label for {quote(name)}"
        findings.warning("files without a confidential label", path, None, what, "add it, or it is not scored")
    return completed
