"""The measures that a task can have, by name in `MEASURE`: their values, intervals, chance levels and directions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxpara.evaluation import metrics, units
from jaxpara.evaluation.intervals import CORRELATION, ERROR, SHARE, Line
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.units import Units


@dataclass(frozen=True)
class Measure:
    """A measure of predictions.

    Attributes:
      value: computes it from `[row]` truth and `[row, score]` scores; raises `Undefined` where it has no value.
      units: makes `Units` for its intervals from truth, the scores of each system, and the unit of each row.
      line: its range, and the line on which its intervals are computed.
      chance: computes, from `[row]` truth and the number of classes, the best score that is possible without looking at
        the recordings.
      percent: True if people write it in percent, and differences in points.
      smaller_is_better: True for errors.
    """

    name: str
    value: Callable[[np.ndarray, np.ndarray], float]
    units: Callable[[np.ndarray, Sequence[np.ndarray], Any], Units]
    line: Line
    chance: Callable[[np.ndarray, int], float]
    percent: bool = False
    smaller_is_better: bool = False

    def gain(self, value: float | None) -> float:
        """Return a number that is larger the better a score or a difference is; the lowest where there is none.

        Everything that chooses by a score (an epoch, a C, weights) uses this number; people see the score.
        """
        if value is None:
            return -np.inf
        return -value if self.smaller_is_better else value

    def gain_of(self, truth: np.ndarray, scores: np.ndarray) -> float:
        """Compute the `gain` of predictions; an undefined score, as of constant predictions, is the lowest."""
        try:
            return self.gain(self.value(truth, scores))
        except Undefined:
            return self.gain(None)


def _of_confusion(measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    def of_scores(truth: np.ndarray, scores: np.ndarray) -> float:
        metrics.require_finite(scores)  # of which argmax takes NaN for the largest
        return measure(metrics.confusion(truth, scores.argmax(1), scores.shape[1]))  # of equal scores the first

    return of_scores


def _of_numbers(measure: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda truth, scores: measure(truth, scores[:, 0])


def _one_of_classes(truth: np.ndarray, classes: int) -> float:
    # Of F1 too: guessing classes as often as they occur gives each class an F1 of its frequency, and no other
    # frequencies of guesses have a higher mean.
    return 1 / classes


def _largest_class(truth: np.ndarray, classes: int) -> float:
    return float(np.bincount(truth.astype(int)).max() / len(truth))


def _none(truth: np.ndarray, classes: int) -> float:
    return 0.0


MEASURE: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("UAR", _of_confusion(metrics.uar), units.UAR, SHARE, _one_of_classes, percent=True),
        Measure("F1", _of_confusion(metrics.macro_f1), units.F1, SHARE, _one_of_classes, percent=True),
        Measure("accuracy", _of_confusion(metrics.accuracy), units.ACCURACY, SHARE, _largest_class, percent=True),
        Measure("AUC", metrics.mean_auc, units.AUC, SHARE, lambda truth, classes: 0.5),
        Measure("CCC", _of_numbers(metrics.ccc), units.CCC, CORRELATION, _none),
        Measure("PCC", _of_numbers(metrics.pcc), units.PCC, CORRELATION, _none),
        # The mean of all labels, predicted for every recording, has their standard deviation as its error.
        Measure(
            "RMSE", _of_numbers(metrics.rmse), units.RMSE, ERROR, lambda t, _: float(np.std(t)), smaller_is_better=True
        ),
        Measure("Spearman", _of_numbers(metrics.spearman), units.SPEARMAN, CORRELATION, _none),
    )
}
