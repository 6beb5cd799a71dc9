"""Bags of audio words as features: a codebook for each fold, from the recordings that it is fitted on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold
from jaxpara.features.boaw import BagOfWords
from jaxpara.features.embeddings import Arrays, Read
from jaxpara.features.feature import Feature
from jaxpara.features.fitted import fitted
from jaxpara.features.opensmile import OpenSmile
from jaxpara.progress import Progress
from jaxpara.registry import build


class Bags:
    """Bags of a recording's low-level descriptors, `[word]` float32: those of the descriptors, then of their deltas."""

    frame_rate_hz = 0.0
    leak = ""  # codebooks know the fitted on recordings alone

    def __init__(
        self,
        frames: Mapping[str, Any],
        where: str,
        seed: int,
        size: int = 2000,
        nearest: int = 10,
        method: Literal["random", "kmeans++"] = "random",
        log: bool = True,
        normalise: Literal["none", "sum", "length"] = "none",
    ):
        """Says which frames, and how they are counted.

        Args:
          frames: `{"name": "opensmile", "level": "lld", ...}`.
          where, seed: from the program: this config's path for messages, and what the words are drawn by.
          size: words in each of the two codebooks.
          nearest: words that a frame counts for.
          method: how words are chosen among the frames.
          log, normalise: see `jaxpara.features.boaw`.
        """
        self._frames: Feature = build({"opensmile": OpenSmile}, frames, f"{where}.frames")
        self._bags = BagOfWords(size=size, nearest=nearest, method=method, log=log, normalise=normalise, seed=seed)

    def require(self) -> None:
        """As its frames."""
        self._frames.require()

    def arrays(
        self, corpus: Corpus, fold: Fold, read: Read, progress: Progress, folder: Path, sources: Any = None
    ) -> Arrays:
        """The bags of all recordings, with the fold's codebooks, which are kept in `folder`."""
        frames = read(self._frames, progress)

        def codebooks() -> dict[str, np.ndarray]:
            progress.say(f"fold {fold.index}: codebooks from {len(fold.train_names)} recordings")
            return self._bags.fit((name, frames[name]) for name in fold.train_names).fitted

        return self._bags.restore(fitted(folder, fold.train_names, codebooks)).transform_all(frames)
