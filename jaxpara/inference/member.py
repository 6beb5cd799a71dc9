"""A member of a trained system: its features, its learner and what each fold has fitted."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import Corpus, Task
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features import FEATURES
from jaxpara.features.embeddings import Read
from jaxpara.features.feature import Feature
from jaxpara.predictions import Predictions
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.seeds import derive
from jaxpara.training import LEARNERS, parallel
from jaxpara.training.fold_run import FoldRun, fold_folder
from jaxpara.training.state import TrainState


class TrainedMember:
    """As `jaxpara.training.member.Member`, for recordings that nothing is learned from. It writes nothing.

    Attributes:
      feature, learner: as its config names them.
      folds: by fold, what was chosen to predict with.
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
        """Builds what the config names.

        Args:
          spec: from system.json.
          seed: of the run.
          folder: of the trained system.
          sources: the members whose embeddings this one may take.

        Raises:
          UserError: it was trained on features that new audio does not have.
        """
        if spec["table"]:
            raise UserError(
                f"{folder}: member {name} was trained on the organisers' feature files ({spec['table']}), which new"
                " audio does not have; train it without the corpus' features/ folder to have them made from the audio"
            )
        self.name, self.folds = name, spec["folds"]
        self._seed, self._folder = seed, folder / "members" / name
        features = {key: value for key, value in spec["config"]["features"].items() if key != "table"}
        where = f"members.{name}"
        self._sources = {source: sources[source] for source in features.get("of", ())}
        rates = {source: member.embedding_rate_hz for source, member in self._sources.items()}
        self.feature = build(FEATURES, features, f"{where}.features", rates=rates, seed=derive(seed, name))
        self.feature.require()
        self.learner = build(
            LEARNERS,
            spec["config"]["learner"],
            f"{where}.learner",
            task=task,
            frame_rate_hz=self.feature.frame_rate_hz,
            precision=spec.get("precision", "float32"),
        )
        self._weights: dict[int, Any] = {}

    def predict(self, corpus: Corpus, fold: int, read: Read, progress: Progress) -> Predictions:
        """What a fold predicts for all recordings.

        Args:
          corpus: the recordings; none of them is learned from.
          fold: whose weights predict, one of `folds`.
          read: gives a feature of all of them.

        Returns:
          A row for each of their labels' times, see `Predictions`.
        """
        fit = self.fit(corpus, fold, read, progress)
        return self.learner.predict(fit, fit.fold.test_names, self.weights(fit))

    @property
    def embedding_rate_hz(self) -> float:
        """Embeddings per second; 0 where one stands for a whole recording."""
        return self.learner.embedding_rate_hz

    def embeddings(self, corpus: Corpus, fold: Fold, read: Read, progress: Progress) -> Mapping[str, np.ndarray]:
        """What the network of a fold makes of all recordings; one that was not trained serves every fold."""
        mine = fold.index if fold.index in self.folds else min(self.folds)
        fit = self.fit(corpus, mine, read, progress)
        return dict(self.learner.embed(fit, fit.fold.test_names, self.weights(fit)))

    def fit(self, corpus: Corpus, fold: int, read: Read, progress: Progress) -> FoldRun:
        """What the learner is given: recordings of which none is fitted or tuned on."""
        names = tuple(recording.name for recording in corpus.recordings)
        part = Fold(fold, (), (), names, seed=self.folds[fold].get("seed", 0))
        if isinstance(self.feature, Feature):
            features = read(self.feature, progress)
        else:
            sources = {name: source.embeddings(corpus, part, read, progress) for name, source in self._sources.items()}
            features = self.feature.arrays(corpus, part, read, progress, fold_folder(self._folder, part), sources)
        return FoldRun.of(self.name, self._folder, self._seed, corpus, part, features, self.feature.frame_rate_hz)

    def weights(self, fit: FoldRun) -> Any:
        """What a fold has fitted, read once: the state of a network, or a machine."""
        fold = fit.fold.index
        if fold not in self._weights:
            if not fit.folder.is_dir():
                raise UserError(f"{fit.folder}: no such folder, expected what this fold has fitted; copy it there")
            weights = self.learner.load(fit, self.folds[fold])
            if isinstance(weights, TrainState):
                weights = parallel.replicate(replace(weights, opt_state=()))  # once, and not for each call
            self._weights[fold] = weights
        return self._weights[fold]
