"""The run of one (fold, seed) of a member: its recordings, features, folder and predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import recall_score

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.metrics import Undefined
from jaxpara.files import read_json
from jaxpara.predictions import FoldSeed, predictions_of
from jaxpara.seeds import derive

SUMMARY = "summary.json"  # in the folder of a trained run


@dataclass(frozen=True, eq=False)
class FoldRun:
    """A fold of a member with one seed, and its features."""

    name: str  # for messages: `cnn, fold 2`
    corpus: Corpus
    fold: Fold
    features: Mapping[str, np.ndarray]  # by recording
    frame_rate_hz: float  # of the features; 0 for one vector or image per recording
    folder: Path  # for everything that this run writes
    seed: int  # of all its randomness

    @classmethod
    def of(cls, member: str, member_folder: Path, config_seed: int, fold: Fold, **given: Any) -> "FoldRun":
        """Return the run of a fold; its name, folder and seed follow from the member, and `given` are the others."""
        name = f"{member}, fold {fold.index}" + (f", seed {fold.seed}" if fold.seed else "")
        seed = derive(config_seed, member, fold.stream)
        return cls(name=name, fold=fold, folder=fold_folder(member_folder, fold.key), seed=seed, **given)

    def recordings(self, names: tuple[str, ...]) -> tuple[Recording, ...]:
        return tuple(self.corpus.by_name[name] for name in names)

    def predictions(self, names: tuple[str, ...], scores: np.ndarray) -> pd.DataFrame:
        """Return the prediction table of recordings from `[row, score]`, a row per label of each in this order."""
        return predictions_of(self.recordings(names), scores, *self.fold.key)

    def score(self, names: tuple[str, ...], scores: np.ndarray) -> float | None:
        """Return the official measure over all labels of some recordings together; None if undefined.

        Where a class has no label, it is the mean recall of the others, which is enough to choose an epoch or a C.
        """
        truth, task = np.concatenate([recording.labels for recording in self.recordings(names)]), self.corpus.task
        known = np.isfinite(truth)
        try:
            return MEASURE[task.measure].value(truth[known], scores[known].astype(np.float64))
        except Undefined:
            if task.kind != "classes" or not known.any():
                return None
            present = np.unique(truth[known])
            return float(recall_score(truth[known], scores[known].argmax(1), labels=present, average="macro"))


def fold_folder(member_folder: Path, key: FoldSeed) -> Path:
    """Return the folder of a run."""
    return member_folder / f"fold_{key[0]}_seed_{key[1]}"


def summary_of(folder: Path) -> dict[str, Any]:
    """Read the summary of a trained run; raise a UserError if it is damaged."""
    return read_json(folder / SUMMARY, "delete it and run again", ("seconds",))
