"""Predictions, keyed by recording and time: the one format in which everything that learns hands on its output."""

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxpara.errors import UserError
from jaxpara.files import replacing


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row per recording and time.

    Attributes:
      recordings: `[row]` names of the recordings.
      times_s: `[row]` seconds from the start of the recording; 0 where one row stands for the whole recording.
      scores: `[row, score]` float64: one belt position, or a probability per class.
      partitions: `[row]` `train`, `devel` or `test`.
      folds: `[row]` the fold whose model predicted the row; -1 for an ensemble.
    """

    recordings: np.ndarray
    times_s: np.ndarray
    scores: np.ndarray
    partitions: np.ndarray
    folds: np.ndarray

    def __post_init__(self):
        rows = len(self.recordings)
        for name in ("times_s", "scores", "partitions", "folds"):
            if len(getattr(self, name)) != rows:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, recordings has {rows}")
        if self.scores.ndim != 2:
            raise ValueError(f"scores must be [row, score], not {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def keys(self) -> np.ndarray:
        """`[row]` structured (recording, time in microseconds): whole numbers, so that equal times compare equal."""
        return keys_of(self.recordings, self.times_s)

    def select(self, rows: np.ndarray) -> "Predictions":
        """The rows that a mask or an index array names, in its order."""
        return Predictions(
            self.recordings[rows], self.times_s[rows], self.scores[rows], self.partitions[rows], self.folds[rows]
        )

    def save(self, path: Path) -> None:
        """Writes an .npz whole or not at all."""
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads what `save` wrote.

        Raises:
          UserError: the file is missing, damaged, or holds something else.
        """
        try:
            if path.exists() and not zipfile.is_zipfile(path):
                raise ValueError("no .npz file, or one without its end")
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                loaded = cls(**{name: file[name] for name in cls.__dataclass_fields__})
            kinds = "".join(getattr(loaded, name).dtype.kind for name in cls.__dataclass_fields__)
            if kinds != "UffUi" or not np.isfinite(loaded.times_s).all():
                raise ValueError("its columns are of other types")
            return loaded
        except FileNotFoundError:
            raise UserError(f"{path}: no such predictions; run the training that writes them") from None
        except Exception as error:
            raise UserError(f"{path}: not readable as predictions ({error}); delete it and run again") from error


def keys_of(recordings: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """The keys of `[row]` names and seconds, as `Predictions.keys`."""
    keys = np.empty(len(recordings), [("recording", recordings.dtype), ("time_us", np.int64)])
    keys["recording"] = recordings
    keys["time_us"] = np.round(times_s * 1e6)
    return keys


def places(given: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
    """Which of the given keys are the wanted ones, `[wanted]`; None unless both are the same keys, each once."""
    numbers: dict[str, int] = {}
    one, other = (_numbered(keys, numbers) for keys in (given, wanted))
    here, there = np.argsort(one, kind="stable"), np.argsort(other, kind="stable")
    one, other = one[here], other[there]
    if not np.array_equal(one, other) or not np.diff(one).all():
        return None
    # A time beyond 12 days reaches into the number of the recording.
    if not np.array_equal(given["time_us"][here], wanted["time_us"][there]):
        return None
    found = np.empty(len(wanted), int)
    found[there] = here
    return found


def _numbered(keys: np.ndarray, numbers: dict[str, int]) -> np.ndarray:
    """`[row]` keys as whole numbers; millions of keys as Python objects would be gigabytes."""
    number = numbers_of(keys["recording"], lambda name: numbers.setdefault(name, len(numbers)))
    return packed(number, keys["time_us"])


def packed(numbers: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """`[row]` the number of a recording and that of a step of time, below 2^40 (12 days of microseconds), as one."""
    return (numbers << 40) + steps


def numbers_of(names: np.ndarray, number_of: Callable[[str], int]) -> np.ndarray:
    """`[row]` the number of each name, which is asked for once where equal names follow each other."""
    starts = np.flatnonzero(np.append(np.ones(min(1, len(names)), bool), names[1:] != names[:-1]))
    of_run = [number_of(name) for name in names[starts].tolist()]
    return np.repeat(np.array(of_run, np.int64), np.diff(np.append(starts, len(names))))


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """All rows of several predictions, one after the other."""
    return Predictions(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in Predictions.__dataclass_fields__)
    )


def averaged(predictions: Predictions) -> Predictions:
    """The mean of what several folds predicted for a recording and time, as fits with several seeds do; fold -1 there.

    In the order of the first of each. Nothing is averaged where a fold has two rows for one thing, which is a fault.
    """
    labels = _numbered(predictions.keys, {})
    _, first, label, count = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == len(labels) or len(np.unique(np.stack([labels, predictions.folds]), axis=1).T) < len(labels):
        return predictions
    sums = np.zeros((len(first), predictions.scores.shape[1]))
    np.add.at(sums, label, predictions.scores)
    order = np.argsort(first)
    one = predictions.select(first[order])
    return replace(one, scores=(sums / count[:, None])[order], folds=np.where(count[order] > 1, -1, one.folds))


def align(parts: Sequence[Predictions]) -> list[Predictions]:
    """The same rows in the order of the first, for each of several predictions of the same things.

    Raises:
      UserError: a key stands twice in one of them, is missing from one, or is not in the first.
    """
    reference = parts[0].keys
    aligned = []
    for index, part in enumerate(parts):
        found = places(part.keys, reference)
        if found is None:
            wrong = faults(part, reference.tolist(), "unknown to the first", finite=False)
            raise UserError(f"predictions {index + 1} of {len(parts)}: {wrong}")
        if part.scores.shape[1] != parts[0].scores.shape[1]:
            raise UserError(
                f"predictions {index + 1} of {len(parts)}: {part.scores.shape[1]} scores a row, the first has"
                f" {parts[0].scores.shape[1]}; these are predictions for another task"
            )
        aligned.append(part if (found == np.arange(len(found))).all() else part.select(found))
    return aligned


def faults(predictions: Predictions, wanted: Sequence[tuple[str, int]], strange: str, *, finite: bool = True) -> str:
    """What is wrong with predictions that are to be for exactly some keys; empty where nothing is.

    Args:
      wanted: names of recordings and times in microseconds.
      strange: what a prediction for anything else is called.
      finite: whether NaN and infinite scores are faults.

    Returns:
      Counts, and the first key of the first fault: `2 missing, 1 doubled; the first missing is a.wav at 0.04 s`.
    """
    given = predictions.keys.tolist()
    here, expected = set(given), set(wanted)
    kinds = {
        "missing": [key for key in wanted if key not in here],
        strange: [key for key in given if key not in expected],
        "doubled": [key for key, times in Counter(given).items() if times > 1],
        "NaN or infinite": [given[row] for row in np.flatnonzero(finite & ~np.isfinite(predictions.scores).all(1))],
    }
    found = {what: keys for what, keys in kinds.items() if keys}
    if not found:
        return ""
    what, keys = next(iter(found.items()))
    counts = ", ".join(f"{len(keys)} {what}" for what, keys in found.items())
    return f"{counts}; the first {what} is {keys[0][0]} at {keys[0][1] / 1e6:g} s"
