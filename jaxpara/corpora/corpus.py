"""What is said: recordings with their partition, speaker and labels."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from jaxpara.errors import UserError
from jaxpara.registry import suggest

PARTITIONS = ("train", "devel", "test")


@dataclass(frozen=True)
class Task:
    """One sub-challenge: what its label files look like and how it is scored.

    Attributes:
      name: also the conventional name of the corpus folder.
      kind: `sequence`, a number per time step, or `classes`, one class per recording.
      target: the label column.
      classes: the class names in the order of their indices; empty for a sequence.
      measure: the official measure, `PCC` or `UAR`.
      sample_rate_hz: the rate that every file has to have.
      label_range: the range in which a sequence label is expected.
      speaker_per_file: whether every file is one speaker's and every speaker has one file.
    """

    name: str
    kind: Literal["sequence", "classes"]
    target: str
    measure: Literal["PCC", "UAR"]
    classes: tuple[str, ...] = ()
    sample_rate_hz: int = 16_000
    label_range: tuple[float, float] = (-1.0, 1.0)
    speaker_per_file: bool = False


@dataclass(frozen=True, eq=False)
class Recording:
    """One audio file and what is known of it.

    Attributes:
      name: the file's name as the label file spells it; the key of everything said about the recording.
      path: where the audio lies.
      partition: `train`, `devel` or `test`.
      speaker: who speaks; empty where nobody knows.
      times_s: `[label]` seconds from the start of the file; `[0.0]` where one label holds for all of it.
      labels: `[label]` what training may see: belt positions or class indices, NaN where the label file
        has `?`.
      truth: `[label]` what evaluation may see: `labels`, with the confidential labels filled in where the
        corpus has them.
    """

    name: str
    path: Path
    partition: str
    speaker: str
    times_s: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True, eq=False)
class Corpus:
    """Recordings of one task, in the order of the label file.

    Attributes:
      label_rate_hz: labels per second; 0 where one label holds for a whole file.
      simulated: whether the audio was made by `jaxpara.corpora.simulated`; stamped on all that comes of it.
      label_file: the path of labels.csv (or of the first label file), for messages.
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
        """Whether the speaker of every recording with labels is known."""
        return all(recording.speaker for recording in self.partition("train", "devel"))

    def labels(self) -> pd.DataFrame:
        """Return a row per label in corpus order: recording, time_s, partition, speaker, label, truth."""
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
        """These names; raises a UserError where the corpus does not have one. `where` they stand is for the message."""
        names = tuple(names)
        for name in names:
            if name not in self.by_name:
                near = suggest(name, list(self.by_name))
                raise UserError(f"{where} names {name!r}, which is no recording of {self.label_file}; correct it{near}")
        return names

    def partition(self, *names: str) -> tuple[Recording, ...]:
        """The recordings of one or more partitions, in corpus order."""
        return tuple(recording for recording in self.recordings if recording.partition in names)
