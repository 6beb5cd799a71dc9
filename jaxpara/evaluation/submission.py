"""The file that a challenge's organisers score."""

import csv
import io
from pathlib import Path

import numpy as np

from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.evaluation.rows import label_keys
from jaxpara.files import write_text
from jaxpara.predictions import Predictions, faults, places


def write(path: Path, predictions: Predictions, corpus: Corpus) -> None:
    """Writes one value for every label of the test partition, in the order of the corpus.

    A sequence gives `filename,timeFrame,prediction` with times as the label file writes them and values to 5
    decimals; classes give `file_name,prediction` with the name of the likeliest class.

    Args:
      path: the CSV; replaced only when everything is right.
      predictions: exactly the labels of the test partition, in any order.
      corpus: whose test partition it is.

    Raises:
      UserError: no test partition, or rows that are missing, extra, doubled or not finite.
      OSError: the file cannot be written.

    Reference: the ComParE 2020 submission formats.
    """
    test = corpus.partition("test")
    if not test:
        raise UserError(f"{corpus.label_file}: no test recordings, so there is nothing to submit")
    keys = label_keys(test)
    found = places(predictions.keys, keys)
    if found is None or not np.isfinite(predictions.scores).all():
        wrong = faults(predictions, keys.tolist(), "not a label of the test partition")
        raise UserError(
            f"submission not written: of the {len(keys)} labels of the test partition and the predictions for them,"
            f" {wrong}"
        )
    text = io.StringIO()
    file = csv.writer(text, lineterminator="\n")
    if corpus.task.kind == "classes":
        classes = predictions.scores.argmax(1)[found]
        file.writerow(("file_name", "prediction"))
        file.writerows((key["recording"], corpus.task.classes[at]) for key, at in zip(keys, classes, strict=True))
    else:
        decimals = _decimals(keys["time_us"])
        file.writerow(("filename", "timeFrame", "prediction"))
        file.writerows(
            (key["recording"], f"{key['time_us'] / 1e6:.{decimals}f}", f"{value:.5f}")
            for key, value in zip(keys, predictions.scores[found, 0], strict=True)
        )
    write_text(path, text.getvalue())


def _decimals(times_us: np.ndarray) -> int:
    """The fewest decimals of a second, at least two, that write every time exactly."""
    return next(places for places in range(2, 7) if not (times_us % 10 ** (6 - places)).any())
