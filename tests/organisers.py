"""Feature files in the form of the organisers of the challenges."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxpara.features.organiser_tables import FORMATS


def write(path: Path, name: str, features: Mapping[str, np.ndarray]) -> None:
    """Write a feature set, `[feature]` by recording, with enough digits for every float32 number."""
    form = FORMATS[name]
    fill = [""] * (form.leading - 1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=form.separator, lineterminator="\n")
        if form.header:
            columns = [f"feat_{number}" for number in range(form.columns)]
            writer.writerow(["name", *("timestamp" for _ in fill), *columns])
        for recording, values in features.items():
            writer.writerow([recording, *fill, *(f"{value:.9g}" for value in values.tolist())])
