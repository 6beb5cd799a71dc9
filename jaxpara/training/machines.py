"""Support vector machines of scikit-learn: scaling, kernel and solver as one pipeline, and the file that keeps it."""

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
from sklearn.kernel_approximation import Nystroem
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
FITTED, REFITTED = "fitted.skops", "refitted.skops"  # on the fit part; on the tune part as well
KERNELS = ["linear", "rbf", "nystroem"]
PLATT_FOLDS = 5  # as LIBSVM has it
CACHE_MIB = 2000  # of kernel rows that LIBSVM keeps at most
BLOCK = 1024  # rows that are predicted at once, as their kernel with all that was fitted on is large

# What a model file may hold beside the types that skops trusts by itself.
TRUSTED = [
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.metrics.pairwise.rbf_kernel",
]


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Machines that differ in their C alone; `jaxpara.training.svm.SVM` describes the other fields.

    Attributes:
      regression: of a number, and not of classes; linear after the kernel's mapping.
    """

    regression: bool
    kernel: Literal["linear", "rbf", "nystroem"]
    gamma: float | Literal["scale"]
    components: int
    scale: Literal["minmax", "minmax_clipped", "standard", "none"]
    probabilities: bool
    max_iter: int

    def fitting(self, inputs: np.ndarray, targets: np.ndarray, seed: int) -> Callable[[float], tuple[Pipeline, bool]]:
        """Scales, and maps into the kernel's space, once for every C.

        Args:
          inputs: `[row, feature]` float32.
          targets: `[row]` numbers or class indices, none missing.

        Returns:
          By C the fitted machine, and whether its solver converged.
        """
        scaler = SCALERS[self.scale]()
        scaled = scaler.fit_transform(inputs)
        mapping = self._mapping(scaled, derive(seed, "mapping"))
        mapped = mapping.fit_transform(scaled)

        def fitted(c: float) -> tuple[Pipeline, bool]:
            solver = self._solver(c, derive(seed, "solver"))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                solver.fit(mapped, targets)
            others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
            for warning in others:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            pipeline = Pipeline([("scale", scaler), ("mapping", mapping), ("solver", solver)])
            return pipeline, len(others) == len(caught)

        return fitted

    def _mapping(self, scaled: np.ndarray, seed: int) -> FunctionTransformer | Nystroem:
        if self.kernel == "linear":
            return FunctionTransformer()
        gamma = self.gamma
        if gamma == "scale":
            gamma = 1 / (scaled.shape[1] * (float(scaled.var(dtype=np.float64)) or 1))
        if self.kernel == "nystroem":
            return Nystroem(gamma=gamma, n_components=min(self.components, len(scaled)), random_state=seed)
        # The whole kernel is one product of matrices here; LIBSVM makes it row by row, which takes many times as long.
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
        # What SVC(probability=True) was; its stub calls `ensemble` a string.
        return CalibratedClassifierCV(solver, cv=PLATT_FOLDS, ensemble=False)  # pyright: ignore[reportArgumentType]

    def outputs(self, machine: Pipeline, inputs: np.ndarray) -> np.ndarray:
        """`[row]` numbers or `[row, class]` scores that sum to 1, from `[row, feature]`."""
        if (takes := getattr(machine, "n_features_in_", inputs.shape[1])) != inputs.shape[1]:
            raise UserError(
                f"a fitted machine takes {takes} features and was given {inputs.shape[1]}: it is another member's;"
                " delete the member's folder to fit it again"
            )
        blocks = range(0, len(inputs), BLOCK)
        return np.concatenate([self._block(machine, inputs[first : first + BLOCK]) for first in blocks])

    def _block(self, machine: Pipeline, inputs: np.ndarray) -> np.ndarray:
        if self.regression:
            return machine.predict(inputs)
        if self.probabilities:
            return machine.predict_proba(inputs)
        margins = machine.decision_function(inputs)
        # The one margin of two classes is that of the second.
        return softmax(margins if margins.ndim == 2 else np.stack([np.zeros_like(margins), margins], 1), axis=1)


def save(machine: Pipeline, path: Path) -> None:
    """Writes a machine whole or not at all; no pickle."""
    import skops.io  # here, as it imports for seconds

    with replacing(path) as part:
        skops.io.dump(machine, part)


def load(path: Path) -> Pipeline:
    """Reads what `save` wrote.

    Raises:
      UserError: the file is missing, damaged, or holds what no machine is made of.
    """
    import skops.io

    try:
        machine = skops.io.load(path, trusted=TRUSTED)
        if isinstance(machine, Pipeline):
            return machine
        found = "holds something else"
    except FileNotFoundError:
        found = "no such file"
    except Exception as error:
        found = f"not readable ({reason(error)})"
    raise UserError(f"{path}: {found}, expected a fitted machine; delete {path.parent} to fit it again")
