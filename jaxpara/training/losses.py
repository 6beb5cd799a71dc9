"""Losses.

A loss returns a value per example, and `example_weights` the weight of each example in the mean. Thus the mean over a
batch is exact although the batch is spread over devices and computed in parts. A loss with `whole_batch` set needs all
examples at once and returns one value.

Losses work on JAX and on NumPy arrays: NumPy computes the validation loss, as the number of examples differs between
folds and JAX would compile it for each.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from jaxpara.errors import UserError
from jaxpara.registry import require_one_of
from jaxpara.training.examples import Examples

BATCH_SIZE = 1024  # examples

Array = Any  # JAX or NumPy


def pearson(outputs: Array, targets: Array, weights: Array, eps: float) -> Array:
    """Return Pearson's r along the last axis, `[...]` from `[..., time]`, over the positions with a weight.

    `eps` is added to each energy under its root, so that a constant sequence gives r = 0 instead of 0 / 0.
    """
    xp = outputs.__array_namespace__()
    (x, y), _ = _centred(outputs, targets, weights)
    energies = ((x * x).sum(-1) + eps, (y * y).sum(-1) + eps)
    if eps:
        return (x * y).sum(-1) / (xp.sqrt(energies[0]) * xp.sqrt(energies[1]))
    # The slope of a root at 0 is infinite, which would make the gradient NaN even where r is not used: for examples
    # without weight. The inner `where` keeps slopes finite, the outer one keeps r undefined.
    norms = [xp.sqrt(xp.where(energy > 0, energy, 1)) for energy in energies]
    return xp.where((energies[0] > 0) & (energies[1] > 0), (x * y).sum(-1) / (norms[0] * norms[1]), xp.nan)


def _centred(outputs: Array, targets: Array, weights: Array) -> tuple[list[Array], list[Array]]:
    """Return weighted deviations from the weighted means along the last axis, and these means, `[..., 1]`."""
    total = outputs.__array_namespace__().maximum(weights.sum(-1, keepdims=True), 1e-9)  # a window may have no label
    both = (outputs, targets)
    means = [(weights * values).sum(-1, keepdims=True) / total for values in both]
    return [weights * (values - mean) for values, mean in zip(both, means, strict=True)], means


class _Loss:
    whole_batch: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]]  # of targets that it fits, see `jaxpara.corpora.tasks`
    class_weight: str = "none"  # see `CrossEntropy`

    def example_weights(self, targets: Array, weights: Array) -> Array:
        """Return the weight of each example in the mean, `[example]`."""
        return weights


@dataclass(frozen=True)
class WindowPCC(_Loss):
    """1 - r of every window, averaged over the windows (paper §3.2; the authors' systems 2, 3 and 5).

    Windows whose labels are constant or missing have no weight in the mean.

    Attributes:
      eps: see `pearson`; the authors use none, which gives NaN for a constant output.
    """

    eps: float = 1e-8
    kinds: ClassVar[tuple[str, ...]] = ("sequence",)

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, time]` arrays."""
        return 1 - pearson(outputs, targets, weights, self.eps)

    def example_weights(self, targets: Array, weights: Array) -> Array:
        """Return 1 where the labels of an example, `[example, time]`, vary, and 0 where r is undefined."""
        xp = targets.__array_namespace__()
        low = xp.where(weights > 0, targets, xp.inf).min(-1)
        high = xp.where(weights > 0, targets, -xp.inf).max(-1)
        return (high > low).astype(targets.dtype)


@dataclass(frozen=True)
class WindowCCC(WindowPCC):
    """1 - CCC of every window, averaged over the windows: unlike r, it falls with errors of level and range.

    Windows whose labels are constant or missing have no weight in the mean.

    Reference: Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics 45 (1989).

    Attributes:
      eps: added to the denominator.
    """

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, time]` arrays."""
        (x, y), (x_mean, y_mean) = _centred(outputs, targets, weights)
        energies = (x * x + y * y).sum(-1) + weights.sum(-1) * (x_mean - y_mean)[..., 0] ** 2
        return 1 - 2 * (x * y).sum(-1) / (energies + self.eps)


@dataclass(frozen=True)
class BatchPCC(_Loss):
    """1 - r over all windows of the batch as one long sequence (the authors' system 1)."""

    eps: float = 1e-8  # see `pearson`
    whole_batch: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("sequence",)

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return one value from `[example, time]` arrays."""
        return 1 - pearson(outputs.ravel(), targets.ravel(), weights.ravel(), self.eps)


@dataclass(frozen=True)
class CrossEntropy(_Loss):
    """Softmax cross-entropy of one class per example (paper §3.1.2).

    Attributes:
      class_weight: the weight of an example in the mean: `none` for 1, or `balanced`, examples / (classes * examples of
        its class) of the training set, as in scikit-learn. The validation loss has the same weights.
      smoothing: the fraction of the target that is spread evenly over all classes, as in PyTorch (label smoothing).
    """

    class_weight: Literal["none", "balanced"] = "none"
    smoothing: float = 0.0
    kinds: ClassVar[tuple[str, ...]] = ("classes",)

    def __post_init__(self):
        require_one_of("class_weight", self.class_weight, ("none", "balanced"))

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, class]` logits and `[example]` class indices."""
        xp = outputs.__array_namespace__()
        shifted = outputs - outputs.max(-1, keepdims=True)  # keeps exp from overflowing
        own = xp.take_along_axis(shifted, targets.astype(xp.int32)[:, None], axis=-1)[:, 0]
        if self.smoothing:
            own = (1 - self.smoothing) * own + self.smoothing * shifted.mean(-1)
        return xp.log(xp.exp(shifted).sum(-1)) - own


@dataclass(frozen=True)
class Focal(_Loss):
    """Cross-entropy times (1 - p) ** gamma, where p is the probability of the right class: easy examples weigh less.

    Reference: Lin et al., Focal loss for dense object detection (ICCV 2017), for a softmax over classes.

    Attributes:
      gamma: 0 is cross-entropy.
      class_weight: see `CrossEntropy`.
    """

    gamma: float = 2.0
    class_weight: Literal["none", "balanced"] = "none"
    kinds: ClassVar[tuple[str, ...]] = ("classes",)

    def __post_init__(self):
        require_one_of("class_weight", self.class_weight, ("none", "balanced"))
        if not (isinstance(self.gamma, (int, float)) and 0 <= self.gamma < np.inf):
            raise UserError(f"gamma is {self.gamma!r}, expected a finite number, at least 0")

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, class]` logits and `[example]` class indices."""
        xp = outputs.__array_namespace__()
        entropy = CrossEntropy()(outputs, targets, weights)
        # The slope of a power below 1 is infinite at 0.
        missed = xp.maximum(1 - xp.exp(-entropy), 1e-6)
        return missed**self.gamma * entropy


class RootMeanSquare(_Loss):
    """The root of the mean squared error of each example, averaged over the examples (auDeep)."""

    kinds: ClassVar[tuple[str, ...]] = ()  # it compares spectrograms

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, time, band]` outputs and targets."""
        xp = outputs.__array_namespace__()
        return xp.sqrt(((outputs - targets) ** 2).mean((1, 2)) + 1e-12)  # the slope of a root at 0 is infinite


class MeanSquare(_Loss):
    """The squared error of one number per example."""

    kinds: ClassVar[tuple[str, ...]] = ("ordinal", "values")

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """Return `[example]` from `[example, 1]` outputs and `[example]` targets."""
        return (outputs[:, 0] - targets) ** 2


LOSSES = {
    "window_pcc": WindowPCC,
    "window_ccc": WindowCCC,
    "batch_pcc": BatchPCC,
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "root_mean_square": RootMeanSquare,
    "mean_square": MeanSquare,
}


def mean_loss(loss: Any, outputs: np.ndarray, examples: Examples) -> float:
    """Return the loss over all examples, in float64, from the network's outputs `[example, ...]` in their order."""
    size = len(outputs) if loss.whole_batch else BATCH_SIZE
    total = count = 0.0
    for first in range(0, len(outputs), size):
        part = outputs[first : first + size].astype(np.float64)
        labels = [examples.labels(index) for index in range(first, first + len(part))]
        targets, weights = (np.stack([pair[i] for pair in labels]).astype(np.float64) for i in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(loss(part, targets, weights))
        # Without eps, r of a constant output is undefined; it counts as r = 0.
        values = np.where(np.isnan(values) & np.isfinite(part).all(), 1.0, values)
        if loss.whole_batch:
            return float(values)
        counts = loss.example_weights(targets, weights)
        total += float((np.where(counts > 0, values, 0) * counts).sum())
        count += float(counts.sum())
    return total / max(count, 1e-9)
