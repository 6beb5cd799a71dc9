"""The learner that is a support vector machine (SVM): the classical baseline, on a vector per recording or frame."""

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.utils.class_weight import compute_sample_weight

from jaxpara import processes
from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError, reason
from jaxpara.evaluation.measures import MEASURE
from jaxpara.files import replacing, write_json
from jaxpara.progress import Progress
from jaxpara.registry import require_one_of
from jaxpara.seeds import derive
from jaxpara.training.fold_run import SUMMARY, FoldRun

SCALERS = {
    "minmax": MinMaxScaler,
    "minmax_clipped": partial(MinMaxScaler, clip=True),
    "standard": StandardScaler,
    "none": FunctionTransformer,
}
# Files in the folder of a run: trained on the training set, and on the training and validation sets.
FITTED, REFITTED = "fitted.skops", "refitted.skops"
PLATT_FOLDS = 5  # LIBSVM's; fewer if a class has fewer recordings
CACHE_MIB = 2000  # of kernel rows in LIBSVM
BATCH_SIZE = 1024  # rows that are predicted at once: their kernel with all training rows is large
# The types that the file of a pipeline may contain in addition to those that skops trusts.
TRUSTED = [
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics.pairwise.rbf_kernel",
]
# The features of recordings, `[row, feature]` float32, and the number of rows of each recording.
_Rows = tuple[np.ndarray, list[int]]


@dataclass(kw_only=True, eq=False)
class SVM:
    """An SVM with its scaling, and the C with the best score on the validation set.

    For classes the features are one vector `[feature]` per recording, and so for ordinal and real values, which a
    regression predicts. For a sequence they are `[frame, feature]`: a regression is trained on the frames, with labels
    interpolated to them, and a cubic spline interpolates its outputs to the times of the labels.

    Reference: the challenge's baseline scripts (MinMax scaling, linear SVMs, C in decades by the official measure,
    trained again on train and devel). Their Breathing script interpolates the features to the times of the labels and
    trains on a row per label, 25 per frame; its linear outputs are the same, but for training and the ends.

    Attributes:
      c: the values of C that are tried; of equally good ones the first is used.
      gamma: of the RBF kernel; `scale` is 1 / (features * variance of the scaled features), as in scikit-learn.
      scale: scaling of each feature by its range or its moments in the training set. If clipped to that range, a single
        odd value of another voice cannot outweigh all others.
      class_weight: `balanced` weights a row, also in the calibration, by rows / (classes * rows of its class).
      probabilities: calibrate class scores (Platt, over up to five folds of the training set; trains six times instead
        of once). If not, they are the softmax of the margins, which does not measure confidence.
      refit: predict test with another SVM of the same C, trained on the training and validation sets, as in the
        challenge; for the official split.
      max_iter: of the solver; None is 100 000 for the linear kernel, and no limit for `rbf`.
    """

    task: Task  # this and the next two are set by the program
    frame_rate_hz: float  # of the features
    where: str  # the path of this config, for messages
    c: Sequence[float]
    kernel: Literal["linear", "rbf"] = "linear"
    gamma: float | Literal["scale"] = "scale"
    scale: Literal["minmax", "minmax_clipped", "standard", "none"] = "minmax"
    class_weight: Literal["none", "balanced"] = "none"
    probabilities: bool = False
    refit: bool = False
    max_iter: int | None = None
    predicts: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    warnings: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        where, task, c, gamma = f"config.{self.where}", self.task, self.c, self.gamma
        require_one_of(f"{where}.kernel", self.kernel, ("linear", "rbf"))
        require_one_of(f"{where}.scale", self.scale, SCALERS)
        require_one_of(f"{where}.class_weight", self.class_weight, ("none", "balanced"))
        if not isinstance(c, (tuple, list)) or not c or not all(_positive(value) for value in c):
            raise UserError(f"{where}.c is {c!r}, expected one or more numbers above 0, as (0.01, 0.1)")
        if gamma != "scale" and not _positive(gamma):
            raise UserError(f"{where}.gamma is {gamma!r}, expected 'scale' or a number above 0")
        if self.max_iter is not None and self.max_iter < 1:
            raise UserError(f"{where}.max_iter is {self.max_iter}, expected at least 1")
        sequence, one = task.kind == "sequence", "one vector per recording"
        self._regression = task.kind != "classes"
        for field, value in {"kernel": "rbf", "class_weight": "balanced", "probabilities": True}.items():
            if self._regression and getattr(self, field) == value:
                problem = f"which needs classes, but {task.name} has {task.kind}; change it"
                raise UserError(f"{where}.{field} is {value!r}, {problem}")
        if sequence != (self.frame_rate_hz > 0):
            found, wanted = (f"{self.frame_rate_hz:g} frames per second", one) if not sequence else (one, "frames")
            raise UserError(f"{where}: the features are {found}, but {task.name} needs {wanted}; choose others")
        self._limit = self.max_iter or (-1 if self.kernel == "rbf" else 100_000)

    @property
    def least_per_class(self) -> int:
        """The number of recordings of each class that training needs."""
        return 2 if self.probabilities else 1

    @property
    def embedding_rate_hz(self) -> float:
        raise UserError(f"config.{self.where}: a support vector machine has no embeddings; name a network instead")

    def train(self, runs: Iterable[FoldRun], progress: Progress) -> None:
        """Train runs that are not trained yet, one after the other, in the main process.

        Each writes summary.json: `tried` (for each C its validation `score`, None if undefined, and `converged`),
        `chosen` (the best of them) and `seconds`. Raises a UserError for what cannot be learned from.
        """
        runs = list(runs)  # in all processes, as all may take part in computing the features
        processes.on_main(lambda: [self._train_one(r, progress) for r in runs if not (r.folder / SUMMARY).exists()])

    def _train_one(self, run: FoldRun, progress: Progress) -> None:
        began, tried, val_names = time.monotonic(), [], run.fold.val_names
        best: Any = None
        rows = self._rows(run, val_names)
        with progress.task(f"{run.name}: C", len(self.c)) as bar:
            for c, pipeline, converged in self._trained(run, run.fold.train_names, self.c, progress):
                score = run.score(val_names, self._scores(pipeline, run.recordings(val_names), rows))
                rank = MEASURE[self.task.measure].gain(score)
                if best is None or rank > best[0]:
                    best = rank, {"c": c, "score": score}, pipeline
                tried.append({"c": c, "score": score, "converged": converged})
                bar.advance(f"{c:g}: " + ("no score" if score is None else f"{score:.3f}"))
        _, chosen, pipeline = best
        _save(pipeline, run.folder / FITTED)
        del best, pipeline  # frees their training rows before there are others
        if self.refit:
            ((_, pipeline, _),) = self._trained(run, (*run.fold.train_names, *val_names), (chosen["c"],), progress)
            _save(pipeline, run.folder / REFITTED)
        summary = {"seconds": round(time.monotonic() - began, 1), "chosen": chosen, "tried": tried}
        write_json(run.folder / SUMMARY, summary)

    def choose(self, summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the C that each run chose for itself."""
        return [dict(summary["chosen"]) for summary in summaries]

    def load(self, run: FoldRun, choice: Mapping[str, Any], *, part: str = "test") -> Pipeline:
        """Read a trained SVM; for the `validation` part, the one that was not trained on it."""
        import skops.io  # here, because the import takes seconds

        path = run.folder / FITTED if part == "validation" else self.file(run.folder)
        try:
            pipeline = skops.io.load(path, trusted=TRUSTED)
            if isinstance(pipeline, Pipeline):
                return pipeline
            found = "contains something else"
        except Exception as error:  # skops and zipfile raise many kinds
            found = "no such file" if isinstance(error, FileNotFoundError) else f"not readable ({reason(error)})"
        again = f"restore it from a backup; or else, to train it again, rename {path.parent} and keep it as a copy"
        raise UserError(f"{path}: {found}, expected a trained SVM; {again}")

    def file(self, folder: Path) -> Path:
        """Return the file of a run's SVM for test and for new audio."""
        return folder / (REFITTED if self.refit else FITTED)

    def predict(self, run: FoldRun, names: tuple[str, ...], pipeline: Pipeline) -> pd.DataFrame:
        return run.predictions(names, self._scores(pipeline, run.recordings(names), self._rows(run, names)))

    def _scores(self, pipeline: Pipeline, recordings: Sequence[Recording], rows: _Rows) -> np.ndarray:
        """Return `[row, score]`, a row per label."""
        inputs, counts = rows
        outputs = self.task.unscaled(self.outputs(pipeline, inputs))
        if not self.frame_rate_hz:
            return outputs[:, None] if self._regression else outputs
        series = zip(recordings, np.split(outputs, np.cumsum(counts)[:-1]), strict=True)
        return np.concatenate([_spline(values, self.frame_rate_hz, r.times_s) for r, values in series])[:, None]

    def _trained(
        self, run: FoldRun, names: tuple[str, ...], c: Sequence[float], progress: Progress
    ) -> Iterator[tuple[float, Pipeline, bool]]:
        """Yield each C with the pipeline trained on the labels of some recordings, and True if the solver converged."""
        inputs, counts = self._rows(run, names)
        targets = []
        for recording, count in zip(run.recordings(names), counts, strict=True):
            labels = self.task.scaled(recording.labels)
            if self.frame_rate_hz:
                times_s = np.arange(count) / self.frame_rate_hz
                labels = np.interp(times_s, recording.times_s, labels, left=np.nan, right=np.nan)
            targets.append(labels)
        known = np.isfinite(targets := np.concatenate(targets))
        pipelines = self.fit(inputs[known], targets[known], c, derive(run.seed, "svm"))
        for value, (pipeline, converged) in zip(c, pipelines, strict=True):
            if not converged:
                progress.say(
                    f"{run.name}: with C {value:g} the solver stopped at max_iter, {self._limit}, before it converged;"
                    " its SVM is used as it is (raise max_iter, or leave this C out)"
                )
            yield value, pipeline, converged

    def fit(
        self, inputs: np.ndarray, targets: np.ndarray, c: Sequence[float], seed: int
    ) -> Iterator[tuple[Pipeline, bool]]:
        """Yield a trained pipeline for each C, and True if its solver converged; they share their scaling and kernel.

        The inputs are `[row, feature]` float32, the targets `[row]` numbers or class indices, none missing.
        """
        scaler, kernel, gamma = SCALERS[self.scale](), FunctionTransformer(), self.gamma
        scaled = scaler.fit_transform(inputs)
        if self.kernel == "rbf":
            if gamma == "scale":
                gamma = 1 / (scaled.shape[1] * (float(scaled.var(dtype=np.float64)) or 1))
            # One matrix product for the whole kernel: LIBSVM computes it row by row, many times as slowly.
            kernel = FunctionTransformer(rbf_kernel, kw_args={"Y": scaled.astype(np.float64), "gamma": gamma})
        mapped = kernel.fit_transform(scaled)
        weights = compute_sample_weight("balanced", targets) if self.class_weight == "balanced" else None
        folds = min(PLATT_FOLDS, int(np.unique_counts(targets).counts.min())) if self.probabilities else PLATT_FOLDS
        for value in c:
            solver = self._solver(value, derive(seed, "solver"), folds)
            with warnings.catch_warnings(record=True, action="always", category=ConvergenceWarning) as caught:
                solver.fit(mapped, targets, sample_weight=weights)
            others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
            for warning in others:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            yield Pipeline([("scale", scaler), ("kernel", kernel), ("solver", solver)]), len(others) == len(caught)

    def _solver(self, c: float, seed: int, platt_folds: int) -> LinearSVR | LinearSVC | SVC | CalibratedClassifierCV:
        if self._regression:
            return LinearSVR(C=c, random_state=seed, max_iter=self._limit)
        solver = LinearSVC(C=c, random_state=seed, max_iter=self._limit)
        if self.kernel == "rbf":
            solver = SVC(C=c, kernel="precomputed", max_iter=self._limit, cache_size=CACHE_MIB)
        if not self.probabilities:
            return solver
        # As in SVC(probability=True); the type stub declares `ensemble` a string.
        return CalibratedClassifierCV(solver, cv=platt_folds, ensemble=False)  # pyright: ignore[reportArgumentType]

    def outputs(self, pipeline: Pipeline, inputs: np.ndarray) -> np.ndarray:
        """Return `[row]` numbers, or `[row, class]` scores that sum to 1, from `[row, feature]`."""
        if (expected := getattr(pipeline, "n_features_in_", inputs.shape[1])) != inputs.shape[1]:
            what = f"a trained SVM expects {expected} features and got {inputs.shape[1]}: it belongs to another member"
            raise UserError(f"{what}; delete the member's folder to train it again")
        margins = not (self._regression or self.probabilities)
        method = "predict" if self._regression else "decision_function" if margins else "predict_proba"
        blocks = np.split(inputs, range(BATCH_SIZE, len(inputs), BATCH_SIZE))
        outputs = np.concatenate([getattr(pipeline, method)(block) for block in blocks])
        if margins and outputs.ndim == 1:  # with two classes there is one margin, of the second
            outputs = np.stack([np.zeros_like(outputs), outputs], 1)
        return softmax(outputs, axis=1) if margins else outputs

    def _rows(self, run: FoldRun, names: tuple[str, ...]) -> _Rows:
        arrays = []
        for name in names:
            array = np.asarray(run.features[name], np.float32)
            expected = "[frame, feature]" if self.frame_rate_hz else "[feature]"
            if array.ndim != (2 if self.frame_rate_hz else 1) or not array.size:
                raise UserError(f"{name}: features are {list(array.shape)}, but config.{self.where} expects {expected}")
            arrays.append(array := np.atleast_2d(array))
            if len(bad := np.argwhere(~np.isfinite(array))):
                at = f" in frame {bad[0][0]}" if self.frame_rate_hz else ""
                raise UserError(
                    f"{name}: feature {bad[0][1]} (counted from 0) is {array[tuple(bad[0])]}{at};"
                    " a support vector machine needs numbers: fix the features or leave the recording out"
                )
            if array.shape[1] != arrays[0].shape[1]:
                raise UserError(f"{name}: {array.shape[1]} features, but {names[0]} has {arrays[0].shape[1]}")
        return np.concatenate(arrays), [len(array) for array in arrays]


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < np.inf


def _spline(values: np.ndarray, rate_hz: float, times_s: np.ndarray) -> np.ndarray:
    """Return `[frame]` values at other times; constant after the last frame, where splines diverge."""
    if len(values) == 1:
        return np.repeat(values, len(times_s))
    frames_s = np.arange(len(values)) / rate_hz
    return CubicSpline(frames_s, values)(np.minimum(times_s, frames_s[-1]))


def _save(pipeline: Pipeline, path: Path) -> None:
    import skops.io

    with replacing(path) as part:
        skops.io.dump(pipeline, part)
