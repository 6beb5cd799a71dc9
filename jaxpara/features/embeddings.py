"""Embeddings from the networks of other members as features."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from jaxpara import processes
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.cache import LazyArrays, fitted, is_intact, read_array, write_array
from jaxpara.features.feature import Feature
from jaxpara.progress import Progress
from jaxpara.registry import require_one_of

Arrays = Mapping[str, np.ndarray]
Read = Callable[[Feature, Progress], Arrays]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of one or more members, concatenated; those of a fold come from the networks of that fold.

    `[time, channel]` float32 if the members predict sequences, `[channel]` if they process whole recordings.

    Reference: paper §3.2, fusion of deep embeddings; the normalisation is that of the authors' published scripts.

    Attributes:
      of: names of members, in the order of their channels.
      rates, where: not in the config: embeddings per second of each member (0: one per recording), and the config
        path for messages.
      standardise: the members of `of` whose channels are scaled to mean 0 and variance 1.
      standardise_on: the recordings whose mean and variance are used: `train`, the fold's training set, or
        `train_and_devel`, all labelled recordings including the validation set, as in the published scripts.
      unit_length: divide each vector of all channels by its length.
    """

    of: Sequence[str]
    rates: Mapping[str, float]
    where: str
    standardise: Sequence[str] = ()
    standardise_on: str = "train"
    unit_length: bool = False

    def __post_init__(self):
        if not self.of:
            raise UserError(f"config.{self.where}.of is empty, expected the names of members")
        if unknown := set(self.standardise) - set(self.of):
            raise UserError(
                f"config.{self.where}.standardise names {sorted(unknown)}, expected some of {list(self.of)}"
            )
        require_one_of(f"config.{self.where}.standardise_on", self.standardise_on, ("train", "train_and_devel"))
        rates = {name: self.rates[name] for name in self.of}
        if len(set(rates.values())) > 1:
            raise UserError(
                f"config.{self.where}.of: embeddings of different rates (per second) cannot be concatenated: {rates}"
            )

    @property
    def frame_rate_hz(self) -> float:
        return self.rates[self.of[0]]

    @property
    def leak(self) -> str:
        """The information about the validation set in these features; empty if there is none."""
        if not self.standardise or self.standardise_on == "train":
            return ""
        return "embeddings are scaled by the statistics of train and devel, including the validation set"

    def require(self) -> None:
        """Do nothing: no package is required."""

    def arrays(
        self, corpus: Corpus, fold: Fold, read: Read, progress: Progress, folder: Path, sources: Mapping[str, Arrays]
    ) -> Arrays:
        """Return the features of all recordings for a fold, scaled and concatenated at access.

        Args:
          read: returns a feature of all recordings; as `progress`, for `Bags` only.
          folder: of the fold, for the scales.
          sources: the embeddings of all recordings by member, from the networks of this fold.
        """
        scales = {}
        if self.standardise:
            names = [r.name for r in corpus.partition("train", "devel")] if self.leak else fold.train_names
            scales = fitted(folder, names, lambda: {of: _moments(sources[of], names) for of in self.standardise})

        def load(recording: str) -> np.ndarray:
            channels = []
            for name in self.of:
                values = np.asarray(sources[name][recording], np.float32)
                if name in scales:
                    mean, std = scales[name]
                    values = (values - mean) / std
                channels.append(values)
            # Networks of different strides may differ by a frame at the end of a recording.
            frames = min(len(values) for values in channels) if channels[0].ndim == 2 else None
            joined = np.concatenate([values[:frames] for values in channels], axis=-1)
            if self.unit_length:
                joined = joined / np.maximum(np.linalg.norm(joined, axis=-1, keepdims=True), 1e-12)
            return joined.astype(np.float32)

        return LazyArrays(sources[self.of[0]], load)


def _moments(arrays: Arrays, names: Iterable[str]) -> np.ndarray:
    """Return the means and standard deviations over recordings, `[2, channel]`; those of constant channels are 1."""
    scaler = StandardScaler()
    for name in names:  # one after the other: their frames may not fit into memory
        scaler.partial_fit(np.atleast_2d(arrays[name]).astype(np.float64))
    return np.asarray([scaler.mean_, scaler.scale_], np.float32)


def stored(folder: Path, names: Sequence[str], compute: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> LazyArrays:
    """Return the embeddings in a folder, after computing all of them if one is missing or damaged.

    All processes of a run compute, because a network runs on the devices of all of them; the main process writes.

    Args:
      folder: for these embeddings only.
      compute: yields recording names and their embeddings; each is written immediately.

    Returns:
      `[time, ...]` or `[channel]` float32 by recording, in the order of `names`.
    """
    # Recording names may be long or contain slashes.
    paths = {name: folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.npy" for name in names}
    if not processes.on_main(lambda: all(is_intact(path) for path in paths.values())):
        if processes.is_main():
            # A partial set may come from another state of the network.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for name, values in compute():
            if processes.is_main():
                write_array(paths[name], np.asarray(values, np.float32))
        processes.wait_for_main()
    return LazyArrays(paths, lambda name: read_array(paths[name]))
