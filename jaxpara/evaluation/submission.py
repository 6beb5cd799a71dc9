"""The file that a challenge's organisers score."""

import csv
import io
from pathlib import Path

import numpy as np

from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.files import write_text
from jaxpara.predictions import Predictions, faults


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
    keys = [(r.name, int(time_us)) for r in test for time_us in np.round(r.times_s * 1e6)]
    if wrong := faults(predictions, keys, "not a label of the test partition"):
        raise UserError(
            f"submission not written: of the {len(keys)} labels of the test partition and the predictions for them,"
            f" {wrong}"
        )
    row_of = {key: row for row, key in enumerate(predictions.keys.tolist())}
    text = io.StringIO()
    file = csv.writer(text, lineterminator="\n")
    if corpus.task.kind == "classes":
        classes = predictions.scores.argmax(1)
        file.writerow(("file_name", "prediction"))
        file.writerows((key[0], corpus.task.classes[classes[row_of[key]]]) for key in keys)
    else:
        places = _decimals(np.array([time_us for _, time_us in keys]))
        values = predictions.scores[:, 0].tolist()
        file.writerow(("filename", "timeFrame", "prediction"))
        file.writerows((key[0], f"{key[1] / 1e6:.{places}f}", f"{values[row_of[key]]:.5f}") for key in keys)
    write_text(path, text.getvalue())


def _decimals(times_us: np.ndarray) -> int:
    """The fewest decimals of a second, at least two, that write every time exactly."""
    return next(places for places in range(2, 7) if not (times_us % 10 ** (6 - places)).any())
