"""A member of an experiment: features, learner and folds; leaves its predictions on disk, one file per fold and part."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import SPLITS, Fold
from jaxpara.errors import UserError
from jaxpara.features import FEATURES
from jaxpara.features.cache import store
from jaxpara.files import write_json
from jaxpara.learning import LEARNERS
from jaxpara.learning.fit import Fit
from jaxpara.predictions import Predictions, concatenate
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
        self.folds: list[Fold] = build(SPLITS, config["folds"], f"{where}.folds", corpus=corpus)
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
        with progress.task(f"{self.name}: folds", len(self.folds)) as bar:
            for fold in self.folds:
                if from_checkpoints and not (self._fold_folder(fold) / "fit.json").exists():
                    raise UserError(
                        f"{self._fold_folder(fold)}: training is not finished, so there is nothing to evaluate;"
                        " run the same command without --mode"
                    )
                missing = [part for part in PARTS if from_checkpoints or not self._path(fold, part).exists()]
                if missing:
                    fit = self._fit(fold)
                    chosen = best_epoch(self._learner.fit(fit, progress))
                    for part in missing:
                        self._learner.predict(fit, getattr(fold, part), chosen).save(self._path(fold, part))
                score = best_epoch(self.summary(fold))["score"]
                bar.advance("validation not defined" if score is None else f"best validation {score:.3f}")

    def _path(self, fold: Fold, part: str) -> Path:
        return self._fold_folder(fold) / "predictions" / f"{part}.npz"

    def summary(self, fold: Fold) -> dict[str, Any]:
        """What the learner's `fit` left: `parameters`, `seconds` and the validated `epochs`."""
        return json.loads((self._fold_folder(fold) / "fit.json").read_text())

    def metrics_file(self, fold: Fold) -> Path:
        return self._fold_folder(fold) / "metrics.jsonl"

    def tune_predictions(self) -> Predictions:
        """Every fold's predictions of the recordings it was tuned on."""
        return concatenate([Predictions.load(self._path(fold, "tune")) for fold in self.folds])

    def test_predictions(self) -> list[Predictions]:
        """The test partition as each fold predicts it."""
        return [Predictions.load(self._path(fold, "test")) for fold in self.folds]


def best_epoch(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The first epoch with the highest validation score; the first of all where none is defined."""
    defined = [epoch for epoch in summary["epochs"] if epoch["score"] is not None]
    return max(defined, key=lambda epoch: (epoch["score"], -epoch["step"]), default=summary["epochs"][0])


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {path: leaf for key, value in tree.items() for path, leaf in _flat(value, f"{prefix}.{key}".strip(".")).items()}
