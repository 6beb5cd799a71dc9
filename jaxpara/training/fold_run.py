"""One (fold, seed) of a member: what a learner trains on, where it writes, and how its scores become predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.evaluation.metrics import Undefined, official_score
from jaxpara.files import read_json
from jaxpara.predictions import FoldSeed, predictions_of
from jaxpara.seeds import derive

SUMMARY = "summary.json"  # in the folder of a run, as soon as it is trained


@dataclass(frozen=True, eq=False)
class FoldRun:
    """A fold of a member with one seed, and its features.

    Attributes:
      name: for messages: `cnn, fold 2`.
      corpus: all recordings of the member.
      fold: the names of its training, validation and test recordings.
      features: an array per recording name.
      frame_rate_hz: frames of a feature per second; 0 where one vector or image stands for a whole recording.
      folder: where this run keeps everything it writes.
      seed: of all its randomness.
    """

    name: str
    corpus: Corpus
    fold: Fold
    features: Mapping[str, np.ndarray]
    frame_rate_hz: float
    folder: Path
    seed: int

    @classmethod
    def of(
        cls,
        member: str,
        member_folder: Path,
        run_seed: int,
        corpus: Corpus,
        fold: Fold,
        features: Mapping[str, np.ndarray],
        frame_rate_hz: float,
    ) -> "FoldRun":
        """Return the run of a fold, with the name, folder and seed that it always has.

        Args:
          member: the member's name.
          member_folder: the parent of the folders of all its runs.
          run_seed: `config.seed`, from which the seed of this run is derived.
          corpus, fold, features, frame_rate_hz: see the attributes.
        """
        name = f"{member}, fold {fold.index}" + (f", seed {fold.seed}" if fold.seed else "")
        seed = derive(run_seed, member, fold.stream)
        return cls(name, corpus, fold, features, frame_rate_hz, fold_folder(member_folder, fold.key), seed)

    def recordings(self, names: tuple[str, ...]) -> tuple[Recording, ...]:
        return tuple(self.corpus.by_name[name] for name in names)

    def predictions(self, names: tuple[str, ...], scores: np.ndarray) -> pd.DataFrame:
        """Return the prediction table of some recordings.

        Args:
          names: the recordings, in the order of the rows.
          scores: `[row, score]`, a row per label of each recording.
        """
        return predictions_of(self.recordings(names), scores, *self.fold.key)

    def score(self, names: tuple[str, ...], scores: np.ndarray) -> float | None:
        """Return the official measure over all labels of some recordings together; None where it is undefined."""
        truth = np.concatenate([recording.labels for recording in self.recordings(names)])
        known = np.isfinite(truth)
        try:
            task = self.corpus.task
            return official_score(task.measure, truth[known], scores[known].astype(np.float64), len(task.classes))
        except Undefined:
            return None


def fold_folder(member_folder: Path, key: FoldSeed) -> Path:
    """Return the folder of a trained model."""
    return member_folder / f"fold_{key[0]}_seed_{key[1]}"


def summary_of(folder: Path) -> dict[str, Any]:
    """Read what a learner's `train` left in the folder of a trained run; a UserError where it is damaged."""
    return read_json(folder / SUMMARY, "delete it and run again", ("seconds",))
