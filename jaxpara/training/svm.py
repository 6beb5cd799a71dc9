"""The learner that is a support vector machine (SVM): the classical baseline, on a vector per recording or frame."""

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
from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.files import write_json
from jaxpara.progress import Progress
from jaxpara.registry import require_one_of
from jaxpara.seeds import derive
from jaxpara.training.fold_run import SUMMARY, FoldRun, summary_of
from jaxpara.training.svm_pipelines import (
    FITTED,
    KERNELS,
    PLATT_FOLDS,
    REFITTED,
    SCALERS,
    SVMPipelines,
    load,
    save,
)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Recordings as a matrix, with a row per recording or per frame."""

    recordings: tuple[Recording, ...]
    inputs: np.ndarray  # [row, feature] float32
    targets: np.ndarray  # [row] class indices or belt positions, NaN where unknown
    counts: list[int]  # rows of each recording


class SVM:
    """An SVM with its scaling, and the C with the best score on the validation set.

    For classes the features are one vector `[feature]` per recording. For a sequence they are `[frame, feature]`: a
    regression is trained on the frames, with labels interpolated to them, and a cubic spline interpolates its outputs
    to the times of the labels.

    Reference: the challenge's baseline scripts (MinMax scaling, linear SVMs, C in decades by the official measure,
    trained again on train and devel). Their Breathing script interpolates the features to the times of the labels and
    trains on a row per label, 25 per frame. A spline of linear outputs is the output of splined features, so one SVM
    predicts the same both ways, but training differs. So do the ends, where their splines continue into the next
    recording.
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
        kernel: Literal["linear", "rbf"] = "linear",
        gamma: float | Literal["scale"] = "scale",
        scale: Literal["minmax", "minmax_clipped", "standard", "none"] = "minmax",
        probabilities: bool = False,
        refit: bool = False,
        max_iter: int | None = None,
    ):
        """Check the fields and combine them.

        Args:
          task, frame_rate_hz, where: the task, the rate of the features, and the path of this config for messages; set
            by the program.
          c: the values of C that are tried; of equally good ones the first is used.
          kernel: `linear` or `rbf`.
          gamma: of the RBF kernel; `scale` is 1 / (features * variance of the scaled features), as in scikit-learn.
          scale: scaling of each feature by its range or its moments in the training set. If clipped to that range, a
            single odd value of another voice cannot outweigh all others.
          probabilities: calibrate class scores (Platt, over five folds of the training set, which trains six times
            instead of once). If not, they are the softmax of the margins, which does not measure confidence.
          refit: predict test with another SVM of the same C, trained on the training and validation sets, as in the
            challenge; for the official split.
          max_iter: of the solver; None is 100 000 for the linear kernel, and no limit for `rbf`.

        Raises:
          UserError: an impossible value or combination.
        """
        require_one_of(f"config.{where}.kernel", kernel, KERNELS)
        require_one_of(f"config.{where}.scale", scale, SCALERS)
        if not isinstance(c, (tuple, list)) or not c or not all(_positive(value) for value in c):
            raise UserError(f"config.{where}.c is {c!r}, expected one or more numbers above 0, as (0.01, 0.1)")
        if gamma != "scale" and not _positive(gamma):
            raise UserError(f"config.{where}.gamma is {gamma!r}, expected 'scale' or a number above 0")
        if max_iter is not None and max_iter < 1:
            raise UserError(f"config.{where}.max_iter is {max_iter}, expected at least 1")
        sequence = task.kind == "sequence"
        if sequence and (kernel == "rbf" or probabilities):
            field = "kernel is 'rbf'" if kernel == "rbf" else "probabilities is True"
            raise UserError(f"config.{where}.{field}, which needs classes, but {task.name} has a sequence; change it")
        if sequence != (frame_rate_hz > 0):
            found = f"{frame_rate_hz:g} frames per second" if frame_rate_hz else "one vector per recording"
            wanted = "frames" if sequence else "one vector per recording"
            raise UserError(f"config.{where}: the features are {found}, but {task.name} needs {wanted}; choose others")
        self._task, self._rate_hz, self._where, self._c, self._refit = task, frame_rate_hz, where, tuple(c), refit
        self._pipelines = SVMPipelines(
            regression=sequence,
            kernel=kernel,
            gamma=gamma,
            scale=scale,
            probabilities=probabilities,
            max_iter=max_iter or (-1 if kernel == "rbf" else 100_000),
        )

    @property
    def embedding_rate_hz(self) -> float:
        raise UserError(f"config.{self._where}: a support vector machine has no embeddings; name a network instead")

    def train(self, runs: Iterable[FoldRun], progress: Progress) -> list[dict[str, Any]]:
        """Train runs that are not trained yet, one after the other, in the main process.

        Returns:
          The content of summary.json of each run: `tried` (for each C its validation `score`, None if undefined, and
          `converged`, True if the solver did), `chosen` (the best of them) and `seconds`.

        Raises:
          UserError: features or labels that cannot be learned from.
        """
        runs = list(runs)  # in all processes, as all may take part in computing the features
        return processes.on_main(lambda: [self._train_one(run, progress) for run in runs])

    def _train_one(self, run: FoldRun, progress: Progress) -> dict[str, Any]:
        if (run.folder / SUMMARY).exists():
            return summary_of(run.folder)
        began = time.monotonic()
        val_names = run.fold.val_names
        validation = self._rows(run, val_names)
        fit = self._fitting(run, run.fold.train_names, progress)
        tried, best = [], None
        with progress.task(f"{run.name}: C", len(self._c)) as bar:
            for c in self._c:
                pipeline, converged = fit(c)
                score = run.score(val_names, self._scores(pipeline, validation))
                if best is None or _rank(score) > _rank(best[0]["score"]):
                    best = ({"c": c, "score": score}, pipeline)
                tried.append({"c": c, "score": score, "converged": converged})
                bar.advance(f"{c:g}: " + ("no score" if score is None else f"{score:.3f}"))
        assert best
        chosen, pipeline = best
        save(pipeline, run.folder / FITTED)
        del best, pipeline, fit  # frees the kernel matrix before there is another
        if self._refit:
            fit = self._fitting(run, (*run.fold.train_names, *val_names), progress)
            save(fit(chosen["c"])[0], run.folder / REFITTED)
        summary = {"seconds": round(time.monotonic() - began, 1), "chosen": chosen, "tried": tried}
        write_json(run.folder / SUMMARY, summary)
        return summary

    def choose(self, summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the C that each run chose for itself, from the summaries of all runs."""
        return [dict(summary["chosen"]) for summary in summaries]

    def load(self, run: FoldRun, choice: Mapping[str, Any], *, part: str = "test") -> Pipeline:
        """Read a trained SVM; for the `validation` part, the one that was not trained on it."""
        return load(run.folder / FITTED if part == "validation" else self.file(run.folder))

    def file(self, folder: Path) -> Path:
        """Return the file of a run's SVM for test and for new audio."""
        return folder / (REFITTED if self._refit else FITTED)

    def predict(self, run: FoldRun, names: tuple[str, ...], pipeline: Pipeline) -> pd.DataFrame:
        return run.predictions(names, self._scores(pipeline, self._rows(run, names)))

    def _scores(self, pipeline: Pipeline, rows: _Rows) -> np.ndarray:
        """Return `[row, score]`, a row per label."""
        outputs = self._pipelines.outputs(pipeline, rows.inputs)
        if not self._rate_hz:
            return outputs
        series = zip(rows.recordings, np.split(outputs, np.cumsum(rows.counts)[:-1]), strict=True)
        return np.concatenate([_spline(values, self._rate_hz, r.times_s) for r, values in series])[:, None]

    def _fitting(
        self, run: FoldRun, names: tuple[str, ...], progress: Progress
    ) -> Callable[[float], tuple[Pipeline, bool]]:
        rows = self._rows(run, names)
        known = np.isfinite(rows.targets)
        self._require_learnable(run, rows.targets[known])
        fit = self._pipelines.fitting(rows.inputs[known], rows.targets[known], derive(run.seed, "svm"))

        def fit_and_warn(c: float) -> tuple[Pipeline, bool]:
            pipeline, converged = fit(c)
            if not converged:
                progress.say(
                    f"{run.name}: with C {c:g} the solver stopped at max_iter, {self._pipelines.max_iter}, before it"
                    " converged; its SVM is used as it is (raise max_iter, or leave this C out)"
                )
            return pipeline, converged

        return fit_and_warn

    def _require_learnable(self, run: FoldRun, targets: np.ndarray) -> None:
        """Raise a UserError if a class or all labels are missing."""
        if self._rate_hz:
            counts, least, what = np.array([len(targets)]), 1, ["frames with a label"]
        else:
            counts = np.bincount(targets.astype(int), minlength=len(self._task.classes))
            least = PLATT_FOLDS if self._pipelines.probabilities else 1
            what = [f"labelled recordings of class {name!r}" for name in self._task.classes]
        scarce = int(counts.argmin())
        if counts[scarce] < least:
            raise UserError(
                f"{run.name}: {counts[scarce]} {what[scarce]} to train on, at least {least} needed"
                + ("; set learner.probabilities to False or" if least > 1 else ";")
                + " choose other folds"
            )

    def _rows(self, run: FoldRun, names: tuple[str, ...]) -> _Rows:
        recordings = run.recordings(names)
        arrays = [self._array(run, name) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.shape[1] != arrays[0].shape[1]:
                raise UserError(f"{name}: {array.shape[1]} features, but {names[0]} has {arrays[0].shape[1]}")
        targets = [self._targets(recording, len(a)) for recording, a in zip(recordings, arrays, strict=True)]
        return _Rows(recordings, np.concatenate(arrays), np.concatenate(targets), [len(array) for array in arrays])

    def _array(self, run: FoldRun, name: str) -> np.ndarray:
        """Return the `[row, feature]` of one recording."""
        array = np.asarray(run.features[name], np.float32)
        expected = "[frame, feature]" if self._rate_hz else "[feature]"
        if array.ndim != (2 if self._rate_hz else 1) or not array.size:
            raise UserError(f"{name}: features are {list(array.shape)}, but config.{self._where} expects {expected}")
        array = np.atleast_2d(array)
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            at = f" in frame {bad[0][0]}" if self._rate_hz else ""
            raise UserError(
                f"{name}: feature {bad[0][1]} (counted from 0) is {array[tuple(bad[0])]}{at};"
                " a support vector machine needs numbers: fix the features or leave the recording out"
            )
        return array

    def _targets(self, recording: Recording, rows: int) -> np.ndarray:
        if not self._rate_hz:
            return recording.labels
        times_s = np.arange(rows) / self._rate_hz
        return np.interp(times_s, recording.times_s, recording.labels, left=np.nan, right=np.nan)


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < np.inf


def _spline(values: np.ndarray, rate_hz: float, times_s: np.ndarray) -> np.ndarray:
    """Return `[frame]` values at other times; constant after the last frame, where splines diverge."""
    if len(values) == 1:
        return np.repeat(values, len(times_s))
    frames_s = np.arange(len(values)) / rate_hz
    return CubicSpline(frames_s, values)(np.minimum(times_s, frames_s[-1]))


def _rank(score: float | None) -> float:
    return -np.inf if score is None else score
