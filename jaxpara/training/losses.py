"""Losses: what training makes small.

A loss gives a value per example and the weight of each example in the mean, so that the mean over a batch stays exact
when the batch is spread over devices and gone through in parts. A loss of the whole batch says so by `whole_batch`.

JAX arrays are computed on by JAX, and NumPy arrays by NumPy: a loss over a whole partition, whose size is another one
in each fold, is not compiled for each.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

Array = Any  # of JAX or of NumPy


def pearson(outputs: Array, targets: Array, weights: Array, eps: float) -> Array:
    """Pearson's r along the last axis, over the positions that have a weight.

    Args:
      outputs, targets, weights: `[..., time]`; what stands at positions without weight does not matter.
      eps: added to each energy under its root, so that a constant sequence gives r = 0 instead of 0 / 0.

    Returns:
      `[...]`.
    """
    xp = outputs.__array_namespace__()
    total = xp.maximum(weights.sum(-1, keepdims=True), 1e-9)

    def centred(x):
        return weights * (x - (weights * x).sum(-1, keepdims=True) / total)

    x, y = centred(outputs), centred(targets)
    return (x * y).sum(-1) / (xp.sqrt((x * x).sum(-1) + eps) * xp.sqrt((y * y).sum(-1) + eps))


@dataclass(frozen=True)
class WindowPCC:
    """1 - r of every window, averaged over the windows (paper §3.2; the authors' systems 2, 3 and 5).

    Windows whose labels are constant or missing have no weight in the mean.

    Attributes:
      eps: added to each energy under its root, so that a constant output gives r = 0; the authors use none, and it
        gives NaN then.
    """

    eps: float = 1e-8
    whole_batch: ClassVar[bool] = False

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """`[example, time]` three times -> `[example]`."""
        return 1 - pearson(outputs, targets, weights, self.eps)

    def example_weights(self, targets: Array, weights: Array) -> Array:
        """`[example, time]` twice -> `[example]`: 1 where the labels vary, and 0 elsewhere, where r is not defined."""
        xp = targets.__array_namespace__()
        low = xp.where(weights > 0, targets, xp.inf).min(-1)
        high = xp.where(weights > 0, targets, -xp.inf).max(-1)
        return (high > low).astype(targets.dtype)


@dataclass(frozen=True)
class BatchPCC:
    """1 - r over all windows of the batch as one long sequence (the authors' system 1).

    Attributes:
      eps: added to each energy under its root, so that a constant output gives r = 0.
    """

    eps: float = 1e-8
    whole_batch: ClassVar[bool] = True

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """`[example, time]` three times -> `[]`."""
        return 1 - pearson(outputs.ravel(), targets.ravel(), weights.ravel(), self.eps)


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy of one class per example (paper §3.1.2)."""

    whole_batch: ClassVar[bool] = False

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """`[example, class]` logits, `[example]` class indices, `[example]` -> `[example]`."""
        xp = outputs.__array_namespace__()
        shifted = outputs - outputs.max(-1, keepdims=True)
        own = xp.take_along_axis(shifted, targets.astype(xp.int32)[:, None], axis=-1)[:, 0]
        return xp.log(xp.exp(shifted).sum(-1)) - own

    def example_weights(self, targets: Array, weights: Array) -> Array:
        """`[example]` the weights, as they are."""
        return weights


@dataclass(frozen=True)
class RootMeanSquare:
    """The root of the mean squared error of each example, averaged over the examples (auDeep).

    Attributes:
      eps: added under the root, whose slope at 0 has no end.
    """

    eps: float = 1e-12
    whole_batch: ClassVar[bool] = False

    def __call__(self, outputs: Array, targets: Array, weights: Array) -> Array:
        """`[example, time, band]` twice, `[example]` -> `[example]`."""
        xp = outputs.__array_namespace__()
        return xp.sqrt(((outputs - targets) ** 2).mean((1, 2)) + self.eps)

    def example_weights(self, targets: Array, weights: Array) -> Array:
        """`[example]` the weights, as they are."""
        return weights


LOSSES = {
    "window_pcc": WindowPCC,
    "batch_pcc": BatchPCC,
    "cross_entropy": CrossEntropy,
    "root_mean_square": RootMeanSquare,
}
