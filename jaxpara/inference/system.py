"""A trained system, read from the workdir of a finished run or an export, that predicts new audio."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from jaxpara import fusion, seeds
from jaxpara.corpora.audio import in_threads, resample
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.features import FEATURES
from jaxpara.features.embeddings import Arrays, Read
from jaxpara.features.feature import Feature
from jaxpara.features.speech_encoder import EncoderStates
from jaxpara.inference import system_file
from jaxpara.inference.audio_files import Blocks, crossfade, to_float
from jaxpara.predictions import FoldSeed, nearest_levels, scores_of
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.training import LEARNERS, parallel
from jaxpara.training.fold_run import FoldRun, fold_folder
from jaxpara.training.state import TrainState

MAX_BATCH_S = 480.0  # seconds of audio predicted at once: fills batches, and limits memory
MAX_PASS_S = 3600.0  # of one pass over a recording: an hour of a waveform takes 0.25 GB
SHORTEST_S = 1.0  # long enough for every feature; shorter audio is padded with silence
TOO_SHORT = "is too short for one sample at the system's rate"
QUIET = Progress(Console(quiet=True))


@dataclass(frozen=True, eq=False)
class Estimate:
    """The prediction of a system for a recording.

    Attributes:
      times_s: `[row]` seconds from the start. Where the task has one label per recording there is a row per part of the
        training length.
      values: `[row]` numbers in the unit of the labels, or `[row, class]` probabilities.
      task: what is predicted.
    """

    times_s: np.ndarray
    values: np.ndarray
    task: Task

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty for numbers."""
        return self.task.classes if self.task.kind == "classes" else ()

    @property
    def probabilities(self) -> np.ndarray:
        """`[class]` mean over the parts of the recording."""
        return self.values.mean(axis=0)

    @property
    def label(self) -> str:
        """The most probable class of the recording, or the nearest level of an ordinal scale with names."""
        if self.classes:
            return self.classes[int(self.probabilities.argmax())]
        return str(nearest_levels(self.task.classes, np.array(self.number)))

    @property
    def number(self) -> float:
        """The number of the recording: the mean over its parts."""
        return float(self.values.mean())


def in_memory(waveforms: Sequence[np.ndarray], task: Task, label_rate_hz: float) -> tuple[Corpus, Read]:
    """Return new audio as a corpus without labels, and the function that computes its features.

    Args:
      waveforms: `[sample]` float32 in [-1, 1] each, at the task's rate.
      label_rate_hz: predictions per second; 0 for one per recording.
    """
    shortest, recordings, padded = round(SHORTEST_S * task.sample_rate_hz), [], {}
    for number, waveform in enumerate(waveforms, 1):
        name = f"block {number}"
        # One prediction per label period that starts before the end of the recording.
        rows = max(1, int(np.ceil(len(waveform) / task.sample_rate_hz * label_rate_hz - 1e-6)))
        times_s, unknown = np.arange(rows) / (label_rate_hz or 1), np.full(rows, np.nan)
        recordings.append(Recording(name, Path(name), "test", "", times_s, unknown, unknown))
        padded[name] = np.pad(waveform, (0, max(0, shortest - len(waveform))))

    @cache  # members that share a feature compute it once
    def read(feature: Feature, progress: Progress) -> Arrays:
        return dict(zip(padded, in_threads(feature, list(padded.values())), strict=True))

    return Corpus(task, Path(), tuple(recordings), label_rate_hz), read


class TrainedMember:
    """A member of a trained system: features, learner and trained models. It writes nothing.

    Attributes:
      feature, learner: built from its config.
      models: the learner's choice (epoch, or C) of each trained model, by fold and seed.
      in_one_pass: True if it predicts recordings of any length as one, with the state carried along.
      folder: with a folder for each of them.
    """

    def __init__(self, name: str, folder: Path, about: Mapping[str, Any], members: "Mapping[str, TrainedMember]"):
        """Build feature and learner; each model is read when it is first used.

        Args:
          folder, about: of the trained system, and the content of its system.json.
          members: those before this one, whose embeddings it may use.

        Raises:
          UserError: it was trained on features that new audio does not have.
        """
        spec, seed = about["members"][name], about["seed"]
        if spec["table"]:
            raise UserError(
                f"{folder}: member {name} was trained on the organisers' feature files ({spec['table']}), which new"
                " audio does not have; train it without the corpus' features/ folder to compute them from the audio"
            )
        features = {key: value for key, value in spec["config"]["features"].items() if key != "table"}
        if features.get("name") == "import":
            raise UserError(
                f"{folder}: member {name} was trained on features made elsewhere ({features.get('path')}), which new"
                " audio does not have; train it on features that are computed from the audio"
            )
        if features.pop("per_speaker", False):
            raise UserError(
                f"{folder}: the features of member {name} are standardised per speaker, over all recordings of the"
                " speaker, but the speakers of new audio are not known; train it with features.per_speaker=False"
            )
        self.name, self.models = name, spec["models"]
        self._seed, self.folder = seed, folder / "members" / name
        self._sources = {source: members[source] for source in spec["sources"]}
        where, config = f"members.{name}", spec["config"]
        rates = {source: member.learner.embedding_rate_hz for source, member in self._sources.items()}
        self.feature = build(FEATURES, features, f"{where}.features", rates=rates, seed=seeds.derive(seed, name))
        self.feature.require()
        self.learner = build(
            LEARNERS,
            config["learner"],
            f"{where}.learner",
            task=about["task"],
            feature=self.feature,
            frame_rate_hz=self.feature.frame_rate_hz,
            precision=spec["precision"],
        )
        # Not the states of a speech encoder, which take 2 GB an hour.
        whole = getattr(getattr(self.learner, "examples", None), "predict", "") == "whole"
        self.in_one_pass = whole and not isinstance(self.feature, EncoderStates)
        self._loaded: dict[FoldSeed, Any] = {}

    def fold_run(self, key: FoldSeed, corpus: Corpus, read: Read) -> FoldRun:
        """Return the fold of a trained model with new audio, from `in_memory`, as its test set."""
        fold = Fold(key[0], (), (), tuple(corpus.by_name), key[1])
        if isinstance(self.feature, Feature):
            arrays = read(self.feature, QUIET)
        else:
            sources = {name: source._embeddings(key, corpus, read) for name, source in self._sources.items()}
            arrays = self.feature.arrays(corpus, fold, read, QUIET, fold_folder(self.folder, key), sources)
        given = {"corpus": corpus, "features": arrays, "frame_rate_hz": self.feature.frame_rate_hz}
        return FoldRun.of(self.name, self.folder, self._seed, fold, **given)

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

    def predict(self, key: FoldSeed, corpus: Corpus, read: Read) -> pd.DataFrame:
        """Return the predictions of one of `models` for new audio, a row per time."""
        run = self.fold_run(key, corpus, read)
        return self.learner.predict(run, run.fold.test_names, self.load(run))

    def _embeddings(self, key: FoldSeed, corpus: Corpus, read: Read) -> Arrays:
        key = key if key in self.models else min(self.models)  # a pretrained network has one model for all folds
        run = self.fold_run(key, corpus, read)
        return dict(self.learner.embed(run, run.fold.test_names, self.load(run)))


class System:
    """A trained system: `system(waveform, sample_rate_hz)` predicts a recording.

    Attributes:
      about: the content of system.json, see `jaxpara.inference.system_file`.
      task: what is predicted.
      members: by name, each after those whose embeddings it uses.
      weights: `{member: {(fold, seed): weight}}` of the trained models; they sum to 1.
      blocks: scheme that cuts long recordings: those that are longer than the longest training recording, or than
        `MAX_PASS_S` where all members predict in one pass.
    """

    def __init__(self, folder: str | Path):
        """Read a trained system from the workdir of a finished run, or an export of it.

        Raises:
          UserError: the folder has no trained system, or one that cannot predict new audio.
        """
        folder = Path(folder)
        self.about = system_file.read(folder)
        self.task: Task = self.about["task"]
        self.weights: dict[str, dict[FoldSeed, float]] = self.about["weights"]
        self.members: dict[str, TrainedMember] = {}
        for name in self.about["members"]:
            self.members[name] = TrainedMember(name, folder, self.about, self.members)
        self._label_rate_hz: float = self.about["label_rate_hz"]
        one_pass = all(self.members[name].in_one_pass for name in self.weights)
        longest_s = max(self.about["longest_s"], MAX_PASS_S if one_pass else 0.0)
        self.blocks = Blocks.of(longest_s, self._label_rate_hz, self.task.sample_rate_hz)

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int) -> Estimate:
        """Predict a recording.

        Args:
          waveform: `[sample]` or `[sample, channel]`, floats in [-1, 1] or integers of any width.
          sample_rate_hz: any whole number.

        Raises:
          UserError: the waveform or the rate is invalid, or the waveform too short for one sample at the system's rate.
        """
        if not (np.isfinite(sample_rate_hz) and 1 <= sample_rate_hz == int(sample_rate_hz)):
            raise UserError(f"sample_rate_hz is {sample_rate_hz}, expected a whole number above 0")
        cut = self.blocks.cut(resample([to_float(waveform)], int(sample_rate_hz), self.task.sample_rate_hz))
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
          `[row, value]` each: numbers `label_rate_hz` times a second, or one row with a number or probabilities.
        """
        corpus, read = in_memory(waveforms, self.task, self._label_rate_hz)
        tables = {
            name: {key: self.members[name].predict(key, corpus, read) for key in model_weights}
            for name, model_weights in self.weights.items()
        }
        counts = [len(recording.times_s) for recording in corpus.recordings]
        return np.split(scores_of(fusion.mix(tables, self.weights)), np.cumsum(counts)[:-1])

    def fold_runs(self, name: str) -> dict[FoldSeed, FoldRun]:
        """Return the folds of a member with a second of noise as test set, to load its models and learn its shapes."""
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, self.task.sample_rate_hz).astype(np.float32)
        corpus, read = in_memory([noise], self.task, self._label_rate_hz)
        return {key: self.members[name].fold_run(key, corpus, read) for key in self.members[name].models}

    def join(self, starts: Sequence[int], values: Sequence[np.ndarray]) -> Estimate:
        """Join what `predict` returns for the blocks of a recording; `starts` are their first samples."""
        if not self._label_rate_hz:
            joined = np.concatenate(values)
            joined = joined if self.task.kind == "classes" else joined[:, 0]
            return Estimate(np.array(starts) / self.task.sample_rate_hz, joined, self.task)
        rows = [round(start * self._label_rate_hz / self.task.sample_rate_hz) for start in starts]
        belt = crossfade(rows, values)[:, 0]
        return Estimate(np.arange(len(belt)) / self._label_rate_hz, belt, self.task)
