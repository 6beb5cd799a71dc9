"""What the networks of other members make of a recording, as features: the only edge between members."""

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara import processes
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features.feature import Feature
from jaxpara.features.fitted import fitted
from jaxpara.files import mapped, replacing, write_json
from jaxpara.progress import Progress

Arrays = Mapping[str, np.ndarray]
Read = Callable[[Feature, Progress], Arrays]


class Embeddings:
    """Embeddings of one or more members side by side, each fold's from that fold's networks.

    `[time, channel]` float32 where the members predict sequences, `[channel]` where they look at whole recordings.

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
        """Says whose embeddings, and how they are normalised.

        Args:
          of: names of members; their channels follow each other in this order.
          rates, where: from the program: embeddings per second by member, this config's path for messages.
          standardise: those of `of` whose channels get mean 0 and variance 1.
          standardise_on: the recordings that say what the mean and variance are: `train`, those that the fold is fitted
            on; `train_and_devel`, all labelled ones, the tuned on included, as in the authors' published scripts.
          unit_length: whether each vector of all channels is then divided by its length.

        Raises:
          UserError: an impossible combination.
        """
        if not of:
            raise UserError(f"config.{where}.of is empty, expected the names of members")
        if unknown := set(standardise) - set(of):
            raise UserError(f"config.{where}.standardise names {sorted(unknown)}, expected some of {list(of)}")
        if standardise_on not in ("train", "train_and_devel"):
            raise UserError(
                f"config.{where}.standardise_on is {standardise_on!r}, expected 'train' or 'train_and_devel'"
            )
        self._of = tuple(of)
        rates = {name: rates[name] for name in of}
        if len(set(rates.values())) > 1:
            raise UserError(
                f"config.{where}.of: embeddings of different rates (per second) do not go together: {rates}"
            )
        self.frame_rate_hz = next(iter(rates.values()))
        self._standardise, self._on, self._unit_length = tuple(standardise), standardise_on, unit_length

    def require(self) -> None:
        """Needs nothing of its own."""

    @property
    def leak(self) -> str:
        """What of the tuned on recordings is known in fitting; nothing as a rule."""
        leaks = self._standardise and self._on != "train"
        return "embeddings are scaled by the statistics of train and devel, the tuned on part included" if leaks else ""

    def arrays(
        self, corpus: Corpus, fold: Fold, read: Read, progress: Progress, folder: Path, sources: Mapping[str, Arrays]
    ) -> Arrays:
        """The embeddings of all recordings for a fold; the scales that were found for it are kept in `folder`.

        Args:
          sources: the embeddings of each member.
        """
        parts = {name: sources[name] for name in self._of}
        if not self._standardise:
            return _Joined(parts, {}, self._unit_length)
        names = fold.train_names if self._on == "train" else [r.name for r in corpus.partition("train", "devel")]

        def moments() -> dict[str, np.ndarray]:
            return {name: np.stack(_moments(parts[name], names)) for name in self._standardise}

        scales = {name: (mean, std) for name, (mean, std) in fitted(folder, names, moments).items()}
        return _Joined(parts, scales, self._unit_length)


class _Joined(Mapping[str, np.ndarray]):
    """Puts the channels together when a recording is asked for."""

    def __init__(
        self, parts: Mapping[str, Arrays], scales: Mapping[str, tuple[np.ndarray, np.ndarray]], unit_length: bool
    ):
        self._parts, self._scales, self._unit_length = parts, scales, unit_length

    def __getitem__(self, recording: str) -> np.ndarray:
        channels = []
        for name, arrays in self._parts.items():
            values = np.asarray(arrays[recording], np.float32)
            if name in self._scales:
                mean, std = self._scales[name]
                values = (values - mean) / std
            channels.append(values)
        # Networks of different strides may differ by a frame at the end of a recording.
        frames = min(len(values) for values in channels) if channels[0].ndim == 2 else None
        joined = np.concatenate([values[:frames] for values in channels], axis=-1)
        if self._unit_length:
            joined = joined / np.maximum(np.linalg.norm(joined, axis=-1, keepdims=True), 1e-12)
        return joined.astype(np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(next(iter(self._parts.values())))

    def __len__(self) -> int:
        return len(next(iter(self._parts.values())))


def _moments(arrays: Arrays, names: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """`[channel]` means and deviations over recordings; a constant channel has the deviation 1."""
    count, total, squares = 0, np.float64(0), np.float64(0)
    for name in names:
        values = np.atleast_2d(arrays[name]).astype(np.float64)
        count, total, squares = count + len(values), total + values.sum(0), squares + (values**2).sum(0)
    mean = np.asarray(total / count)
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), np.where(std > 1e-8, std, 1).astype(np.float32)


class Stored(Mapping[str, np.ndarray]):
    """Embeddings of one fit on disk: a folder with all of them in one file, each mapped when it is asked for."""

    def __init__(self, folder: Path):
        """Opens a folder that `store` wrote."""
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        shape = (sum(index["lengths"]), *index["shape"])
        if (size := (folder / "data.bin").stat().st_size) != 4 * np.prod(shape):
            raise ValueError(f"{folder}: {size} bytes instead of {4 * np.prod(shape)}")
        self._data, self._shape = folder / "data.bin", tuple(index["shape"])
        self._ends = dict(zip(index["names"], np.cumsum(index["lengths"]).tolist(), strict=True))
        self._lengths = dict(zip(index["names"], index["lengths"], strict=True))
        self._vectors = index["vectors"]

    def __getitem__(self, name: str) -> np.ndarray:
        length = self._lengths[name]
        before = 4 * (self._ends[name] - length) * math.prod(self._shape)
        values = mapped(self._data, np.float32, (length, *self._shape), before)
        return values[0] if self._vectors else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)


def stored(folder: Path, names: Sequence[str], compute: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> Stored:
    """The embeddings in a folder; computed and written first where they are not there, whole or not at all.

    Args:
      folder: of these embeddings alone.
      names: of the recordings.
      compute: pairs of a recording's name and its `[time, ...]` or `[channel]` embeddings; each is written as it comes.

    Returns:
      `[time, ...]` or `[channel]` float32 by recording, in the order of `names`.
    """

    def there() -> bool:
        return (kept := _opened(folder)) is not None and list(kept) == list(names)

    if processes.on_main(there):
        return Stored(folder)
    if not processes.is_main():  # it takes part in the computing, and leaves the writing to the first
        deque(compute(), maxlen=0)
        processes.wait_for_main()
        return Stored(folder)
    index: dict[str, Any] = {"names": [], "lengths": []}
    with replacing(folder / "data.bin") as part, part.open("wb") as file:
        for name, values in compute():
            rows = np.ascontiguousarray(np.atleast_2d(values), np.float32)
            rows.tofile(file)
            index["names"].append(name)
            index["lengths"].append(len(rows))
            index |= {"shape": rows.shape[1:], "vectors": values.ndim == 1}
    # Last, as it says that the rest is there.
    write_json(folder / "index.json", index)
    processes.wait_for_main()
    return Stored(folder)


def _opened(folder: Path) -> Stored | None:
    """What the folder holds; None where it is not there or damaged."""
    try:
        return Stored(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
