"""SVMs as scikit-learn pipelines of scaling, kernel and solver, and their files."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR

from jaxpara.errors import UserError, reason
from jaxpara.files import replacing
from jaxpara.seeds import derive

SCALERS = {
    "minmax": MinMaxScaler,
    "minmax_clipped": partial(MinMaxScaler, clip=True),
    "standard": StandardScaler,
    "none": FunctionTransformer,
}
KERNELS = ("linear", "rbf")
# Files in the folder of a run: trained on the training set, and on the training and validation sets.
FITTED, REFITTED = "fitted.skops", "refitted.skops"
PLATT_FOLDS = 5  # LIBSVM's
CACHE_MIB = 2000  # of kernel rows in LIBSVM
BATCH_SIZE = 1024  # rows that are predicted at once: their kernel with all training rows is large

# The types that the file of a pipeline may contain in addition to those that skops trusts.
TRUSTED = [
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics.pairwise.rbf_kernel",
]


@dataclass(frozen=True, kw_only=True)
class SVMPipelines:
    """Pipelines that differ only in their C; `jaxpara.training.svm.SVM` describes the other fields."""

    regression: bool  # of a number instead of classes; linear only
    kernel: Literal["linear", "rbf"]
    gamma: float | Literal["scale"]
    scale: Literal["minmax", "minmax_clipped", "standard", "none"]
    probabilities: bool
    max_iter: int

    def fitting(self, inputs: np.ndarray, targets: np.ndarray, seed: int) -> Callable[[float], tuple[Pipeline, bool]]:
        """Scale the rows and compute their kernel, once for every C.

        Args:
          inputs: `[row, feature]` float32.
          targets: `[row]` numbers or class indices, none missing.
          seed: of the solver.

        Returns:
          A function of C that returns the trained pipeline, and True if its solver converged.
        """
        scaler = SCALERS[self.scale]()
        scaled = scaler.fit_transform(inputs)
        kernel = self._kernel(scaled)
        mapped = kernel.fit_transform(scaled)

        def fit(c: float) -> tuple[Pipeline, bool]:
            solver = self._solver(c, derive(seed, "solver"))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                solver.fit(mapped, targets)
            others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
            for warning in others:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            pipeline = Pipeline([("scale", scaler), ("kernel", kernel), ("solver", solver)])
            return pipeline, len(others) == len(caught)

        return fit

    def _kernel(self, scaled: np.ndarray) -> FunctionTransformer:
        if self.kernel == "linear":
            return FunctionTransformer()
        gamma = self.gamma
        if gamma == "scale":
            gamma = 1 / (scaled.shape[1] * (float(scaled.var(dtype=np.float64)) or 1))
        # One matrix product for the whole kernel: LIBSVM computes it row by row, many times as slowly.
        return FunctionTransformer(rbf_kernel, kw_args={"Y": scaled.astype(np.float64), "gamma": gamma})

    def _solver(self, c: float, seed: int) -> LinearSVR | LinearSVC | SVC | CalibratedClassifierCV:
        if self.regression:
            return LinearSVR(C=c, random_state=seed, max_iter=self.max_iter)
        if self.kernel == "rbf":
            solver = SVC(C=c, kernel="precomputed", max_iter=self.max_iter, cache_size=CACHE_MIB)
        else:
            solver = LinearSVC(C=c, random_state=seed, max_iter=self.max_iter)
        if not self.probabilities:
            return solver
        # As in SVC(probability=True); the type stub declares `ensemble` a string.
        return CalibratedClassifierCV(solver, cv=PLATT_FOLDS, ensemble=False)  # pyright: ignore[reportArgumentType]

    def outputs(self, pipeline: Pipeline, inputs: np.ndarray) -> np.ndarray:
        """Return `[row]` numbers, or `[row, class]` scores that sum to 1, from `[row, feature]`."""
        if (expected := getattr(pipeline, "n_features_in_", inputs.shape[1])) != inputs.shape[1]:
            raise UserError(
                f"a trained SVM expects {expected} features and got {inputs.shape[1]}: it belongs to another member;"
                " delete the member's folder to train it again"
            )
        blocks = range(0, len(inputs), BATCH_SIZE)
        return np.concatenate([self._block(pipeline, inputs[first : first + BATCH_SIZE]) for first in blocks])

    def _block(self, pipeline: Pipeline, inputs: np.ndarray) -> np.ndarray:
        if self.regression:
            return pipeline.predict(inputs)
        if self.probabilities:
            return pipeline.predict_proba(inputs)
        margins = pipeline.decision_function(inputs)
        # With two classes there is one margin, of the second.
        return softmax(margins if margins.ndim == 2 else np.stack([np.zeros_like(margins), margins], 1), axis=1)


def save(pipeline: Pipeline, path: Path) -> None:
    """Write a pipeline whole or not at all; it is no pickle."""
    import skops.io  # here, because the import takes seconds

    with replacing(path) as part:
        skops.io.dump(pipeline, part)


def load(path: Path) -> Pipeline:
    """Read a pipeline that `save` wrote; raise a UserError if the file is missing, damaged or something else."""
    import skops.io

    try:
        pipeline = skops.io.load(path, trusted=TRUSTED)
        if isinstance(pipeline, Pipeline):
            return pipeline
        found = "contains something else"
    except FileNotFoundError:
        found = "no such file"
    except Exception as error:
        found = f"not readable ({reason(error)})"
    raise UserError(f"{path}: {found}, expected a trained SVM; delete {path.parent} to train it again")
