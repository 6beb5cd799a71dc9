"""The times and labels of a corpus as numbers: inferred, converted and checked."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.labels import Rows, one_row_each, read_rows
from jaxpara.corpora.tasks import NO_LIMITS, Task
from jaxpara.registry import suggest

# Contents of the label column where a label is secret or missing.
UNLABELLED = frozenset({"?", "", "nan", "NaN", "NAN", "NA", "N/A", "None"})
MAX_VALUE = 1e6  # of a label, and of a time in seconds; larger ones spoil sums and squares in float32
MAX_SINGLE = 10  # classes with one recording, if they are most classes: more are names or numbers


def with_classes(task: Task, rows: Rows, label_file: Path, findings: Findings) -> Task:
    """Return the task with the classes in the labels, sorted, by number if all are numbers; as it is if it has some."""
    if task.kind != "classes" or task.classes:
        return task
    labels = rows.loc[~rows["label"].isin(UNLABELLED), "label"]
    counts = labels.value_counts()
    if len(counts) < 2:
        what = f"its labels are {_some(labels)}, expected two or more classes" if len(counts) else "it has no labels"
        fix = "add labels, or correct config.corpus.target; if None or NA is a class, list all of them"
        raise findings.fatal(label_file, what, f"{fix} in config.corpus.classes")
    if (counts == 1).sum() > max(MAX_SINGLE, len(counts) / 2):
        what = f"{len(counts)} different labels in {len(labels)} rows ({_some(labels)}), which are not classes"
        raise findings.fatal(label_file, what, "correct config.corpus.target; numbers need config.corpus.task=values")
    numbers = {name: _number(name) for name in counts.index}
    spellings: dict[Any, str] = {}
    for name, number in numbers.items():
        first = spellings.setdefault(number if np.isfinite(number) else name.casefold(), name)
        if first != name:
            what, fix = f"its labels {quote(first)} and {quote(name)} would be two classes", "write them alike"
            raise findings.fatal(label_file, what, f"{fix}, or list all classes in config.corpus.classes")
    by_number = np.isfinite(list(numbers.values())).all()
    key: Callable[[str], Any] = (lambda name: (numbers[name], name)) if by_number else str
    return replace(task, classes=tuple(sorted(numbers, key=key)))


def with_limits(task: Task, rows: Rows, label_file: Path, findings: Findings) -> Task:
    """Return the task with the smallest and the largest label outside test, unless it has limits."""
    values = rows.loc[rows["partition"] != "test", "value"].dropna()
    if task.kind == "classes" or task.limits != NO_LIMITS or not len(values):
        return task
    if values.min() == values.max():
        what = f"all labels of the training data are {values.min():g}, from which nothing can be learned"
        findings.error("constant labels", label_file, what, "correct config.corpus.target, or the labels")
    return replace(task, limits=(float(values.min()), float(values.max())))


def with_values(rows: Rows, task: Task, may_hide: Collection[str], findings: Findings) -> Rows:
    """Return the rows with `time_s` and `value`; except for sequences, one row per recording, at 0 s.

    `time_s` is rounded to microseconds, and NaN in all rows of a recording with a wrong time. `value` is the class
    index, the level or the number, and NaN where the label is hidden or wrong.

    Args:
      may_hide: the recordings whose label may be `?`, as in the test partition.
    """
    if task.kind == "sequence":
        rows = rows.assign(time_s=_times(rows, findings))
    else:
        rows = one_row_each(rows, findings).assign(time_s=0.0)
    if task.classes:
        value = rows["label"].map({name: float(index) for index, name in enumerate(task.classes)}).astype(float)
        kind, expected = "unknown classes", f"one of {', '.join(task.classes)}"
    else:
        value = rows["label"].map(_number).astype(float)
        kind, expected = "labels that are not numbers", "a finite number with a decimal point"
        if task.kind == "ordinal":
            value = value.where(value == value.round())
            expected = "a whole number, or for names of levels config.corpus.classes, from the lowest to the highest"
    hidden = rows["label"].isin(UNLABELLED - set(task.classes))
    what, fix = "{name!r} has the label {label!r}, which only test recordings may have", "add the label"
    if task.kind in ("classes", "ordinal"):
        fix += ", or, if it is a class or level, list all of them in config.corpus.classes"
    findings.add_rows("error", "hidden labels outside test", rows[hidden & ~rows["name"].isin(may_hide)], what, fix)
    rows["value"] = value.where(~hidden & np.isfinite(value))
    wrong = rows[~hidden & rows["value"].isna()]
    if 1 < len(wrong) == (~hidden).sum():
        first, hint = wrong.iloc[0], _hint(wrong["label"].iloc[0], task.classes)
        what = (
            f"it has the labels {_some(wrong['label'])}; none is {expected}{hint or ': is config.corpus.task right?'}"
        )
        findings.error(kind, first["path"], what, "correct the labels, config.corpus.task or target", first["row"])
    else:
        wrong = wrong.assign(expected=expected, hint=[_hint(label, task.classes) for label in wrong["label"]])
        findings.add_rows("error", kind, wrong, "label {label!r}, expected {expected}{hint}", "correct the label")
    if task.kind != "classes":
        (low, high), size = task.limits, rows["value"].abs()
        expected = "a size below 1e6" if task.limits == NO_LIMITS else f"{low:g} to {high:g}"
        what, fix = f"label {{value:g}}, expected {expected}", "scale the labels if the whole file is like this"
        findings.add_rows("error", "labels out of range", rows[size >= MAX_VALUE], what, fix)
        beyond = (size < MAX_VALUE) & ((rows["value"] < low) | (rows["value"] > high))
        findings.add_rows("warning", "labels out of range", rows[beyond], what, fix)
    return rows


def _some(labels: Rows) -> str:
    """Return the first few different labels, quoted."""
    different = labels.unique()
    return ", ".join(quote(label) for label in different[:4]) + ", ..." * (len(different) > 4)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _hint(text: str, classes: Collection[str] = ()) -> str:
    """Return `; did you mean 'x'?` for the likely reading of a label or time, or an empty string."""
    text = text[:60]
    if classes:
        number = _number(text)
        same = (name for name in classes if name.casefold() == text.casefold() or _number(name) == number)
        return next((f"; did you mean {name!r}?" for name in same), "") or suggest(text, list(classes))
    point = text.replace(",", ".", 1)
    if ":" in text:  # a duration, as pandas and spreadsheets write it
        point = f"{pd.to_timedelta(text, errors='coerce').total_seconds():g}"
    return "" if point == text or not np.isfinite(_number(point)) else f"; did you mean {point!r}?"


def _times(rows: Rows, findings: Findings) -> Rows:
    names, seconds = rows["name"], rows["time"].map(_number).astype(float)
    wrong = ~(seconds.abs() < MAX_VALUE)
    bad = rows[wrong]
    what, fix = "time {time!r}, expected seconds as a number", "correct the time"
    if 1 < len(bad) == len(rows):
        bad, what, fix = bad.iloc[:1], f"all times are like {{time!r}}, {what.partition(', ')[2]}", "correct the times"
    bad = bad.assign(hint=[_hint(time) for time in bad["time"]])
    findings.add_rows("error", "times that are not numbers", bad, what + "{hint}", fix)
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


def truth(
    rows: Rows, path: Path, task: Task, named: Collection[str], findings: Findings, columns: Mapping[str, str] = {}
) -> Rows:
    """Return `[row]` the labels, completed by those of the confidential label file; NaN where neither has one.

    Args:
      columns: of the file, as for `read_rows`.
      rows: of the label files, `with_values`.
      named: all recordings in the label files, including those with errors.
    """
    secret = read_rows(path, task, findings, columns)
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
