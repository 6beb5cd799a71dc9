"""A member of an experiment: features, learner and folds; leaves its predictions on disk, a file per fold and part."""

import shutil
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara import processes
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import Fold, folds_of, leaks
from jaxpara.errors import Unavailable, UserError
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome
from jaxpara.features import FEATURES, organiser_tables
from jaxpara.features.cache import load_features
from jaxpara.features.embeddings import stored
from jaxpara.features.feature import Feature
from jaxpara.fusion import average
from jaxpara.predictions import FoldSeed, load, match, save
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.runtime import cache_folder
from jaxpara.seeds import derive
from jaxpara.training import LEARNERS
from jaxpara.training.claim import claim
from jaxpara.training.dependencies import REQUIRED, sources_of
from jaxpara.training.fit import FINISHED, Fit, fold_folder, summary_of

PREDICTED = ("validation", "test")  # parts of a fold
FIELDS = (*REQUIRED, "optional")


class Member:
    """One member in one workdir."""

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
        """Builds what the config names; nothing is run yet.

        Args:
          config: `{"features", "folds", "learner"}`. `features.table` names a file set of the challenge that is taken
            instead of the features where the corpus has it. `optional`: whether the run goes on without this member
            where something that it needs cannot be had.
          fingerprint: of the corpus: a workdir belongs to one.
          seed: of the run.
          sources: the members whose embeddings this one may take as its features.
          precision: of networks, see `jaxpara.training.steps.PRECISIONS`.
          seeds: fits of every fold; more may be asked for later.

        Raises:
          UserError: the config names something unknown, or the workdir holds another member under this name.
        """
        self.name, self._corpus, self._seed = name, corpus, seed
        self.folder = workdir / "members" / name
        where = f"members.{name}"
        for key in config:
            if key not in FIELDS:
                raise UserError(f"config.{where}.{key} is not a part of a member, which has {', '.join(FIELDS)}")
        self.optional = bool(config.get("optional", False))
        features = dict(config["features"])
        self.table = features.pop("table", "")
        if self.table and not organiser_tables.available(corpus, self.table, f"{where}.features"):
            self.table = ""
        self._members = sources
        rates = {source: sources[source].embedding_rate_hz for source in sources_of(config)}
        self._feature = build(FEATURES, features, f"{where}.features", rates=rates, seed=derive(seed, name))
        self.folds = folds_of(config["folds"], f"{where}.folds", corpus, seeds)
        self._frame_rate_hz = 0.0 if self.table else self._feature.frame_rate_hz
        self._learner = build(
            LEARNERS,
            config["learner"],
            f"{where}.learner",
            task=corpus.task,
            frame_rate_hz=self._frame_rate_hz,
            precision=precision,
        )
        self.sources = () if self.table else sources_of(config)
        used = {source: sources[source].identity for source in self.sources}
        self.identity = {"member": config, "seed": seed, "corpus": fingerprint} | ({"sources": used} if used else {})
        if getattr(self._learner, "precision", "float32") != "float32":
            self.identity["precision"] = precision
        if self.table:
            self.identity["table"] = organiser_tables.digest(corpus, self.table)
        else:
            self._feature.require()
        self._require_mirror(where)
        claim(self.folder, self.identity)

    def _require_mirror(self, where: str) -> None:
        """Raises a UserError unless the mirrored ends are the context that the network takes."""
        context, mirrored = getattr(self._learner, "context_frames", 0), getattr(self._feature, "mirror_frames", None)
        if mirrored is not None and 2 * mirrored != context:
            raise UserError(
                f"config.{where}.features.mirror_frames is {mirrored}, but the network's pieces need {context / 2:g};"
                " set one of the two (model.piece_frames is twice as many and 2)"
            )

    @property
    def predicts(self) -> bool:
        """Whether it predicts, or only makes embeddings for others."""
        return self._learner.predicts

    def _read(self, feature: Feature, progress: Progress) -> Mapping[str, Any]:
        """A feature of all recordings, from the cache."""
        with progress.task(f"{self.name}: features", len(self._corpus.recordings)) as task:
            return load_features(feature, self._corpus.recordings, cache_folder() / "features", task.update)

    def _features(self, fold: Fold, progress: Progress) -> Mapping[str, Any]:
        """By recording; features that are fitted, or come from other members, are the fold's own."""
        if self._loaded is not None and self._loaded[0] in (None, fold.index):
            return self._loaded[1]
        if self.table:
            progress.say(f"{self.name}: features from {organiser_tables.folder(self._corpus)}, the set {self.table}")
            self._loaded = (None, organiser_tables.read(self._corpus, self.table))
        elif isinstance(self._feature, Feature):
            self._loaded = (None, self._read(self._feature, progress))
        else:
            folder = self._fold_folder(fold)
            sources = {
                name: self._members[name].embeddings(self._corpus, fold, self._read, progress) for name in self.sources
            }
            arrays = self._feature.arrays(self._corpus, fold, self._read, progress, folder, sources)
            self._loaded = (fold.index, arrays)
        return self._loaded[1]

    # The fold that the features are of (None: of any), and the features.
    _loaded: tuple[int | None, Mapping[str, Any]] | None = None

    def _fit(self, fold: Fold, progress: Progress) -> Fit:
        features = self._features(fold, progress)
        return Fit.of(self.name, self.folder, self._seed, self._corpus, fold, features, self._frame_rate_hz)

    def _fold_folder(self, fold: Fold) -> Path:
        return fold_folder(self.folder, fold.index)

    def run(self, progress: Progress, *, from_checkpoints: bool = False, together: bool = False) -> None:
        """Fits every fold and writes its predictions; what is finished is skipped.

        Args:
          together: train all folds at once, where the learner can.
          from_checkpoints: predict again, from the checkpoints, also where predictions lie.
        """
        if from_checkpoints:
            for fold in self.folds:
                processes.on_main(
                    lambda fold=fold: shutil.rmtree(self._fold_folder(fold) / "embeddings", ignore_errors=True)
                )
                if not self._finished(fold):
                    raise Unavailable(
                        f"{self._fold_folder(fold)}: training is not finished, so there is nothing to evaluate;"
                        " run the same command without --mode"
                    )
        with progress.task(f"{self.name}: folds", len(self.folds)) as bar:
            for group in [self.folds] if together else [[fold] for fold in self.folds]:
                if not all(self._finished(fold) for fold in group):
                    self._learner.fit((self._fit(fold, progress) for fold in group), progress)
                bar.advance(by=len(group))
        chosen = self.chosen
        for fold in self.folds if self.predicts else ():
            missing = processes.on_main(
                lambda fold=fold: [p for p in PREDICTED if from_checkpoints or not self._path(fold, p).exists()]
            )
            if missing:
                progress.say(f"{self.name}, fold {fold.index}: predicting")
                fit = self._fit(fold, progress)
                for part in missing:
                    predictions = self._learner.predict(fit, _names(fold, part), chosen[fold.index])
                    processes.on_main(partial(save, predictions, self._path(fold, part)))

    @cached_property
    def chosen(self) -> dict[int, dict[str, Any]]:
        """By fold, what the learner chose to predict with."""
        try:
            chosen = processes.on_main(lambda: self._learner.choose([self._summary(fold) for fold in self.folds]))
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{self.folder}: a fold_*/fit.json is damaged ({type(error).__name__}: {error}); delete them and run"
                " again: what is trained stays"
            ) from error
        return {fold.index: choice for fold, choice in zip(self.folds, chosen, strict=True)}

    def _path(self, fold: Fold, part: str) -> Path:
        return self._fold_folder(fold) / "predictions" / f"{part}.npz"

    def _predicted(self, fold: Fold, part: str) -> pd.DataFrame:
        """The predictions of a fold, which lie on disk; a UserError where they are not those of its labels."""
        path = self._path(fold, part)
        predictions, labels = load(path), self._corpus.labels()
        try:
            match(predictions, labels[labels["recording"].isin(_names(fold, part))], "of no such label")
        except UserError as error:
            raise UserError(f"{path}: of the labels of this fold, {error}; delete it and run again") from None
        return predictions

    def _summary(self, fold: Fold) -> dict[str, Any]:
        """What the learner's `fit` left."""
        return summary_of(self._fold_folder(fold))

    def _finished(self, fold: Fold) -> bool:
        return processes.on_main((self._fold_folder(fold) / FINISHED).exists)

    # For members that take this one's embeddings as their features.

    @property
    def embedding_rate_hz(self) -> float:
        """Embeddings per second; 0 where one stands for a whole recording."""
        return self._learner.embedding_rate_hz

    def embeddings(self, corpus: Corpus, fold: Fold, read: Any, progress: Progress) -> Mapping[str, Any]:
        """What its network makes of all recordings, computed once and kept; only after `run`.

        Args:
          corpus, read: the same as its own.
          fold: of the member that asks. The network is that of the fold of the same number; a network that was not
            trained serves every fold.

        Raises:
          UserError: there is no such fold, or it was fitted on what the asking fold is tuned or tested on.
        """
        mine = {own.index: own for own in self.folds}.get(fold.index, self.folds[0])
        if self._learner.learns:
            seen = set(mine.train_names) & {*fold.val_names, *fold.test_names}
            if mine.index != fold.index or seen:
                raise UserError(
                    f"config.members.{self.name}.folds: its fold {fold.index} is missing, or was fitted on recordings"
                    f" that the fold of the member using its embeddings is tuned on ({min(seen, default='none')});"
                    " give both members the same folds"
                )
        names = tuple(recording.name for recording in self._corpus.recordings)

        def compute() -> Iterable[tuple[str, Any]]:
            progress.say(f"{self.name}, fold {mine.index}: embedding all recordings")
            return self._learner.embed(self._fit(mine, progress), names, self.chosen[mine.index])

        return stored(self._fold_folder(mine) / "embeddings", names, compute)

    def outcome(self) -> MemberOutcome:
        """What came of it; only after `run`."""
        summaries = {fold.index: self._summary(fold) for fold in self.folds}
        folds = [
            FoldOutcome(
                fold=fold.index,
                seed=fold.seed,
                validation=self._predicted(fold, "validation"),
                test=self._predicted(fold, "test"),
                seconds=summaries[fold.index]["seconds"],
                best_epoch=self.chosen[fold.index].get("epoch"),
                best_step=self.chosen[fold.index].get("step"),
                shared_speakers=len(leaks(self._corpus, fold)) if self._corpus.speakers_known else None,
            )
            for fold in self.folds
        ]
        parameters = next(iter(summaries.values())).get("parameters")
        return MemberOutcome(
            folds=folds, test=average([fold.test for fold in folds]), parameters=parameters, leak=self.leak
        )

    @property
    def leak(self) -> str:
        """What its features know of the recordings that are tuned on; empty where nothing."""
        if not self.table:
            return self._feature.leak
        tuned = {self._corpus.by_name[name].partition for fold in self.folds for name in fold.val_names}
        if self.table.startswith(organiser_tables.FITTED_ON_TRAIN) and "train" in tuned:
            return f"the organisers fitted {self.table} on all of train, of which folds are tuned on a part"
        return ""

    @property
    def curves(self) -> dict[FoldSeed, Path]:
        """By (fold, seed), its metrics.jsonl, for learners that leave one."""
        paths = {(fold.index, fold.seed): self._fold_folder(fold) / "metrics.jsonl" for fold in self.folds}
        return {key: path for key, path in paths.items() if path.exists()}


def _names(fold: Fold, part: str) -> tuple[str, ...]:
    return fold.val_names if part == "validation" else fold.test_names
