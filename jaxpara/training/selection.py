"""Which epoch's checkpoint is used, and the score and the loss that it may be chosen by."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxpara.evaluation.metrics import Undefined, official_score
from jaxpara.predictions import scores_of
from jaxpara.training.fit import Fit
from jaxpara.training.input import Examples

AT_ONCE = 1024  # examples
Epoch = Mapping[str, Any]


def best_epochs(
    by_fold: Sequence[Sequence[Epoch]], best_by: Literal["score", "loss"], *, common: bool
) -> list[dict[str, Any]]:
    """For each fold the best of its epochs, the first of equals.

    Args:
      by_fold: validated epochs, `{"epoch", "step", "score", "loss"}` each.
      best_by: the highest score (None is the lowest of all), or the lowest loss.
      common: the same epoch in every fold, the best by the mean over folds.

    Raises:
      LookupError, TypeError, ValueError, OverflowError: these are no epochs, as in a file that somebody edited.
    """

    def rank(epoch: Epoch) -> float:
        if best_by == "loss":
            return -float(epoch["loss"])
        return -np.inf if epoch["score"] is None else float(epoch["score"])

    if common:
        by_epoch = list(zip(*by_fold, strict=True))
        chosen = max(by_epoch, key=lambda epochs: float(np.mean([rank(epoch) for epoch in epochs])))
    else:
        chosen = [max(epochs, key=rank) for epochs in by_fold]
    return [{**epoch, "epoch": int(epoch["epoch"]), "step": int(epoch["step"])} for epoch in chosen]


def mean_loss(loss: Any, outputs: np.ndarray, examples: Examples) -> float:
    """The loss over all examples, from the outputs for each.

    Args:
      loss: one of `jaxpara.training.losses`.
      outputs: `[example, ...]` in the order of the examples.
      examples: what has the labels.
    """
    size = len(outputs) if loss.whole_batch else AT_ONCE
    total = count = 0.0
    for first in range(0, len(outputs), size):
        # In float64, and by NumPy: nothing is compiled for the number of examples, which is another one in each fold.
        part = outputs[first : first + size].astype(np.float64)
        labels = [examples.labels(index) for index in range(first, first + len(part))]
        targets, weights = (np.stack([pair[i] for pair in labels]).astype(np.float64) for i in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(loss(part, targets, weights))
        # A constant output has no r where the loss has no eps; it is worth as little as r = 0.
        values = np.where(np.isnan(values) & np.isfinite(part).all(), 1.0, values)
        if loss.whole_batch:
            return float(values)
        counts = loss.example_weights(targets, weights)
        total += float((np.where(counts > 0, values, 0) * counts).sum())
        count += float(counts.sum())
    return total / max(count, 1e-9)


def measured(fit: Fit, tuning: Examples, outputs: np.ndarray, loss: Any, *, score: bool) -> tuple[float | None, float]:
    """The official score over the whole concatenated tune part (None where it has none), and the mean loss.

    Args:
      tuning, outputs: all examples of the tune part, and the network's outputs for them.
      loss: one of `jaxpara.training.losses`.
      score: whether the outputs predict labels.
    """
    value = mean_loss(loss, outputs, tuning)
    if not score:
        return None, value
    predictions = tuning.merge(outputs, fit.fold.index, fit.fold.seed)
    truth = np.concatenate([recording.labels for recording in fit.recordings(fit.fold.val_names)])
    known = np.isfinite(truth)
    try:
        task = fit.corpus.task
        return official_score(task.measure, truth[known], scores_of(predictions)[known], len(task.classes)), value
    except Undefined:
        return None, value
