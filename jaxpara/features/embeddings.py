"""Embeddings from the networks of other members as features."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxpara import processes
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.cache import LazyArrays, fitted, is_intact, read_arrays, write_array
from jaxpara.features.feature import Feature
from jaxpara.progress import Progress
from jaxpara.registry import require_one_of

Arrays = Mapping[str, np.ndarray]
Read = Callable[[Feature, Progress], Arrays]


class Embeddings:
    """Embeddings of one or more members, concatenated; those of a fold come from the networks of that fold.

    `[time, channel]` float32 if the members predict sequences, `[channel]` if they process whole recordings.

    Reference: paper §3.2, fusion of deep embeddings; the normalisation is that of the authors' published scripts.
    """

    def __init__(
        self,
        of: Sequence[str],
        rates: Mapping[str, float],
        where: str,
        standardise: Sequence[str] = (),
        standardise_on: str = "train",
        unit_length: bool = False,
    ):
        """Check the fields.

        Args:
          of: names of members, in the order of their channels.
          rates, where: not in the config: embeddings per second of each member (0: one per recording), and the config
            path for messages.
          standardise: the members of `of` whose channels are scaled to mean 0 and variance 1.
          standardise_on: the recordings whose mean and variance are used: `train`, the fold's training set, or
            `train_and_devel`, all labelled recordings including the validation set, as in the authors' published
            scripts.
          unit_length: divide each vector of all channels by its length.

        Raises:
          UserError: an impossible combination.
        """
        if not of:
            raise UserError(f"config.{where}.of is empty, expected the names of members")
        if unknown := set(standardise) - set(of):
            raise UserError(f"config.{where}.standardise names {sorted(unknown)}, expected some of {list(of)}")
        require_one_of(f"config.{where}.standardise_on", standardise_on, ("train", "train_and_devel"))
        rates = {name: rates[name] for name in of}
        if len(set(rates.values())) > 1:
            raise UserError(
                f"config.{where}.of: embeddings of different rates (per second) cannot be concatenated: {rates}"
            )
        self.frame_rate_hz = rates[of[0]]
        self._of, self._standardise, self._on, self._unit_length = tuple(of), standardise, standardise_on, unit_length

    def require(self) -> None:
        """Do nothing: no package is required."""

    @property
    def leak(self) -> str:
        """The information about the validation set in these features; empty if there is none."""
        leaks = self._standardise and self._on != "train"
        return (
            "embeddings are scaled by the statistics of train and devel, including the validation set" if leaks else ""
        )

    def arrays(
        self, corpus: Corpus, fold: Fold, read: Read, progress: Progress, folder: Path, sources: Mapping[str, Arrays]
    ) -> Arrays:
        """Return the features of all recordings for a fold.

        Args:
          read, progress: not used, but by other features that depend on the fold.
          folder: of the fold, for the scales.
          sources: the embeddings of all recordings by member, from the networks of this fold.
        """
        sources = {name: sources[name] for name in self._of}
        if not self._standardise:
            return _concatenated(sources, {}, self._unit_length)
        names = fold.train_names if self._on == "train" else [r.name for r in corpus.partition("train", "devel")]
        scales = fitted(folder, names, lambda: {n: np.stack(_moments(sources[n], names)) for n in self._standardise})
        return _concatenated(sources, scales, self._unit_length)


def _concatenated(sources: Mapping[str, Arrays], scales: Mapping[str, np.ndarray], unit_length: bool) -> LazyArrays:
    """Return the channels of all members, scaled and concatenated at access."""

    def load(recording: str) -> np.ndarray:
        channels = []
        for name, arrays in sources.items():
            values = np.asarray(arrays[recording], np.float32)
            if name in scales:
                mean, std = scales[name]
                values = (values - mean) / std
            channels.append(values)
        # Networks of different strides may differ by a frame at the end of a recording.
        frames = min(len(values) for values in channels) if channels[0].ndim == 2 else None
        joined = np.concatenate([values[:frames] for values in channels], axis=-1)
        if unit_length:
            joined = joined / np.maximum(np.linalg.norm(joined, axis=-1, keepdims=True), 1e-12)
        return joined.astype(np.float32)

    return LazyArrays(next(iter(sources.values())), load)


def _moments(arrays: Arrays, names: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return `[channel]` means and standard deviations over recordings; a constant channel has the deviation 1."""
    count, total, squares = 0, np.float64(0), np.float64(0)
    for name in names:
        values = np.atleast_2d(arrays[name]).astype(np.float64)
        count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), np.where(std > 1e-8, std, 1).astype(np.float32)


def stored(folder: Path, names: Sequence[str], compute: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> LazyArrays:
    """Return the embeddings in a folder, after computing all of them if one is missing or damaged.

    All processes of a run compute, because a network runs on the devices of all of them; the main process writes.

    Args:
      folder: for these embeddings only.
      names: of the recordings.
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
    return read_arrays(paths)
