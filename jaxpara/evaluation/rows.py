"""Predictions side by side with their truth: what every score is computed from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from jaxpara.corpora.corpus import Corpus, Recording, Task
from jaxpara.errors import UserError
from jaxpara.evaluation import intervals, metrics
from jaxpara.evaluation.official import official
from jaxpara.predictions import Predictions, keys_of, numbers_of, packed

# Neighbouring labels of a sequence are nearly copies of each other, so that drawing them one by one would
# claim far too much. Ten seconds hold two to three breaths; a belt's autocorrelation is gone after four.
BLOCK_S = 10.0


@dataclass(frozen=True, eq=False)
class Rows:
    """Predictions with their truth; rows without truth are left out.

    Attributes:
      task: says which measure scores them.
      truth: `[row]` belt positions or class indices.
      scores: `[row, score]` what was predicted.
      recordings: `[row]` positions of the recordings in the corpus.
      times_s: `[row]` seconds from the start of the recording.
      partitions: `[row]` `train`, `devel` or `test`.
      speakers: `[row]`, empty where nobody knows.
      folds: `[row]`, -1 for an ensemble.
    """

    task: Task
    truth: np.ndarray
    scores: np.ndarray
    recordings: np.ndarray
    times_s: np.ndarray
    partitions: np.ndarray
    speakers: np.ndarray
    folds: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def select(self, mask: np.ndarray) -> "Rows":
        """The rows that a mask names."""
        arrays = [f.name for f in fields(self) if f.name != "task"]
        return replace(self, **{name: getattr(self, name)[mask] for name in arrays})

    @property
    def speakers_known(self) -> bool:
        return not (self.speakers == "").any()

    @property
    def measure(self) -> intervals.SumMeasure:
        return intervals.PCC if self.task.measure == "PCC" else intervals.UAR

    @property
    def confusion(self) -> np.ndarray:
        """Counts `[true class, predicted class]`."""
        return metrics.confusion(self.truth, self.scores.argmax(1), len(self.task.classes))

    def value(self) -> float:
        """The task's measure over all rows together; raises `Undefined` where it has none."""
        return official(self.task, self.truth, self.scores)

    def units(self, names: np.ndarray) -> intervals.Units:
        """One unit for each distinct entry of `names` `[row]`."""
        _, unit = np.unique(names, return_inverse=True)
        if self.task.measure == "PCC":
            return intervals.moments(self.truth, self.scores[:, 0], unit)
        return intervals.confusions(self.truth, self.scores.argmax(1), unit, len(self.task.classes))

    def speaker_units(self) -> intervals.Units:
        """One unit a speaker; raises `Undefined` where a speaker is not known."""
        if not self.speakers_known:
            raise metrics.Undefined("speakers unknown")
        return self.units(self.speakers)

    def sample_units(self) -> intervals.Units:
        """Recordings as units; blocks of 10 s where the rows are a sequence."""
        if self.task.measure == "UAR" and len(np.unique(self.recordings)) == len(self):
            return intervals.single_rows(self.confusion)
        return self.units(packed(self.recordings, (self.times_s // BLOCK_S).astype(np.int64)))


def rows_of(predictions: Predictions, corpus: Corpus) -> Rows:
    """Looks up truth and speaker of every prediction by (recording, time).

    Raises:
      UserError: a key that the corpus does not have, or one that stands twice in a fold.
    """
    numbers, keys, labels = _found(predictions, corpus)
    order = np.lexsort((keys, predictions.folds))
    same = (keys[order][1:] == keys[order][:-1]) & (predictions.folds[order][1:] == predictions.folds[order][:-1])
    doubled = np.zeros(len(keys), bool)
    doubled[order[1:][same]] = True
    _refuse(predictions, doubled, "stand twice, expected one a label.")
    truth = np.concatenate([recording.truth for recording in corpus.recordings])[labels]
    rows = Rows(
        task=corpus.task,
        truth=truth,
        scores=np.asarray(predictions.scores, np.float64),
        recordings=numbers,
        times_s=predictions.times_s,
        partitions=predictions.partitions,
        speakers=np.array([recording.speaker for recording in corpus.recordings])[numbers],
        folds=predictions.folds,
    )
    return rows.select(np.isfinite(truth))


def labels_of(predictions: Predictions, corpus: Corpus) -> np.ndarray:
    """`[row]` the labels that training may see.

    Raises:
      UserError: a key that the corpus does not have.
    """
    return np.concatenate([recording.labels for recording in corpus.recordings])[_found(predictions, corpus)[2]]


def label_keys(recordings: Sequence[Recording]) -> np.ndarray:
    """The keys of all labels of one or more recordings, in their order, as `Predictions.keys`."""
    names = np.repeat([recording.name for recording in recordings], [len(r.times_s) for r in recordings])
    return keys_of(names, np.concatenate([recording.times_s for recording in recordings]))


def _found(predictions: Predictions, corpus: Corpus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[row]` the position of the recording in the corpus, the key, and the position among all of its labels."""
    number_of = {recording.name: number for number, recording in enumerate(corpus.recordings)}
    numbers = numbers_of(predictions.recordings, lambda name: number_of.get(name, -1))
    keys = _keys(numbers, predictions.times_s)
    per_recording = [len(recording.times_s) for recording in corpus.recordings]
    of_labels = _keys(
        np.repeat(np.arange(len(per_recording)), per_recording),
        np.concatenate([recording.times_s for recording in corpus.recordings]),
    )
    by_key = np.argsort(of_labels)
    place = np.searchsorted(of_labels, keys, sorter=by_key)
    labels = by_key[np.minimum(place, len(by_key) - 1)]
    _refuse(
        predictions,
        of_labels[labels] != keys,
        f"have no row in {corpus.label_file}; were they made for another corpus?",
    )
    return numbers, keys, labels


def _keys(numbers: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    return packed(numbers, np.round(times_s * 1e6).astype(np.int64))


def _refuse(predictions: Predictions, bad: np.ndarray, what: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise UserError(
            f"{bad.sum()} of {len(bad)} predictions {what}"
            f" The first is {predictions.recordings[row]} at {predictions.times_s[row]:g} s"
        )
