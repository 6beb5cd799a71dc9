"""What evaluation may see: the confidential labels of the test partition, where the corpus has them."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from jaxpara.corpora import labels, tables
from jaxpara.corpora.corpus import Task
from jaxpara.corpora.findings import Findings, quote


def truth_of(
    known: Mapping[str, np.ndarray],
    times: Mapping[str, np.ndarray],
    named: Collection[str],
    task: Task,
    path: Path | None,
    findings: Findings,
) -> dict[str, np.ndarray]:
    """`[label]` of each recording: what the label files hide is filled in from the confidential ones.

    Args:
      known: `[label]` of each recording as the label files have them, NaN where hidden.
      times: `[label]` seconds.
      named: these recordings, and what else the label files name.
      path: the confidential label file, in the form of the label files; None where there is none.
      findings: takes what does not fit between the two.

    Raises:
      Defect: the confidential label file cannot be read, or its label column or, for a sequence, its time column is
        missing.
    """
    truth = dict(known)
    if path is None:
        return truth
    for name, rows in labels.group(tables.load(path, findings), task).items():
        row = rows.rows[0]
        if name not in known:
            if name not in named:
                what, mend = f"no label file names {quote(name)}", "correct or delete the row"
                findings.warning("confidential labels of unknown files", path, row, what, mend)
            continue
        if task.kind == "classes":
            told = labels.classes(rows, task, True, findings)
        else:
            told = labels.sequence(rows, task, True, findings)
            told_times = labels.times(rows, findings)
            if told_times is None or name not in times:
                continue
            if len(told) != len(known[name]) or np.max(np.abs(told_times - times[name])) > 1e-3:
                what = f"{quote(name)} has not the same times as in the label file"
                findings.error("confidential times", path, row, what, "correct the rows of one of them")
                continue
        differ = np.flatnonzero(np.isfinite(told) & np.isfinite(known[name]) & (told != known[name]))
        if differ.size:
            row, text = rows.rows[differ[0]], rows.labels[differ[0]]
            what = f"{quote(name)} has the label {quote(text)} here and another in the label file"
            findings.error("contradicting labels", path, row, what, "correct one of them")
        truth[name] = np.where(np.isfinite(known[name]), known[name], told)
    for name, values in truth.items():
        if np.isnan(values).any():
            what, mend = f"no label for {quote(name)}", "add it, or its predictions are not scored"
            findings.warning("files without a confidential label", path, None, what, mend)
    return truth
