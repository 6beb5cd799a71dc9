"""One fit of one member: what a learner is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold


@dataclass(frozen=True, eq=False)
class Fit:
    """A fold of a member, with its features.

    Attributes:
      name: for messages: `cnn, fold 2`.
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

    def recordings(self, names: tuple[str, ...]) -> tuple[Recording, ...]:
        return tuple(self.corpus.by_name[name] for name in names)
