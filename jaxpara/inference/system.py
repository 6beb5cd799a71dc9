"""A trained system, read from the workdir of a finished run or an export, that predicts new audio."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import TASKS, Task
from jaxpara.errors import UserError
from jaxpara.features import FEATURES
from jaxpara.features.embeddings import Read
from jaxpara.features.feature import Feature
from jaxpara.fusion import mix
from jaxpara.inference import system_file
from jaxpara.inference.audio_files import Blocks, crossfade, resample, to_float
from jaxpara.predictions import FoldSeed, scores_of
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.seeds import derive
from jaxpara.training import LEARNERS, parallel
from jaxpara.training.fold_run import FoldRun, fold_folder
from jaxpara.training.state import TrainState

MAX_BATCH_S = 480.0  # seconds of audio predicted at once: fills batches, and limits memory
SHORTEST_S = 1.0  # long enough for every feature; shorter audio is padded with silence
TOO_SHORT = "is too short for one sample at the system's rate"


@dataclass(frozen=True, eq=False)
class Estimate:
    """The prediction of a system for a recording.

    Attributes:
      times_s: `[row]` seconds from the start. Classes have a row per clip of the training length.
      values: `[row]` belt positions, or `[row, class]` probabilities.
      classes: names of the classes; empty for a sequence.
    """

    times_s: np.ndarray
    values: np.ndarray
    classes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> np.ndarray:
        """`[class]` mean over the clips of the recording."""
        return self.values.mean(axis=0)

    @property
    def label(self) -> str:
        """The most probable class of the recording."""
        return self.classes[int(self.probabilities.argmax())]


class InMemoryCorpus:
    """New audio as a corpus without labels.

    Attributes:
      corpus: recordings in the order of the waveforms, all in the partition `test`.
    """

    def __init__(self, waveforms: Sequence[np.ndarray], task: Task, label_rate_hz: float):
        """Wrap waveforms.

        Args:
          waveforms: `[sample]` float32 in [-1, 1] each, at the task's rate.
          label_rate_hz: predictions per second; 0 for one per recording.
        """
        names = [f"block {number}" for number in range(1, len(waveforms) + 1)]
        least = round(SHORTEST_S * task.sample_rate_hz)
        padded = [np.pad(waveform, (0, max(0, least - len(waveform)))) for waveform in waveforms]
        self._waveforms = dict(zip(names, padded, strict=True))
        self._features: dict[str, dict[str, Any]] = {}
        recordings = []
        for name, waveform in zip(names, waveforms, strict=True):
            # One prediction per label period that starts before the end of the recording.
            rows = max(1, int(np.ceil(len(waveform) / task.sample_rate_hz * label_rate_hz - 1e-6)))
            times_s = np.arange(rows) / (label_rate_hz or 1)
            unknown = np.full(rows, np.nan)
            recordings.append(Recording(name, Path(name), "test", "", times_s, unknown, unknown))
        self.corpus = Corpus(task, Path(), tuple(recordings), label_rate_hz)

    def features(self, feature: Feature, progress: Progress | None = None) -> Mapping[str, Any]:
        """Return a feature of all recordings by name; members that share it compute it once."""
        key = str(feature.description())
        if key not in self._features:
            with ThreadPoolExecutor() as pool:
                arrays = pool.map(feature, self._waveforms.values())
                self._features[key] = dict(zip(self._waveforms, arrays, strict=True))
        return self._features[key]


class TrainedMember:
    """A member of a trained system: features, learner and trained models. It writes nothing.

    Attributes:
      feature, learner: built from its config.
      models: the learner's choice (epoch, or C) of each trained model, by fold and seed.
    """

    def __init__(
        self,
        name: str,
        spec: Mapping[str, Any],
        task: Task,
        seed: int,
        folder: Path,
        sources: "Mapping[str, TrainedMember]",
    ):
        """Build feature and learner; each model is read when it is first used.

        Args:
          spec: from system.json.
          seed: of the run.
          folder: of the trained system.
          sources: the members whose embeddings this one may use.

        Raises:
          UserError: it was trained on features that new audio does not have.
        """
        if spec["table"]:
            raise UserError(
                f"{folder}: member {name} was trained on the organisers' feature files ({spec['table']}), which new"
                " audio does not have; train it without the corpus' features/ folder to compute them from the audio"
            )
        self.name, self.models = name, spec["models"]
        self._seed, self._folder = seed, folder / "members" / name
        features = {key: value for key, value in spec["config"]["features"].items() if key != "table"}
        self._sources = {source: sources[source] for source in spec["sources"]}
        rates = {source: member.embedding_rate_hz for source, member in self._sources.items()}
        where = f"members.{name}"
        self.feature = build(FEATURES, features, f"{where}.features", rates=rates, seed=derive(seed, name))
        self.feature.require()
        self.learner = build(
            LEARNERS,
            spec["config"]["learner"],
            f"{where}.learner",
            task=task,
            frame_rate_hz=self.feature.frame_rate_hz,
            precision=spec["precision"],
        )
        self._loaded: dict[FoldSeed, Any] = {}

    def folder(self, key: FoldSeed) -> Path:
        """Return the folder of a trained model."""
        return fold_folder(self._folder, key)

    def fold_run(self, corpus: Corpus, key: FoldSeed, read: Read, progress: Progress) -> FoldRun:
        """Return the fold of a trained model with the recordings of a corpus as its test set."""
        fold = Fold(key[0], (), (), tuple(recording.name for recording in corpus.recordings), key[1])
        if isinstance(self.feature, Feature):
            arrays = read(self.feature, progress)
        else:
            sources = {name: source.embeddings(corpus, key, read, progress) for name, source in self._sources.items()}
            arrays = self.feature.arrays(corpus, fold, read, progress, self.folder(key), sources)
        given = {"corpus": corpus, "features": arrays, "frame_rate_hz": self.feature.frame_rate_hz}
        return FoldRun.of(self.name, self._folder, self._seed, fold, **given)

    def load(self, run: FoldRun) -> Any:
        """Return a trained model: the state of a network, or an SVM pipeline. It is read once."""
        key = run.fold.key
        if key not in self._loaded:
            if not run.folder.is_dir():
                raise UserError(f"{run.folder}: no such folder, expected the trained model of this fold; copy it there")
            model = self.learner.load(run, self.models[key])
            if isinstance(model, TrainState):
                model = parallel.replicate(replace(model, opt_state=()))  # here, so that it is done once
            self._loaded[key] = model
        return self._loaded[key]

    def predict(self, corpus: Corpus, key: FoldSeed, read: Read, progress: Progress) -> pd.DataFrame:
        """Return the predictions of one of `models` for all recordings, a row per time."""
        run = self.fold_run(corpus, key, read, progress)
        return self.learner.predict(run, run.fold.test_names, self.load(run))

    @property
    def embedding_rate_hz(self) -> float:
        """Embeddings per second; 0 where there is one per recording."""
        return self.learner.embedding_rate_hz

    def embeddings(self, corpus: Corpus, key: FoldSeed, read: Read, progress: Progress) -> Mapping[str, np.ndarray]:
        """Return the embeddings of all recordings by a trained model."""
        key = key if key in self.models else min(self.models)  # a pretrained network has one model for all folds
        run = self.fold_run(corpus, key, read, progress)
        return dict(self.learner.embed(run, run.fold.test_names, self.load(run)))


class System:
    """A trained system: `system(waveform, sample_rate_hz)` predicts a recording.

    Attributes:
      about: the content of system.json, see `jaxpara.inference.system_file`.
      task: what is predicted.
      members: by name, each after those whose embeddings it uses.
      weights: `{member: {(fold, seed): weight}}` of the trained models; they sum to 1.
      blocks: scheme that cuts long recordings.
    """

    def __init__(self, folder: str | Path):
        """Read a trained system.

        Args:
          folder: the workdir of a finished run, or an export of it.

        Raises:
          UserError: the folder has no trained system, or one that cannot predict new audio.
        """
        folder = Path(folder)
        self.about = system_file.read(folder)
        self.task = TASKS[self.about["task"]]
        self.weights: dict[str, dict[FoldSeed, float]] = self.about["weights"]
        self.members: dict[str, TrainedMember] = {}
        self._quiet = Progress(Console(quiet=True))
        for name, spec in self.about["members"].items():
            self.members[name] = TrainedMember(name, spec, self.task, self.about["seed"], folder, self.members)
        rate_hz, longest_s = self.about["label_rate_hz"], self.about["longest_s"]
        self.blocks = (
            Blocks.for_sequences(longest_s, rate_hz, self.task.sample_rate_hz)
            if rate_hz
            else Blocks.for_classes(longest_s, self.task.sample_rate_hz)
        )

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int) -> Estimate:
        """Predict a recording.

        Args:
          waveform: `[sample]` or `[sample, channel]`, floats in [-1, 1] or integers of any width.
          sample_rate_hz: any whole number.

        Raises:
          UserError: the waveform or the rate is invalid, or too short for one sample at the system's rate.
        """
        waveform = to_float(waveform)
        if not len(waveform):
            raise UserError("waveform has no samples")
        if not (np.isfinite(sample_rate_hz) and 1 <= sample_rate_hz == int(sample_rate_hz)):
            raise UserError(f"sample_rate_hz is {sample_rate_hz}, expected a whole number above 0")
        cut = self.blocks.cut(resample([waveform], int(sample_rate_hz), self.task.sample_rate_hz))
        batch = max(1, round(MAX_BATCH_S * self.task.sample_rate_hz / self.blocks.size))
        starts, values = [], []
        while group := list(islice(cut, batch)):
            starts += [start for start, _ in group]
            values += self.predict([block for _, block in group])
        if not values:
            raise UserError(f"waveform {TOO_SHORT}")
        return self.join(starts, values)

    def predict(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Predict recordings no longer than a block at once.

        Args:
          waveforms: `[sample]` float32 each, at the task's rate.

        Returns:
          `[row, value]` each: belt positions `label_rate_hz` times a second, or one row of probabilities.
        """
        audio = InMemoryCorpus(waveforms, self.task, self.about["label_rate_hz"])
        tables = {
            name: {
                key: self.members[name].predict(audio.corpus, key, audio.features, self._quiet) for key in model_weights
            }
            for name, model_weights in self.weights.items()
        }
        scores = scores_of(mix(tables, self.weights))
        counts = [len(recording.times_s) for recording in audio.corpus.recordings]
        return np.split(scores, np.cumsum(counts)[:-1])

    def fold_runs(self, name: str) -> dict[FoldSeed, FoldRun]:
        """Return the folds of a member with a second of noise as test set, to load its models and learn its shapes."""
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, self.task.sample_rate_hz).astype(np.float32)
        audio = InMemoryCorpus([noise], self.task, self.about["label_rate_hz"])
        member = self.members[name]
        return {key: member.fold_run(audio.corpus, key, audio.features, self._quiet) for key in member.models}

    def join(self, starts: Sequence[int], values: Sequence[np.ndarray]) -> Estimate:
        """Join the predictions of a recording's blocks.

        Args:
          starts: first sample of each block.
          values: from `predict`.
        """
        rate_hz: float = self.about["label_rate_hz"]
        if not rate_hz:
            times_s = np.array(starts) / self.task.sample_rate_hz
            return Estimate(times_s, np.concatenate(values), self.task.classes)
        rows = [round(start * rate_hz / self.task.sample_rate_hz) for start in starts]
        belt = crossfade(rows, values)[:, 0]
        return Estimate(np.arange(len(belt)) / rate_hz, belt)
