"""One fit of one member: what a learner is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.files import read_json
from jaxpara.seeds import derive

FINISHED = "fit.json"  # in the folder of a fit, as soon as it has ended


@dataclass(frozen=True, eq=False)
class Fit:
    """A fold of a member, with its features.

    Attributes:
      name: for messages: `cnn, fold 2`.
      corpus: of all its recordings.
      fold: which of them it is fitted, tuned and tested on.
      features: an array per recording name.
      frame_rate_hz: frames of a feature per second; 0 where a feature stands for a whole recording.
      folder: where this fit keeps everything it writes.
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
    ) -> "Fit":
        """A fold of a member, under the name, in the folder and with the seed that it has in every run.

        Args:
          member, member_folder: the member's name, and where its folds lie.
          run_seed: of the run, from which the fold's own follows.
          corpus, fold, features, frame_rate_hz: as above.
        """
        folder, seed = fold_folder(member_folder, fold.index), derive(run_seed, member, fold.index)
        return cls(f"{member}, fold {fold.index}", corpus, fold, features, frame_rate_hz, folder, seed)

    def recordings(self, names: tuple[str, ...]) -> tuple[Recording, ...]:
        """Those of these names, in their order."""
        return tuple(self.corpus.by_name[name] for name in names)


def fold_folder(member_folder: Path, index: int) -> Path:
    """Where a fold of a member keeps everything it writes."""
    return member_folder / f"fold_{index}"


def summary_of(folder: Path) -> dict[str, Any]:
    """What a learner's `fit` left in the folder of a fit that has ended; a UserError where it is damaged."""
    return read_json(folder / FINISHED, "delete it and run again", ("seconds",))
