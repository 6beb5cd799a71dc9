"""A member of an experiment: features, learner and folds; its predictions are written to disk, run by run."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxpara import processes
from jaxpara.config import sources_of
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold, folds_of, leaks, require_classes, unscored_classes
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import Unavailable, UserError
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome
from jaxpara.features import FEATURES, organiser_tables, per_speaker
from jaxpara.features.cache import load_features
from jaxpara.features.embeddings import stored
from jaxpara.features.feature import Feature
from jaxpara.features.imported import Imported
from jaxpara.features.speech_encoder import EncoderStates
from jaxpara.fusion import average
from jaxpara.predictions import FoldSeed, load, match, save
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.runtime import cache_folder
from jaxpara.seeds import derive
from jaxpara.training import LEARNERS, dependencies
from jaxpara.training.fold_run import SUMMARY, FoldRun, fold_folder, summary_of

FIELDS = (*dependencies.REQUIRED, "optional")
# The sets of a fold that are predicted, and the names of their recordings.
PARTS = {"validation": attrgetter("val_names"), "test": attrgetter("test_names")}
Arrays = Mapping[str, Any]  # by recording
Embeddings = Mapping[str, Callable[[Fold], Arrays]]  # by member, from `Member.embeddings`


class Member:
    """One member in one workdir.

    Attributes:
      folds: one per (fold, seed).
      sources: the names of the members whose embeddings are its features.
      table: the organisers' file set that contains its features; empty if they are computed.
      identity: everything that its numbers depend on.
      optional: True if the run continues without it when something that it needs is not available.
      predicts: True if it predicts labels; if not, it only computes embeddings for other members.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        corpus: Corpus,
        fingerprint: str,
        seed: int,
        workdir: Path,
        sources: "Mapping[str, Member]" = {},  # noqa: B006 (never changed)
        precision: str = "float32",
        seeds: int = 1,
    ):
        """Build features, folds and learner; compute and write nothing. Raise a UserError for an impossible config.

        Args:
          config: of the member, see `configs.common.experiment`, as are `seed`, `seeds` and `precision`.
          fingerprint, sources: of the corpus; and the members whose embeddings this one may use.
        """
        self.name, self._corpus, self._seed = name, corpus, seed
        self.folder, where = workdir / "members" / name, f"members.{name}"
        if unknown := [key for key in config if key not in FIELDS]:
            raise UserError(f"config.{where}.{unknown[0]} is not a part of a member, which has {', '.join(FIELDS)}")
        self.optional = bool(config.get("optional", False))
        features = dict(config["features"])
        self.table = features.pop("table", "")
        if self.table and not organiser_tables.available(corpus, self.table, f"{where}.features"):
            self.table = ""
        self.sources = () if self.table else sources_of(config)
        rates = {source: sources[source].embedding_rate_hz for source in sources_of(config)}
        self._per_speaker = features.pop("per_speaker", False)
        given = {"rates": rates, "seed": derive(seed, name), "corpus": corpus}
        self._feature = build(FEATURES, features, f"{where}.features", **given)
        self.folds = folds_of(config["folds"], f"{where}.folds", corpus, seeds)
        self._rate_hz = 0.0 if self.table else self._feature.frame_rate_hz
        if self._per_speaker:
            per_speaker.require(corpus, f"config.{where}.features", self._per_speaker, frames=self._rate_hz > 0)
        given = {"task": corpus.task, "feature": self._feature, "frame_rate_hz": self._rate_hz, "precision": precision}
        self._learner = build(LEARNERS, config["learner"], f"{where}.learner", **given)
        self.predicts: bool = self._learner.predicts
        require_classes(corpus, self.folds, f"config.{where}", self._learner.least_per_class)
        self.identity = {"member": config, "seed": seed, "corpus": fingerprint}
        if (task := corpus.task) not in TASKS.values():  # its measure chooses epochs and C
            self.identity["task"] = [task.kind, task.measure, task.classes, task.limits]
        if self.sources:
            self.identity["sources"] = {source: sources[source].identity for source in self.sources}
        if getattr(self._learner, "precision", "float32") != "float32":
            self.identity["precision"] = precision
        if self.table:
            self.identity["table"] = organiser_tables.digest(corpus, self.table)
        elif not self.optional or getattr(self._feature, "checkpoint", ""):  # others may be left out when trained
            self._feature.require()
            if isinstance(self._feature, EncoderStates):  # known by its content, which predictions check too
                self.identity["member"] = dict(config, features=config["features"] | {"sha256": self._feature.digest})
        if isinstance(self._feature, Imported):
            self.identity["vectors"] = self._feature.digest
        # The mirrored ends of the features have to be the context that the network needs.
        context, mirrored = getattr(self._learner, "context_frames", 0), getattr(self._feature, "mirror_frames", None)
        if mirrored is not None and 2 * mirrored != context:
            raise UserError(
                f"config.{where}.features.mirror_frames is {mirrored}, but the network's pieces need {context / 2:g};"
                " set one of the two (model.piece_frames is twice as many and 2)"
            )

    @property
    def embedding_rate_hz(self) -> float:
        """Embeddings per second; 0 for one per recording. A UserError for a learner that has none."""
        return self._learner.embedding_rate_hz

    @property
    def warnings(self) -> list[str]:
        """Problems to expect in spite of a valid config, a sentence each."""
        note = self._feature.note if isinstance(self._feature, EncoderStates) else ""
        found = [f"its features {note}"] * bool(note) + [*self._learner.warnings]
        return [f"{self.name}: {warning}" for warning in found + unscored_classes(self._corpus, self.folds)]

    def claim(self) -> None:
        """Write the identity into the folder, or refuse a folder with another one."""
        dependencies.claim(self.folder, self.identity)

    def train(self, progress: Progress, embeddings: Embeddings, *, together: bool = False) -> None:
        """Train every fold, or all of them together, and write its predictions; skip those that exist.

        Args:
          embeddings: of the members in `sources`.
        """
        run_of = self._runs(progress, embeddings)
        with progress.task(f"{self.name}: folds", len(self.folds)) as bar:
            for group in [self.folds] if together else [[fold] for fold in self.folds]:
                if not all(self._is_trained(fold) for fold in group):
                    self._learner.train((run_of(fold) for fold in group), progress)
                bar.advance(by=len(group))
        self._predict(run_of, progress, again=False)

    def evaluate(self, progress: Progress, embeddings: Embeddings) -> None:
        """Predict again with the trained models; raise Unavailable if training is not finished."""
        for fold in self.folds:
            folder = self._folder(fold)
            processes.on_main(partial(shutil.rmtree, folder / "embeddings", ignore_errors=True))
            if not self._is_trained(fold):
                what = f"{folder}: training is not finished, so there is nothing to evaluate"
                raise Unavailable(f"{what}; run the same command without --mode")
        self._predict(self._runs(progress, embeddings), progress, again=True)

    def _predict(self, run_of: Callable[[Fold], FoldRun], progress: Progress, *, again: bool) -> None:
        chosen = self._chosen_by_main()
        for fold in self.folds if self.predicts else ():
            paths = {part: self._path(fold, part) for part in PARTS}
            missing = processes.on_main(lambda paths=paths: [p for p in PARTS if again or not paths[p].exists()])
            if missing:
                run = run_of(fold)
                progress.say(f"{run.name}: predicting")
                for part in missing:
                    predictions = run.predictions((), np.empty((0, self._corpus.task.outputs)))  # no test partition
                    if names := PARTS[part](fold):
                        trained = self._learner.load(run, chosen[fold.key], part=part)
                        predictions = self._learner.predict(run, names, trained)
                    processes.on_main(partial(save, predictions, paths[part]))

    def _runs(self, progress: Progress, embeddings: Embeddings) -> Callable[[Fold], FoldRun]:
        """Return a function of a fold that returns its run; features that all folds share are loaded once."""

        def read(feature: Feature, progress: Progress) -> Arrays:
            with progress.task(f"{self.name}: features", len(self._corpus.recordings)) as task:
                return load_features(feature, self._corpus.recordings, cache_folder() / "features", task.update)

        @cache
        def shared() -> Arrays:
            if not self.table:
                return read(self._feature, progress)
            progress.say(f"{self.name}: features from {organiser_tables.folder(self._corpus)}, the set {self.table}")
            return organiser_tables.read(self._corpus, self.table)

        def run_of(fold: Fold) -> FoldRun:
            if self.table or isinstance(self._feature, Feature):
                features = shared()
            else:  # they depend on the training set of the fold, or on the networks of that fold
                sources = {source: embeddings[source](fold) for source in self.sources}
                features = self._feature.arrays(self._corpus, fold, read, progress, self._folder(fold), sources)
            if self._per_speaker:
                features = per_speaker.standardised(features, self._corpus, frames=self._rate_hz > 0)
            given = {"corpus": self._corpus, "features": features, "frame_rate_hz": self._rate_hz}
            return FoldRun.of(self.name, self.folder, self._seed, fold, **given)

        return run_of

    def embeddings(self, progress: Progress, embeddings: Embeddings) -> Callable[[Fold], Arrays]:
        """Return a function of a fold that returns the embeddings of all recordings; only after `train`.

        The fold is one of the member that uses them. They come from the network of the same fold and seed (an untrained
        network serves every fold), are computed once and kept on disk. The function raises a UserError if there is no
        such fold, or if its network was trained on validation or test recordings of the given fold.
        """
        run_of, names = self._runs(progress, embeddings), tuple(r.name for r in self._corpus.recordings)

        def embeddings_for(fold: Fold) -> Arrays:
            mine = {own.key: own for own in self.folds}.get(fold.key, self.folds[0])
            seen = set(mine.train_names) & {*fold.val_names, *fold.test_names}
            if self._learner.learns and (mine.key != fold.key or seen):
                raise UserError(
                    f"config.members.{self.name}.folds: its fold {fold.index} is missing, or was trained on recordings"
                    " in the validation or test set of the member using its embeddings"
                    f" ({min(seen, default='none')}); give both members the same folds"
                )

            def compute() -> Iterable[tuple[str, Any]]:
                run = run_of(mine)
                progress.say(f"{run.name}: embedding all recordings")
                return self._learner.embed(run, names, self._learner.load(run, self._chosen_by_main()[mine.key]))

            return stored(self._folder(mine) / "embeddings", names, compute)

        return embeddings_for

    def chosen(self) -> dict[FoldSeed, dict[str, Any]]:
        """Return the learner's choice of epoch or C by (fold, seed); only after `train`."""
        try:
            chosen = self._learner.choose([summary_of(self._folder(fold)) for fold in self.folds])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{self.folder}: a fold_*/{SUMMARY} is damaged ({type(error).__name__}: {error}); delete them and run"
                " again: the trained models are kept"
            ) from error
        return {fold.key: choice for fold, choice in zip(self.folds, chosen, strict=True)}

    def _chosen_by_main(self) -> dict[FoldSeed, dict[str, Any]]:
        """Return `chosen()` of the main process; called by all processes."""
        chosen = processes.on_main(lambda: list(self.chosen().values()))  # JSON has no tuples as keys
        return {fold.key: choice for fold, choice in zip(self.folds, chosen, strict=True)}

    def outcome(self) -> MemberOutcome:
        """Return its predictions and facts about its training; only after `train`."""
        chosen, summaries = self.chosen(), [summary_of(self._folder(fold)) for fold in self.folds]
        folds = [
            FoldOutcome(
                fold=fold.index,
                seed=fold.seed,
                validation=self._predicted(fold, "validation"),
                test=self._predicted(fold, "test"),
                seconds=summary["seconds"],
                best_epoch=chosen[fold.key].get("epoch"),
                best_step=chosen[fold.key].get("step"),
                last_epoch=summary["epochs"][-1]["epoch"] if summary.get("epochs") else None,
                shared_speakers=len(leaks(self._corpus, fold)) if self._corpus.speakers_known else None,
            )
            for fold, summary in zip(self.folds, summaries, strict=True)
        ]
        parameters, test = summaries[0].get("parameters"), average([fold.test for fold in folds])
        return MemberOutcome(folds=folds, test=test, parameters=parameters, leak=self.leak, notes=self.notes)

    def _predicted(self, fold: Fold, part: str) -> pd.DataFrame:
        """Read the predictions of a fold; raise a UserError if they do not belong to its labels."""
        path = self._path(fold, part)
        predictions, labels = load(path), self._corpus.labels
        try:
            match(predictions, labels[labels["recording"].isin(PARTS[part](fold))], "of no such label")
        except UserError as error:
            raise UserError(f"{path}: of the labels of this fold, {error}; delete it and run again") from None
        return predictions

    @property
    def leak(self) -> str:
        """The information about validation recordings in its features, as a sentence; empty if none."""
        if not self.table:
            return self._feature.leak
        partitions = {self._corpus.by_name[name].partition for fold in self.folds for name in fold.val_names}
        fitted = self.table.startswith(organiser_tables.FITTED_ON_TRAIN) and "train" in partitions
        return f"the organisers fitted {self.table} on all of train, with validation sets in it" if fitted else ""

    @property
    def notes(self) -> list[str]:
        """Sentences about its features that a reader of its scores has to know."""
        facts = (getattr(self._feature, "note", ""), per_speaker.NOTE if self._per_speaker else "")
        return [f"The features of {self.name} {fact}." for fact in facts if fact]

    @property
    def curves(self) -> dict[FoldSeed, Path]:
        """The metrics.jsonl of each (fold, seed), for learners that write one."""
        return {fold.key: path for fold in self.folds if (path := self._folder(fold) / "metrics.jsonl").exists()}

    def _folder(self, fold: Fold) -> Path:
        return fold_folder(self.folder, fold.key)

    def _path(self, fold: Fold, part: str) -> Path:
        return self._folder(fold) / "predictions" / f"{part}.npz"

    def _is_trained(self, fold: Fold) -> bool:
        return processes.on_main((self._folder(fold) / SUMMARY).exists)
