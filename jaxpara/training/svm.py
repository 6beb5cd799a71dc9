"""The learner that is a support vector machine: the classical baseline, on one vector per recording or per frame."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline
from sklearn.pipeline import Pipeline

from jaxpara import processes
from jaxpara.corpora.corpus import Recording, Task
from jaxpara.errors import UserError
from jaxpara.evaluation.metrics import Undefined, official_score
from jaxpara.files import write_json
from jaxpara.predictions import predictions_of, scores_of
from jaxpara.progress import Progress
from jaxpara.registry import require_one_of
from jaxpara.seeds import derive
from jaxpara.training.fit import FINISHED, Fit, summary_of
from jaxpara.training.machines import FITTED, KERNELS, PLATT_FOLDS, REFITTED, SCALERS, Machines, load, save


@dataclass(frozen=True, eq=False)
class _Part:
    """Recordings as a matrix.

    Attributes:
      inputs: `[row, feature]` float32; a row per recording or per frame.
      targets: `[row]` class indices or belt positions, NaN where they are not known.
      counts: rows of each recording.
    """

    recordings: tuple[Recording, ...]
    inputs: np.ndarray
    targets: np.ndarray
    counts: list[int]


class SVM:
    """A support vector machine with its scaling, and the C that predicts the fold's tune part best.

    For classes the features are one vector `[feature]` per recording. For a sequence they are `[frame, feature]`: a
    regression is fitted on the frames, with the labels interpolated to them, and its outputs are brought to the times
    of the labels by a cubic spline.

    Reference: the challenge's baseline scripts (MinMax scaling, linear machines, C in decades by the official measure,
    refitted on train and devel). Its Breathing script brings the features to the labels' times and fits on a row per
    label, 25 per frame. A spline of linear outputs is the output of splined features, so one machine predicts alike
    both ways, but the fits differ; so do the ends, where its splines run on into the next recording.
    """

    predicts: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    def __init__(
        self,
        *,
        task: Task,
        frame_rate_hz: float,
        where: str,
        c: Sequence[float],
        kernel: Literal["linear", "rbf", "nystroem"] = "linear",
        gamma: float | Literal["scale"] = "scale",
        components: int = 1000,
        scale: Literal["minmax", "minmax_clipped", "standard", "none"] = "minmax",
        probabilities: bool = False,
        refit: bool = False,
        max_iter: int | None = None,
    ):
        """Says what is fitted.

        Args:
          task, frame_rate_hz, where: from the program: the task, the features' rate, this config's path for messages.
          c: the values of C that are tried; of equally good ones the first is taken.
          kernel: `nystroem` is a linear machine on an approximation of the RBF kernel, for what `rbf` is too slow for.
          gamma: of the RBF kernel; `scale` is 1 / (features * variance of the scaled features), as in scikit-learn.
          components: rows that `nystroem` approximates with.
          scale: what is done to each feature, by the range or the moments that it has where the machine is fitted.
            Clipped, it stays in that range also for other voices, of whom one odd value can outweigh all others.
          probabilities: whether class scores are calibrated (Platt, over five folds of what is fitted on: six fits
            instead of one). If not, they are the softmax of the margins: they sort as the margins do, and say nothing
            about how sure the machine is.
          refit: whether test is predicted by another machine with the same C, fitted on fit and tune, as the challenge
            does; for the official split.
          max_iter: of the solver; None is 100 000 for linear machines, and no end but the solution for `rbf`.

        Raises:
          UserError: an impossible value or combination.
        """
        require_one_of(f"config.{where}.kernel", kernel, KERNELS)
        require_one_of(f"config.{where}.scale", scale, SCALERS)
        if not isinstance(c, (tuple, list)) or not c or not all(_positive(value) for value in c):
            raise UserError(f"config.{where}.c is {c!r}, expected one or more numbers above 0, as (0.01, 0.1)")
        if gamma != "scale" and not _positive(gamma):
            raise UserError(f"config.{where}.gamma is {gamma!r}, expected 'scale' or a number above 0")
        for field, value in (("components", components), ("max_iter", 1 if max_iter is None else max_iter)):
            if value < 1:
                raise UserError(f"config.{where}.{field} is {value}, expected at least 1")
        sequence = task.kind == "sequence"
        if sequence and (kernel == "rbf" or probabilities):
            field = "kernel is 'rbf'" if kernel == "rbf" else "probabilities is True"
            raise UserError(f"config.{where}.{field}, which needs classes, but {task.name} has a sequence; change it")
        if sequence != (frame_rate_hz > 0):
            found = f"{frame_rate_hz:g} frames per second" if frame_rate_hz else "one vector per recording"
            wanted = "frames" if sequence else "one vector per recording"
            raise UserError(f"config.{where}: the features are {found}, but {task.name} needs {wanted}; take others")
        self._task, self._rate_hz, self._where, self._c, self._refit = task, frame_rate_hz, where, tuple(c), refit
        self._machines = Machines(
            regression=sequence,
            kernel=kernel,
            gamma=gamma,
            components=components,
            scale=scale,
            probabilities=probabilities,
            max_iter=max_iter or (-1 if kernel == "rbf" else 100_000),
        )

    @property
    def embedding_rate_hz(self) -> float:
        raise UserError(f"config.{self._where}: a support vector machine has no embeddings; name a network instead")

    def fit(self, fits: Iterable[Fit], progress: Progress) -> list[dict[str, Any]]:
        """Fits folds, one after the other; see `_fit_one`."""
        fits = list(fits)  # by all processes: their features may be made by all
        return processes.on_main(lambda: [self._fit_one(fit, progress) for fit in fits])

    def _fit_one(self, fit: Fit, progress: Progress) -> dict[str, Any]:
        """Tries every C on the fold's tune part and keeps the best machine, unless that is done.

        Returns:
          `tried` (for each C its `score` on tune, None where it has none, and whether the solver `converged`),
          `chosen` (the best of them) and `seconds`; also left as `fit.json`.

        Raises:
          UserError: features or labels that cannot be learned from.
        """
        if (fit.folder / FINISHED).exists():
            return summary_of(fit.folder)
        began = time.monotonic()
        tuning = self._part(fit, fit.fold.val_names)
        fitted = self._fitting(fit, fit.fold.train_names, progress)
        tried, best = [], None
        with progress.task(f"{fit.name}: C", len(self._c)) as bar:
            for c in self._c:
                machine, converged = fitted(c)
                score = self._score(fit, machine, tuning)
                if best is None or _rank(score) > _rank(best[0]["score"]):
                    best = ({"c": c, "score": score}, machine)
                tried.append({"c": c, "score": score, "converged": converged})
                bar.advance(f"{c:g}: " + ("no score" if score is None else f"{score:.3f}"))
        assert best
        chosen, machine = best
        save(machine, fit.folder / FITTED)
        del best, machine, fitted  # with the kernel matrix, before there is another
        if self._refit:
            fitted = self._fitting(fit, (*fit.fold.train_names, *fit.fold.val_names), progress)
            save(fitted(chosen["c"])[0], fit.folder / REFITTED)
        summary = {"seconds": round(time.monotonic() - began, 1), "chosen": chosen, "tried": tried}
        write_json(fit.folder / FINISHED, summary)
        return summary

    def choose(self, summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """From what `fit` returned, fold by fold, what each chose by itself."""
        return [dict(summary["chosen"]) for summary in summaries]

    def predict(
        self, fit: Fit, names: tuple[str, ...], choice: Mapping[str, Any], machine: Pipeline | None = None
    ) -> pd.DataFrame:
        """Predicts recordings; with `refit`, those that were neither fitted nor tuned on by the refitted machine.

        Raises:
          UserError: the machine's file is missing or damaged, and it is not given as it was `restored`.
        """
        if machine is None:
            known = set(names) & {*fit.fold.train_names, *fit.fold.val_names}
            machine = load(fit.folder / FITTED if known else self.machine_file(fit.folder))
        return self._predictions(fit, machine, self._part(fit, names))

    def restored(self, fit: Fit, choice: Mapping[str, Any]) -> Pipeline:
        """The machine for recordings that were neither fitted nor tuned on."""
        return load(self.machine_file(fit.folder))

    def machine_file(self, folder: Path) -> Path:
        """Where a fit leaves the machine for recordings that were neither fitted nor tuned on."""
        return folder / (REFITTED if self._refit else FITTED)

    def _fitting(
        self, fit: Fit, names: tuple[str, ...], progress: Progress
    ) -> Callable[[float], tuple[Pipeline, bool]]:
        part = self._part(fit, names)
        known = np.isfinite(part.targets)
        self._require_learnable(fit, part.targets[known])
        fitting = self._machines.fitting(part.inputs[known], part.targets[known], derive(fit.seed, "svm"))

        def fitted(c: float) -> tuple[Pipeline, bool]:
            machine, converged = fitting(c)
            if not converged:
                progress.say(
                    f"{fit.name}: with C {c:g} the solver stopped at max_iter, {self._machines.max_iter}, before it"
                    " converged; its machine is used as it is (raise max_iter, or leave this C out)"
                )
            return machine, converged

        return fitted

    def _require_learnable(self, fit: Fit, targets: np.ndarray) -> None:
        """Raises a UserError where a class is missing, or all labels are."""
        if self._rate_hz:
            counts, least, what = np.array([len(targets)]), 1, ["frames with a label"]
        else:
            counts = np.bincount(targets.astype(int), minlength=len(self._task.classes))
            least = PLATT_FOLDS if self._machines.probabilities else 1
            what = [f"labelled recordings of class {name!r}" for name in self._task.classes]
        scarce = int(counts.argmin())
        if counts[scarce] < least:
            raise UserError(
                f"{fit.name}: {counts[scarce]} {what[scarce]} to fit on, at least {least} needed"
                + ("; set learner.probabilities to False or" if least > 1 else ";")
                + " choose other folds"
            )

    def _part(self, fit: Fit, names: tuple[str, ...]) -> _Part:
        recordings = fit.recordings(names)
        arrays = [self._array(fit, name) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.shape[1] != arrays[0].shape[1]:
                raise UserError(f"{name}: {array.shape[1]} features, but {names[0]} has {arrays[0].shape[1]}")
        targets = [self._targets(recording, len(a)) for recording, a in zip(recordings, arrays, strict=True)]
        return _Part(recordings, np.concatenate(arrays), np.concatenate(targets), [len(array) for array in arrays])

    def _array(self, fit: Fit, name: str) -> np.ndarray:
        """`[row, feature]` of one recording."""
        array = np.asarray(fit.features[name], np.float32)
        expected = "[frame, feature]" if self._rate_hz else "[feature]"
        if array.ndim != (2 if self._rate_hz else 1) or not array.size:
            raise UserError(f"{name}: features are {list(array.shape)}, but config.{self._where} expects {expected}")
        array = np.atleast_2d(array)
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            at = f" in frame {bad[0][0]}" if self._rate_hz else ""
            raise UserError(
                f"{name}: feature {bad[0][1]} (counted from 0) is {array[tuple(bad[0])]}{at};"
                " a support vector machine needs numbers: mend the features or leave the recording out"
            )
        return array

    def _targets(self, recording: Recording, rows: int) -> np.ndarray:
        if not self._rate_hz:
            return recording.labels
        times_s = np.arange(rows) / self._rate_hz
        return np.interp(times_s, recording.times_s, recording.labels, left=np.nan, right=np.nan)

    def _score(self, fit: Fit, machine: Pipeline, tuning: _Part) -> float | None:
        """Over the whole partition; None where the measure is not defined."""
        scores = scores_of(self._predictions(fit, machine, tuning))
        truth = np.concatenate([recording.labels for recording in tuning.recordings])
        known = np.isfinite(truth)
        try:
            return official_score(self._task.measure, truth[known], scores[known], len(self._task.classes))
        except Undefined:
            return None

    def _predictions(self, fit: Fit, machine: Pipeline, part: _Part) -> pd.DataFrame:
        outputs = self._machines.outputs(machine, part.inputs)
        if self._rate_hz:
            series = zip(part.recordings, np.split(outputs, np.cumsum(part.counts)[:-1]), strict=True)
            outputs = np.concatenate([_spline(values, self._rate_hz, r.times_s) for r, values in series])[:, None]
        return predictions_of(part.recordings, outputs, fit.fold.index, fit.fold.seed)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < np.inf


def _spline(values: np.ndarray, rate_hz: float, times_s: np.ndarray) -> np.ndarray:
    """`[frame]` values at other times; after the last frame they stay, as splines run away there."""
    if len(values) == 1:
        return np.repeat(values, len(times_s))
    frames_s = np.arange(len(values)) / rate_hz
    return CubicSpline(frames_s, values)(np.minimum(times_s, frames_s[-1]))


def _rank(score: float | None) -> float:
    return -np.inf if score is None else score
