"""The CSV that a challenge's organisers score: written, and read back to compare systems."""

from pathlib import Path

import numpy as np
import pandas as pd

from jaxpara.errors import UserError
from jaxpara.evaluation.scores import CorpusData
from jaxpara.files import write_text
from jaxpara.predictions import match, scores_of, table_of

# Columns as the challenges of 2018 to 2023 spell them.
COLUMNS = {
    "name": ("file_name", "filename", "filename_audio", "file"),
    "time": ("timeFrame", "time", "timestamp"),
    "prediction": ("prediction",),
}
MAX_NUMBER = 1e6  # of a sequence or of seconds; anything larger is a mistake


def write(path: Path, predictions: pd.DataFrame, data: CorpusData) -> None:
    """Write one value for every label of the test partition, in corpus order.

    A sequence gives `filename,timeFrame,prediction`, with times as in the label file and values to 5 decimals; classes
    give `file_name,prediction` with the name of the most probable class, and numbers per recording the same columns
    with 8 significant digits. The predictions may be in any order.

    Raises:
      UserError: there is no test partition, or rows are missing, extra, duplicated or not finite.
      OSError: the file cannot be written.

    Reference: the ComParE 2020 submission formats.
    """
    labels = data.of_partition("test")
    if not len(labels):
        raise UserError(f"{data.label_file}: no test recordings, so there is nothing to submit")
    try:
        table = match(predictions, labels, "not a label of the test partition", finite=True)
    except UserError as error:
        raise UserError(
            f"submission not written: of the {len(labels)} labels of the test partition and the predictions for them,"
            f" {error}"
        ) from None
    if data.kind == "classes":
        names = np.array(data.classes, object)[scores_of(table).argmax(1)]
        columns = {"file_name": table["recording"], "prediction": names}
    elif data.kind != "sequence":
        columns = {"file_name": table["recording"], "prediction": table["score_0"].map("{:.8g}".format)}
    else:
        columns = {
            "filename": table["recording"],
            "timeFrame": times_as_text(table["time_s"]),
            "prediction": table["score_0"].map("{:.5f}".format),
        }
    write_text(path, pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"))


def times_as_text(times_s: pd.Series) -> pd.Series:
    """Format seconds with the fewest decimals, at least two, that write every time exactly."""
    times_us = np.round(times_s.to_numpy() * 1e6).astype(np.int64)
    decimals = next(places for places in range(2, 7) if not (times_us % 10 ** (6 - places)).any())
    return times_s.map(f"{{:.{decimals}f}}".format)


def read(path: Path) -> pd.DataFrame:
    """Read a CSV in the format of `write`; it may also have other columns, semicolons or tabs.

    Returns:
      Text in the columns name, time (where there are times) and prediction; the index is the row in the file.

    Raises:
      UserError: it is missing, not a table, or has no column of names or predictions, or no rows.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline().strip()
        separator = next((s for s in ",;\t" if set(COLUMNS["name"]) & set(header.split(s))), ",")
        options = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False, "encoding": "utf-8-sig"}
        cells = pd.read_csv(path, sep=separator, **options) if header else pd.DataFrame()
        if not isinstance(cells.index, pd.RangeIndex):  # pandas' reading of a longer first row
            raise ValueError("row 2 has more columns than the header")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file or folder; give workdirs of finished runs, or CSVs of predictions"
        ) from None
    except ValueError as error:  # of pandas' parser too
        raise UserError(f"{path}: not readable as a table ({str(error).strip()}); write it again") from None
    cells.index += 2  # the row in the file: the header is in row 1
    cells = cells.fillna("")
    cells = cells[(cells != "").any(axis=1)]
    found = {what: next((name for name in names if name in cells), "") for what, names in COLUMNS.items()}
    for what in ("name", "prediction"):
        if not found[what]:
            names = " or ".join(COLUMNS[what])
            raise UserError(f"{path}: no {what} column among {header!r} in the first row; name one {names}")
    if not len(cells):
        raise UserError(f"{path}: no rows below the header")
    return pd.DataFrame({what: cells[name].str.strip() for what, name in found.items() if name})


def predictions_in(path: Path, cells: pd.DataFrame, data: CorpusData) -> pd.DataFrame:
    """Make the prediction table of what was read from a submission; classes get probabilities 0 and 1.

    Raises:
      UserError: a cell is no number, or no class of the task.
    """
    times_s = np.zeros(len(cells))
    if data.kind == "classes":
        classes = pd.Index(data.classes).get_indexer(pd.Index(cells["prediction"]))
        _refuse(path, cells, "prediction", classes < 0, f"one of {', '.join(data.classes)}")
        scores = np.eye(len(data.classes))[classes]
    elif data.kind != "sequence":
        scores = _numbers(path, cells, "prediction", "a finite number", np.inf)[:, None]
    else:
        if "time" not in cells:
            raise UserError(f"{path}: no time column; name one {' or '.join(COLUMNS['time'])}")
        times_s = _numbers(path, cells, "time", "seconds")
        scores = _numbers(path, cells, "prediction", "a finite number")[:, None]
    return table_of(cells["name"], times_s, np.full(len(cells), "test"), scores)


def _numbers(path: Path, cells: pd.DataFrame, column: str, expected: str, limit: float = MAX_NUMBER) -> np.ndarray:
    values = pd.to_numeric(cells[column], errors="coerce").to_numpy(np.float64)
    _refuse(path, cells, column, ~(np.abs(values) < limit), expected)
    return values


def _refuse(path: Path, cells: pd.DataFrame, column: str, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = cells[bad].iloc[0]
        raise UserError(
            f"{path}, row {row.name}: {row[column][:60]!r} for {row['name']!r}, expected {expected}"
            f" ({bad.sum()} such rows); correct them"
        )
