"""A corpus: recordings with their partition, speaker, labels and audio."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from jaxpara.corpora.audio import AudioInfo
from jaxpara.corpora.labels import Rows
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.registry import suggest

PARTITIONS = ("train", "devel", "test")


@dataclass(frozen=True, eq=False)
class Recording:
    """An audio file and its labels."""

    name: str  # as the label file spells it; unique in the corpus
    path: Path
    partition: str
    speaker: str  # empty if unknown
    times_s: np.ndarray  # `[label]` seconds from the start of the file; `[0.0]` if the whole file has one label
    labels: np.ndarray  # `[label]` for training: belt positions or class indices, NaN where the label file has `?`
    truth: np.ndarray  # `[label]` for evaluation: `labels`, completed by the confidential labels if there are any
    # The scan of the file; empty if it was not scanned (`challenge.read`, new audio, corpora in memory).
    audio: AudioInfo = field(default_factory=AudioInfo)
    fold: str = ""  # the fold that validates on it, where the corpus has its own folds


@dataclass(frozen=True, eq=False)
class Corpus:
    """The recordings of one task, in the order of the label file."""

    task: Task
    root: Path
    recordings: tuple[Recording, ...]
    label_rate_hz: float  # labels per second; 0 if every file has one label
    simulated: bool = False  # True if `jaxpara.corpora.simulated` made the audio; every output mentions it
    label_file: Path = field(default_factory=Path)  # labels.csv or the first label file, for messages

    @cached_property
    def by_name(self) -> dict[str, Recording]:
        return {recording.name: recording for recording in self.recordings}

    @property
    def speakers_known(self) -> bool:
        """True if the speaker of every train and devel recording is known."""
        return all(recording.speaker for recording in self.partition("train", "devel"))

    @cached_property
    def labels(self) -> pd.DataFrame:
        """A row per label, in corpus order.

        Columns: `recording`, `time_s` (rounded to microseconds), `partition`, `speaker`, `label` (float; NaN where
        training may not see it) and `truth` (float; NaN where unknown).
        """
        columns = ["recording", "time_s", "partition", "speaker", "label", "truth"]
        numbers = ["time_s", "label", "truth"]
        rows = [(r.name, np.round(r.times_s, 6), r.partition, r.speaker, r.labels, r.truth) for r in self.recordings]
        table = pd.DataFrame(rows, columns=columns).explode(numbers, ignore_index=True)
        return table.astype(dict.fromkeys(columns, str) | dict.fromkeys(numbers, float))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names, partitions, speakers, own folds, labels and samples."""
        total = hashlib.sha256()
        for recording in self.recordings:
            texts = (recording.name, recording.partition, recording.speaker, recording.audio.digest)
            texts += (recording.fold,) if recording.fold else ()
            total.update(repr(texts).encode())
            for values in (recording.times_s, recording.labels):
                total.update(values.astype("<f8").tobytes())
        return total.hexdigest()

    def known(self, names: Iterable[str], where: str) -> tuple[str, ...]:
        """Return the names of recordings in the config field `where`; raise a UserError if one is unknown."""
        names = tuple(names)
        for name in names:
            if name not in self.by_name:
                near = suggest(name, list(self.by_name))
                raise UserError(
                    f"{where} names {name!r}, which is not a recording of {self.label_file}; correct it{near}"
                )
        return names

    def partition(self, *names: str) -> tuple[Recording, ...]:
        """Return the recordings of one or more partitions, in corpus order."""
        return tuple(recording for recording in self.recordings if recording.partition in names)

    def duplicates(self, some: Collection[str], others: Collection[str]) -> list[tuple[str, str]]:
        """Return the pairs of recordings with identical samples, one from `some` and one from `others`.

        Recordings that are silent or were not scanned do not count. The names are in corpus order, in each pair too.
        """
        some, others = set(some), set(others)
        sounding = [r for r in self.recordings if r.audio.frames and not r.audio.silent]
        digests = pd.Series([r.audio.digest for r in sounding], dtype=object)
        copies = digests.loc[digests.duplicated(keep=False)]
        pairs = sorted(pair for _, group in copies.groupby(copies) for pair in combinations(group.index, 2))
        names = [(sounding[a].name, sounding[b].name) for a, b in pairs]
        return [(a, b) for a, b in names if (a in some and b in others) or (b in some and a in others)]


def recordings_of(rows: Rows, folder: Path) -> tuple[Recording, ...]:
    """Build recordings from their rows, which are adjacent: `name`, `partition`, `speaker`, `time_s`, `value`, `truth`.

    The names are relative to the folder of the audio. The rows may also have a `fold`.
    """
    starts = np.flatnonzero(~rows["name"].duplicated())
    arrays = (np.split(rows[column].to_numpy(float), starts)[1:] for column in ("time_s", "value", "truth"))
    return tuple(
        Recording(row.name, folder / row.name, row.partition, row.speaker, *values, fold=getattr(row, "fold", ""))
        for row, *values in zip(rows.iloc[starts].itertuples(), *arrays, strict=True)
    )
