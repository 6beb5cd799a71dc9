"""The predictions of many files as one CSV."""

import csv
from collections.abc import Iterable
from pathlib import Path

from jaxpara.files import replacing
from jaxpara.inference.system import Estimate


def write(path: Path, rows: Iterable[tuple[str, Estimate]], classes: tuple[str, ...], rate_hz: float) -> None:
    """Writes the table, whole or not at all.

    A sequence gives `file,time,value`, a row per value, times in seconds; classes give `file,label` and a column of
    probabilities for each class, a row per file.

    Args:
      rows: names of files and what was predicted; taken one after the other.
      rate_hz: values per second; 0 for classes.
    """
    decimals = 2 if not 100 % (rate_hz or 1) else 6
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        # Names may hold commas, quotes and line breaks; csv quotes them.
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "label", *classes) if classes else ("file", "time", "value"))
        for name, estimate in rows:
            if classes:
                shares = (f"{share:.5f}" for share in estimate.probabilities.tolist())
                writer.writerow((name, estimate.label, *shares))
            else:
                pairs = zip(estimate.times_s.tolist(), estimate.values.tolist(), strict=True)
                writer.writerows((name, f"{time_s:.{decimals}f}", f"{value:.5f}") for time_s, value in pairs)
