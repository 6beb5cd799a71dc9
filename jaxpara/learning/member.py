"""A member of an experiment: features, learner and folds; leaves its predictions on disk, a file per fold and part."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import SPLITS, Fold, leaks
from jaxpara.errors import UserError
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome
from jaxpara.features import FEATURES
from jaxpara.features.cache import store
from jaxpara.files import write_json
from jaxpara.fusion.mean import mean
from jaxpara.learning import LEARNERS
from jaxpara.learning.fit import Fit
from jaxpara.predictions import Predictions
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.runtime import cache_folder
from jaxpara.seeds import derive

PARTS = ("tune", "test")


class Member:
    """One member in one workdir."""

    def __init__(
        self, name: str, config: Mapping[str, Any], corpus: Corpus, fingerprint: str, seed: int, workdir: Path
    ):
        """Builds what the config names; nothing is run yet.

        Args:
          config: `{"features", "folds", "learner"}`.
          fingerprint: of the corpus: a workdir belongs to one.
          seed: of the run.

        Raises:
          UserError: the config names something unknown, or the workdir holds another member under this name.
        """
        self.name, self._corpus, self._seed = name, corpus, seed
        self.folder = workdir / "members" / name
        where = f"members.{name}"
        for key in config:
            if key not in ("features", "folds", "learner"):
                raise UserError(f"config.{where}.{key} is not a part of a member, which has features, folds, learner")
        self._feature = build(FEATURES, config["features"], f"{where}.features")
        self.folds = _folds(config["folds"], f"{where}.folds", corpus)
        self._learner = build(
            LEARNERS,
            config["learner"],
            f"{where}.learner",
            task=corpus.task,
            frame_rate_hz=self._feature.frame_rate_hz,
            where=f"{where}.learner",
        )
        self._claim({"member": config, "seed": seed, "corpus": fingerprint})

    def _claim(self, content: Mapping[str, Any]) -> None:
        """Writes the member's config, or refuses a folder that was made with another."""
        path = self.folder / "config.json"
        content = json.loads(json.dumps(content))
        if not path.exists():
            write_json(path, content)
            return
        old, new = _flat(json.loads(path.read_text())), _flat(content)
        changed = [
            f"{key}: {old.get(key, 'absent')} there, {new.get(key, 'absent')} now"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.folder}: was made with another config ({'; '.join(changed)});"
                " choose another --workdir, or delete that folder to train this member anew"
            )

    @cached_property
    def _features(self) -> Mapping[str, Any]:
        with self._progress.task(f"{self.name}: features", len(self._corpus.recordings)) as task:
            return store(self._feature, self._corpus.recordings, cache_folder() / "features", task.update)

    def _fit(self, fold: Fold) -> Fit:
        return Fit(
            name=f"{self.name}, fold {fold.index}",
            corpus=self._corpus,
            fold=fold,
            features=self._features,
            frame_rate_hz=self._feature.frame_rate_hz,
            folder=self._fold_folder(fold),
            seed=derive(self._seed, self.name, fold.index),
        )

    def _fold_folder(self, fold: Fold) -> Path:
        return self.folder / f"fold_{fold.index}"

    def run(self, progress: Progress, *, from_checkpoints: bool = False) -> None:
        """Fits every fold and writes its predictions; what is finished is skipped.

        Args:
          from_checkpoints: predict again, from the checkpoints, also where predictions lie.
        """
        self._progress = progress
        if from_checkpoints:
            for fold in self.folds:
                if not (self._fold_folder(fold) / "fit.json").exists():
                    raise UserError(
                        f"{self._fold_folder(fold)}: training is not finished, so there is nothing to evaluate;"
                        " run the same command without --mode"
                    )
        with progress.task(f"{self.name}: folds", len(self.folds)) as bar:
            for fold in self.folds:
                if not (self._fold_folder(fold) / "fit.json").exists():
                    self._learner.fit(self._fit(fold), progress)
                bar.advance()
        for fold in self.folds:
            missing = [part for part in PARTS if from_checkpoints or not self._path(fold, part).exists()]
            if missing:
                progress.say(f"{self.name}, fold {fold.index}: predicting")
                fit = self._fit(fold)
                for part in missing:
                    predictions = self._learner.predict(fit, getattr(fold, part), self._chosen[fold.index])
                    predictions.save(self._path(fold, part))

    @cached_property
    def _chosen(self) -> dict[int, dict[str, Any]]:
        """By fold, what the learner chose to predict with."""
        chosen = self._learner.choose([self._summary(fold) for fold in self.folds])
        return {fold.index: choice for fold, choice in zip(self.folds, chosen, strict=True)}

    def _path(self, fold: Fold, part: str) -> Path:
        return self._fold_folder(fold) / "predictions" / f"{part}.npz"

    def _summary(self, fold: Fold) -> dict[str, Any]:
        """What the learner's `fit` left."""
        return json.loads((self._fold_folder(fold) / "fit.json").read_text())

    def outcome(self) -> MemberOutcome:
        """What came of it; only after `run`."""
        summaries = {fold.index: self._summary(fold) for fold in self.folds}
        folds = [
            FoldOutcome(
                fold=fold.index,
                tune=Predictions.load(self._path(fold, "tune")),
                test=Predictions.load(self._path(fold, "test")),
                seconds=summaries[fold.index]["seconds"],
                best_epoch=self._chosen[fold.index].get("epoch"),
                best_step=self._chosen[fold.index].get("step"),
                shared_speakers=len(leaks(self._corpus, fold)) if self._corpus.speakers_known else None,
            )
            for fold in self.folds
        ]
        parameters = next(iter(summaries.values())).get("parameters")
        return MemberOutcome(folds=folds, test=mean([fold.test for fold in folds]), parameters=parameters)

    @property
    def curves(self) -> dict[int, Path]:
        """By fold, its metrics.jsonl, for learners that leave one."""
        paths = {fold.index: self._fold_folder(fold) / "metrics.jsonl" for fold in self.folds}
        return {fold: path for fold, path in paths.items() if path.exists()}


def _folds(spec: Mapping[str, Any], where: str, corpus: Corpus) -> list[Fold]:
    """The folds of a split; those in `only`, if it names any."""
    spec = dict(spec)
    only = tuple(spec.pop("only", ()))
    folds: list[Fold] = build(SPLITS, spec, where, corpus=corpus)
    if unknown := set(only) - {fold.index for fold in folds}:
        raise UserError(f"config.{where}.only names folds {sorted(unknown)}, but there are {len(folds)}, from 0")
    return [fold for fold in folds if not only or fold.index in only]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        path: leaf for key, value in tree.items() for path, leaf in _flat(value, f"{prefix}.{key}".strip(".")).items()
    }
