"""A trained system: what is in a workdir after a run, for recordings that no corpus lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxpara.corpora.challenge import TASKS
from jaxpara.errors import UserError
from jaxpara.fusion import mix
from jaxpara.inference import blocks, manifest, sound
from jaxpara.inference.heard import Heard
from jaxpara.inference.member import TrainedMember
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training.dependencies import after_sources
from jaxpara.training.fit import Fit

AT_ONCE_S = 480.0  # of audio that is predicted at once: fills batches, bounds memory
TOO_SHORT = "is too short for one sample at the system's rate"


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a system says of a recording.

    Attributes:
      times_s: `[row]` seconds from its start. Of classes, there is a row for each clip of the length that the system
        was trained on.
      values: `[row]` belt positions, or `[row, class]` probabilities.
      classes: names of the classes; none for a sequence.
    """

    times_s: np.ndarray
    values: np.ndarray
    classes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> np.ndarray:
        """`[class]` of the whole recording: the mean over its clips."""
        return self.values.mean(axis=0)

    @property
    def label(self) -> str:
        """The most probable class of the whole recording."""
        return self.classes[int(self.probabilities.argmax())]


class System:
    """Members and how they are mixed.

    Attributes:
      about: what system.json says, see `jaxpara.inference.manifest`.
      task: what is predicted.
      members: by name, each after those whose embeddings it takes.
      shares: by member and fold, how much it counts.
      blocks: how long recordings are cut.
    """

    def __init__(self, folder: Path):
        """Reads a system; see `load`."""
        self.about = manifest.read(folder)
        self.task = TASKS[self.about["task"]]
        self.members: dict[str, TrainedMember] = {}
        self._quiet = Progress()  # there is nothing to say: all that is learned is there
        specs = self.about["members"]
        for name in after_sources({name: spec["sources"] for name, spec in specs.items()}, str(folder / manifest.FILE)):
            spec = specs[name]
            self.members[name] = TrainedMember(name, spec, self.task, self.about["seed"], folder, self.members)
        self.shares: dict[str, dict[Any, float]] = self.about["shares"]
        rate_hz, longest_s = self.about["label_rate_hz"], self.about["longest_s"]
        self.blocks = (
            blocks.for_sequences(longest_s, rate_hz, self.task.sample_rate_hz)
            if rate_hz
            else blocks.for_classes(longest_s, self.task.sample_rate_hz)
        )

    @property
    def at_once(self) -> int:
        """Blocks that are predicted at once."""
        return max(1, round(AT_ONCE_S * self.task.sample_rate_hz / self.blocks.size))

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int) -> Estimate:
        """Predicts a recording.

        Args:
          waveform: `[sample]` or `[sample, channel]`, floats in [-1, 1] or whole numbers of any width.
          sample_rate_hz: any.

        Raises:
          UserError: it holds no samples, also at the system's rate, or no finite numbers.
        """
        waveform = sound.as_float(waveform)
        if not len(waveform):
            raise UserError("waveform holds no samples")
        if not (np.isfinite(sample_rate_hz) and 1 <= sample_rate_hz == int(sample_rate_hz)):
            raise UserError(f"sample_rate_hz is {sample_rate_hz}, expected a whole number above 0")
        cut = self.blocks.cut(sound.brought([waveform], int(sample_rate_hz), self.task.sample_rate_hz))
        starts, values = [], []
        while group := list(islice(cut, self.at_once)):
            starts += [start for start, _ in group]
            values += self.predict([block for _, block in group])
        if not values:
            raise UserError(f"waveform {TOO_SHORT}")
        return self.joined(starts, values)

    def predict(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Predicts recordings that are no longer than a block, all at once.

        Args:
          recordings: `[sample]` float32 each, at the task's rate.

        Returns:
          `[row, value]` each: belt positions at the times of `jaxpara.inference.heard.grid_s`, or one row of
          probabilities.
        """
        named = {f"block {number}": recording for number, recording in enumerate(recordings, 1)}
        heard = Heard(named, self.task, self.about["label_rate_hz"])
        parts = {
            name: {fold: self.members[name].predict(heard.corpus, fold, heard.read, self._quiet) for fold in folds}
            for name, folds in self.shares.items()
        }
        counts = [len(recording.times_s) for recording in heard.corpus.recordings]
        return np.split(scores_of(mix(parts, self.shares)), np.cumsum(counts)[:-1])

    def fits(self, name: str) -> dict[int, Fit]:
        """By fold, what a member's learner is given of a second of noise: for those who want its weights or shapes."""
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, self.task.sample_rate_hz).astype(np.float32)
        heard = Heard({"noise": noise}, self.task, self.about["label_rate_hz"])
        member = self.members[name]
        with Progress(Console(stderr=True)) as progress:  # standard output may be for values
            return {fold: member.fit(heard.corpus, fold, heard.read, progress) for fold in member.folds}

    def joined(self, starts: Sequence[int], values: Sequence[np.ndarray]) -> Estimate:
        """A recording from its blocks.

        Args:
          starts: the sample that each begins with.
          values: from `predict`.
        """
        rate_hz: float = self.about["label_rate_hz"]
        if not rate_hz:
            times_s = np.array(starts) / self.task.sample_rate_hz
            return Estimate(times_s, np.concatenate(values), self.task.classes)
        rows = [round(start * rate_hz / self.task.sample_rate_hz) for start in starts]
        belt = blocks.faded(rows, values)[:, 0]
        return Estimate(np.arange(len(belt)) / rate_hz, belt)


def load(folder: str | Path) -> System:
    """Reads a trained system.

    Args:
      folder: the workdir of a finished run.

    Raises:
      UserError: there is none, or it cannot be used on new audio.
    """
    return System(Path(folder))
