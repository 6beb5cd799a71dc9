"""A corpus: recordings with their partition, speaker, labels and audio."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from jaxpara.corpora.audio import AudioInfo
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.registry import suggest

PARTITIONS = ("train", "devel", "test")


@dataclass(frozen=True, eq=False)
class Recording:
    """An audio file and its labels.

    Attributes:
      name: the file name as the label file spells it; unique in the corpus.
      path: the audio file.
      partition: `train`, `devel` or `test`.
      speaker: empty if unknown.
      times_s: `[label]` seconds from the start of the file; `[0.0]` where one label holds for the whole file.
      labels: `[label]` what training may see: belt positions or class indices, NaN where the label file has `?`.
      truth: `[label]` what evaluation may see: `labels`, completed by the confidential labels if the corpus has them.
      audio: the scan of the file; None if it was not scanned (`challenge.read`, new audio, corpora in memory).
    """

    name: str
    path: Path
    partition: str
    speaker: str
    times_s: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    audio: AudioInfo | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the decoded samples, the key of stored features; empty if the file was not scanned."""
        return self.audio.digest if self.audio else ""

    @property
    def seconds(self) -> float | None:
        """Duration of the audio; None if the file was not scanned."""
        return self.audio.seconds if self.audio else None


@dataclass(frozen=True, eq=False)
class Corpus:
    """The recordings of one task, in the order of the label file.

    Attributes:
      label_rate_hz: labels per second; 0 where one label holds for a whole file.
      simulated: whether the audio was made by `jaxpara.corpora.simulated`; every output mentions it.
      label_file: labels.csv or the first label file, for messages.
    """

    task: Task
    root: Path
    recordings: tuple[Recording, ...]
    label_rate_hz: float
    simulated: bool = False
    label_file: Path = field(default_factory=Path)

    @cached_property
    def by_name(self) -> dict[str, Recording]:
        return {recording.name: recording for recording in self.recordings}

    @property
    def speakers_known(self) -> bool:
        """Whether the speaker of every train and devel recording is known."""
        return all(recording.speaker for recording in self.partition("train", "devel"))

    def labels(self) -> pd.DataFrame:
        """Return a row per label, in corpus order.

        Returns:
          Columns `recording`, `time_s` (rounded to microseconds), `partition`, `speaker`, `label` (float; NaN where
          training may not see it) and `truth` (float; NaN where unknown).
        """
        return self._labels

    @cached_property
    def _labels(self) -> pd.DataFrame:
        counts = [len(recording.times_s) for recording in self.recordings]

        def per_recording(values: list[str]) -> pd.Series:
            return pd.Series(np.repeat(np.array(values, object), counts), dtype=str)

        def per_label(arrays: list[np.ndarray]) -> np.ndarray:
            return np.concatenate(arrays) if arrays else np.empty(0)

        return pd.DataFrame(
            {
                "recording": per_recording([r.name for r in self.recordings]),
                "time_s": np.round(per_label([r.times_s for r in self.recordings]), 6),
                "partition": per_recording([r.partition for r in self.recordings]),
                "speaker": per_recording([r.speaker for r in self.recordings]),
                "label": per_label([r.labels for r in self.recordings]),
                "truth": per_label([r.truth for r in self.recordings]),
            }
        )

    def known(self, names: Iterable[str], where: str) -> tuple[str, ...]:
        """Return the given names of recordings.

        Args:
          names: of recordings, from the user.
          where: the config field that holds them, for the message.

        Raises:
          UserError: the corpus has no recording of such a name.
        """
        names = tuple(names)
        for name in names:
            if name not in self.by_name:
                near = suggest(name, list(self.by_name))
                raise UserError(f"{where} names {name!r}, which is no recording of {self.label_file}; correct it{near}")
        return names

    def partition(self, *names: str) -> tuple[Recording, ...]:
        """Return the recordings of one or more partitions, in corpus order."""
        return tuple(recording for recording in self.recordings if recording.partition in names)

    def duplicates(self, some: Collection[str], others: Collection[str]) -> list[tuple[str, str]]:
        """Return the pairs of recordings with identical samples of which one is in `some` and one in `others`.

        Silent files do not count. Needs scanned recordings.

        Returns:
          Pairs of names, each and all of them in corpus order.
        """
        some, others = set(some), set(others)
        return [(a, b) for a, b in self._duplicates if (a in some and b in others) or (b in some and a in others)]

    @cached_property
    def _duplicates(self) -> list[tuple[str, str]]:
        sounding = [r for r in self.recordings if r.audio is not None and r.audio.frames and not r.audio.silent]
        digests = pd.Series([r.digest for r in sounding], dtype=object)
        copies = digests.loc[digests.duplicated(keep=False)]
        pairs = sorted(pair for _, group in copies.groupby(copies) for pair in combinations(group.index, 2))
        return [(sounding[a].name, sounding[b].name) for a, b in pairs]
