"""The label rows of one recording as numbers, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxpara.corpora.corpus import Task
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.tables import TIME_COLUMNS, Table
from jaxpara.registry import suggest

# What stands in the label column where the organisers keep the label to themselves.
UNLABELLED = frozenset({"?", "", "nan", "NaN", "NAN"})
ABSURD = 1e6  # for a label, and for a time in seconds


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one recording in a label file: `[label]` row numbers and texts; no times where it has a class."""

    name: str
    table: Table
    rows: list[int]
    labels: list[str]
    times: list[str]


def group(table: Table, task: Task) -> dict[str, Rows]:
    """The rows of each recording, in the order of the label file.

    Raises:
      Defect: the label column or, for a sequence, the time column is missing.
    """
    labels = table.column((task.target,), "label")
    times = table.column(TIME_COLUMNS, "time") if task.kind == "sequence" else []
    return {
        name: Rows(name, table, [table.rows[i] for i in at], [labels[i] for i in at], [times[i] for i in at if times])
        for name, at in table.recordings().items()
    }


def classes(rows: Rows, task: Task, may_hide: bool, findings: Findings) -> np.ndarray:
    """The class of a recording.

    Args:
      may_hide: whether `?` is allowed: in the test partition.
      findings: takes unknown classes, further rows, and a `?` where none is allowed.

    Returns:
      `[1]` index of the class, NaN where it is hidden.
    """
    path, text = rows.table.path, rows.labels[0]
    for row in rows.rows[1:]:
        what = f"{quote(rows.name)} stands here and in row {rows.rows[0]}"
        findings.error("doubled rows", path, row, what, "delete one of the rows")
    if text in task.classes:
        return np.array([task.classes.index(text)], float)
    if text in UNLABELLED:
        if not may_hide:
            _unlabelled(rows, 0, findings)
    else:
        known = list(task.classes)
        what = f"label {quote(text)}, expected one of {', '.join(known)}{suggest(text[:60], known)}"
        findings.error("unknown classes", path, rows.rows[0], what, "correct the label")
    return np.array([np.nan])


def sequence(rows: Rows, task: Task, may_hide: bool, findings: Findings) -> np.ndarray:
    """The labels of a recording over time.

    Args:
      may_hide: whether `?` is allowed: in the test partition.
      findings: takes labels that are no finite numbers or, as a warning, out of the task's range.

    Returns:
      `[label]`, NaN where a label is hidden or is no number.
    """
    path, low, high = rows.table.path, *task.label_range
    if may_hide and UNLABELLED.issuperset(rows.labels):
        return np.full(len(rows.labels), np.nan)
    values = numbers(rows.labels)
    for at in np.flatnonzero(~np.isfinite(values)):
        text = rows.labels[at]
        if text not in UNLABELLED:
            what = f"label {quote(text)}, expected a finite number with a decimal point"
            findings.error("labels that are no numbers", path, rows.rows[at], what, "correct the label")
        elif not may_hide:
            _unlabelled(rows, int(at), findings)
    for at in np.flatnonzero((values < low) | (values > high)):
        if np.isfinite(values[at]):
            what = f"label {values[at]:g}, expected {low:g} to {high:g}"
            mend = "scale the labels if the whole file is like this"
            # What is absurd spoils sums and squares in float32.
            add = findings.warning if abs(values[at]) < ABSURD else findings.error
            add("labels out of range", path, rows.rows[at], what, mend)
    return values


def times(rows: Rows, findings: Findings) -> np.ndarray | None:
    """The times of a recording's labels.

    Args:
      findings: takes times that are no finite numbers, doubled or out of order.

    Returns:
      `[label]` seconds, rising; None where there was something to find.
    """
    path, values = rows.table.path, numbers(rows.times)
    wrong = np.flatnonzero(~(np.abs(values) < ABSURD))
    for at in wrong:
        what = f"time {quote(rows.times[at])}, expected seconds as a number"
        findings.error("times that are no numbers", path, rows.rows[at], what, "correct the time")
    if wrong.size:
        return None
    values = np.round(values, 6)  # predictions are keyed by microseconds
    steps = np.diff(values)
    for at in np.flatnonzero(steps <= 0) + 1:
        what = f"{quote(rows.name)} at {values[at]:g} s comes after {values[at - 1]:g} s"
        if values[at] == values[at - 1]:
            what = f"{quote(rows.name)} at {values[at]:g} s stands twice"
            findings.error("doubled rows", path, rows.rows[at], what, "delete one of the rows")
        else:
            findings.error("rows out of order", path, rows.rows[at], what, "sort the rows by time")
    return None if np.any(steps <= 0) else values


def period_s(all_times: Sequence[np.ndarray]) -> float:
    """Seconds between labels in most of the recordings; 0 where no recording has two.

    Times are often written with two decimals, so a single step says too little: the mean of the usual ones
    counts.
    """
    periods = []
    for values in all_times:
        steps = np.diff(values)
        if steps.size:
            usual = np.abs(steps - np.median(steps)) < 0.5 * np.median(steps)
            periods.append(np.mean(steps[usual]))
    if not periods:
        return 0.0
    rate_hz = 1 / float(np.median(periods))
    # Rates are whole numbers by habit; what is off by less than the rounding of the times is meant so.
    return 1 / round(rate_hz) if abs(rate_hz - round(rate_hz)) < 1e-3 * rate_hz else 1 / rate_hz


def on_grid(rows: Rows, values: np.ndarray, period: float, findings: Findings) -> bool:
    """Whether the times are 0, 1, 2 ... periods; `findings` takes the rows where they are not."""
    path, steps = rows.table.path, np.diff(values)
    gaps, narrow = np.flatnonzero(steps > 1.5 * period) + 1, np.flatnonzero(steps < 0.75 * period) + 1
    for at in gaps:
        begin, end = values[at - 1], values[at]
        what = f"{quote(rows.name)} goes from {begin:g} s to {end:g} s, expected {period:g} s a row"
        findings.error("missing rows", path, rows.rows[at], what, "add the rows between")
    if gaps.size:
        return False
    shifted = np.flatnonzero(np.abs(values - np.arange(len(values)) * period) > 0.5 * period)
    wrong = np.concatenate([narrow, shifted])
    if wrong.size:
        at = int(wrong.min())
        what = f"{quote(rows.name)} is at {values[at]:g} s, expected {at * period:g} s ({period:g} s a row)"
        findings.error("rows at other times", path, rows.rows[at], what, "correct the times from here on")
    return not wrong.size


def numbers(texts: list[str]) -> np.ndarray:
    """`[text]` NaN where a text is not a number."""
    try:
        return np.array(texts, float)
    except ValueError:
        return np.array([_number(text) for text in texts])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _unlabelled(rows: Rows, at: int, findings: Findings) -> None:
    what = f"{quote(rows.name)} has the label {quote(rows.labels[at])}, which only test recordings may have"
    findings.error("hidden labels outside test", rows.table.path, rows.rows[at], what, "add the label")
