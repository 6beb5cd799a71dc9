"""The prediction table: the output of every model in one format, with a row per recording and time.

Its columns are
  recording: the recording's name.
  time_s: seconds from the start of the recording, rounded to microseconds so that equal times compare equal; 0 where
    one row is for the whole recording.
  partition: `train`, `devel` or `test`.
  fold, seed: the trained model that predicted the row; -1 and -1 for an ensemble.
  score_0, score_1, ...: float64, one belt position or a probability per class.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.errors import UserError
from jaxpara.files import replacing

FoldSeed = tuple[int, int]  # the key of a trained model of a member
ENSEMBLE: FoldSeed = (-1, -1)
KEYS = ["recording", "time_s"]
MODEL = ["fold", "seed"]
_KINDS = {"recording": "U", "time_s": "f", "partition": "U", "fold": "i", "seed": "i"}  # of the arrays on disk


def table_of(
    recordings: Any, times_s: Any, partitions: Any, scores: np.ndarray, fold: Any = -1, seed: Any = -1
) -> pd.DataFrame:
    """Make a table from columns, `[row]`, and scores, `[row, score]`; fold and seed may be one number for all rows."""
    columns = {
        "recording": np.asarray(recordings, dtype=object),
        "time_s": np.round(np.asarray(times_s, np.float64), 6),
        "partition": np.asarray(partitions, dtype=object),
        "fold": fold,
        "seed": seed,
    }
    columns |= {f"score_{number}": column for number, column in enumerate(np.asarray(scores, np.float64).T)}
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(scores)))
    return table.astype({"recording": str, "partition": str, "fold": np.int64, "seed": np.int64})


def predictions_of(recordings: Sequence[Any], scores: np.ndarray, fold: int, seed: int) -> pd.DataFrame:
    """Make the prediction table of a model, with a row for every label, recording by recording.

    Args:
      recordings: have a `name`, `times_s` and a `partition`.
      scores: `[label, score]`.
    """
    counts = [len(r.times_s) for r in recordings]
    names = np.repeat(np.array([r.name for r in recordings], object), counts)
    partitions = np.repeat(np.array([r.partition for r in recordings], object), counts)
    times_s = np.concatenate([np.empty(0), *(r.times_s for r in recordings)])  # of no recordings too
    return table_of(names, times_s, partitions, scores, fold, seed)


def score_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of the score columns in their order."""
    return [name for name in table.columns if name.startswith("score_")]


def scores_of(table: pd.DataFrame) -> np.ndarray:
    """Return the scores, `[row, score]` float64."""
    return table[score_columns(table)].to_numpy(np.float64)


def nearest_levels(levels: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    """Return the names of the levels of an ordinal scale that are nearest to numbers, positions on it."""
    return np.array(levels, object)[np.rint(np.clip(numbers, 0, len(levels) - 1)).astype(int)]


def with_scores(table: pd.DataFrame, scores: np.ndarray) -> pd.DataFrame:
    """Return the table with other `[row, score]` scores, of the same number or another."""
    rest = table.drop(columns=score_columns(table))
    return rest.assign(**{f"score_{number}": column for number, column in enumerate(np.asarray(scores).T)})


def concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return all rows of several tables, one table after the other."""
    return pd.concat(tables, ignore_index=True)


def by_model(table: pd.DataFrame) -> dict[FoldSeed, pd.DataFrame]:
    """Split a table by trained model, the folds of the first seed first."""
    models: Any = table.groupby(["seed", "fold"])  # sorted by both; pyright does not know the type of the keys
    return {(int(fold), int(seed)): part.reset_index(drop=True) for (seed, fold), part in models}


def one_per_label(models: pd.DataFrame) -> pd.DataFrame:
    """Average the predictions of models with several seeds for the same label."""
    if not models.duplicated(KEYS).any() or models.duplicated([*KEYS, *MODEL]).any():  # the latter is an error
        return models
    columns = {"partition": "first", **dict.fromkeys(score_columns(models), "mean")}
    return models.groupby(KEYS, sort=False, as_index=False).agg(columns).assign(**dict.fromkeys(MODEL, -1))


def model_name(key: FoldSeed) -> str:
    """Return a model's name in results and reports: `2`, or `2, seed 1` if its seed is not the first of the fold."""
    fold, seed = key
    return f"{fold}, seed {seed}" if seed > 0 else f"{fold}"


def save(table: pd.DataFrame, path: Path) -> None:
    """Write a table as an .npz of its columns, whole or not at all."""
    columns = {name: table[name].to_numpy(str if _KINDS.get(name) == "U" else None) for name in table.columns}
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **columns)


def load(path: Path) -> pd.DataFrame:
    """Read a table that `save` wrote; raise a UserError if it is missing, damaged, or has something else in it."""
    try:
        if path.exists() and not zipfile.is_zipfile(path):
            raise ValueError("not an .npz file, or cut off")
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return _checked(dict(file))
    except FileNotFoundError:
        fix = "run the command of that run again: it trains only what is missing"
        raise UserError(f"{path}: no such predictions; {fix}") from None
    except Exception as error:
        raise UserError(f"{path}: not readable as predictions ({error}); delete it and run again") from error


def _checked(columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    scores = [f"score_{number}" for number in range(len(columns) - len(_KINDS))]
    if set(columns) != {*_KINDS, *scores} or not scores:
        raise ValueError(f"its columns are {', '.join(columns) or 'missing'}")
    for name, kind in (_KINDS | dict.fromkeys(scores, "f")).items():
        if columns[name].dtype.kind != kind or columns[name].ndim != 1:
            raise ValueError(f"its column {name} has another type")
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its columns differ in length")
    if not np.isfinite(columns["time_s"]).all():
        raise ValueError("a time is not finite")
    recordings, times_s, partitions, fold, seed = (columns[name] for name in _KINDS)
    return table_of(recordings, times_s, partitions, np.stack([columns[name] for name in scores], 1), fold, seed)


def match(table: pd.DataFrame, labels: pd.DataFrame, extra: str = "extra", *, finite: bool = False) -> pd.DataFrame:
    """Return the table in the order of the labels, after checking that it has each of them once and no others.

    Args:
      labels: has the columns `KEYS`.
      extra: the word for a row that is not one of the labels.
      finite: True if a NaN or infinite score is an error.

    Raises:
      UserError: `2 missing, 1 duplicated; the first missing is a.wav at 0.04 s`. Callers add the file and what to do.
    """
    wanted = labels[KEYS].reset_index(drop=True)
    given = table[KEYS].reset_index(drop=True)
    if given.equals(wanted) and not wanted.duplicated().any() and not finite:
        return table
    faults = {
        "missing": wanted[~_found(wanted, given)],
        extra: given[~_found(given, wanted)],
        "duplicated": given[given.duplicated()].drop_duplicates(),
        "NaN or infinite": given[~np.isfinite(scores_of(table)).all(1)] if finite else given[:0],
    }
    if faults := {what: rows for what, rows in faults.items() if len(rows)}:
        counts = ", ".join(f"{len(rows)} {what}" for what, rows in faults.items())
        what, rows = next(iter(faults.items()))
        raise UserError(f"{counts}; the first {what} is {first_key(rows)}")
    return wanted.merge(table, how="left", on=KEYS, validate="one_to_one")


def _found(rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    return pd.MultiIndex.from_frame(rows).isin(pd.MultiIndex.from_frame(others))


def first_key(rows: pd.DataFrame) -> str:
    """Return the name of the first row: `a.wav at 0.04 s`."""
    return f"{rows['recording'].iloc[0]} at {rows['time_s'].iloc[0]:g} s"


def align(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Sort several predictions of the same recordings and times into the order of the first.

    Raises:
      UserError: a row is missing from one of them, extra or duplicated, or the numbers of scores differ.
    """
    aligned = []
    for number, table in enumerate(tables, 1):
        try:
            aligned.append(match(table, tables[0], "unknown to the first"))
            one, other = len(score_columns(table)), len(score_columns(tables[0]))
            if one != other:
                what = f"{one} scores per row, the first has {other}"
                raise UserError(f"{what}; they are predictions for another task")
        except UserError as error:
            raise UserError(f"predictions {number} of {len(tables)}: {error}") from None
    return aligned
