"""Measures over whole predictions, in float64: a number, or `Undefined` with the reason."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve


class Undefined(Exception):
    """The measure has no value for this input; the message says why in words fit for a report."""


def defined(compute: Callable[[], Any], figure: str, undefined: dict[str, str]) -> Any:
    """What `compute` returns; None, with the reason in `undefined[figure]`, where there is no such figure."""
    try:
        return compute()
    except Undefined as reason:
        undefined[figure] = str(reason)
        return None


def _pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if truth.shape != prediction.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} must be equal, [row]")
    if len(truth) < 2:
        raise Undefined(f"{len(truth)} labels, at least 2 are needed")
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        raise Undefined("a value is NaN or infinite")
    return truth, prediction


def pcc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation coefficient of two `[row]` series.

    Raises:
      Undefined: fewer than 2 rows, a constant series, or a value that is not finite.
    """
    x, y = _pair(truth, prediction)
    for name, series in (("truth", x), ("prediction", y)):
        if np.ptp(series) == 0:
            raise Undefined(f"the {name} is constant")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def ccc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Lin's concordance correlation coefficient of two `[row]` series, with population variances.

    Raises:
      Undefined: fewer than 2 rows, a constant series, or a value that is not finite.

    Reference: Lin, Biometrics 45 (1989): 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2).
    """
    r = pcc(truth, prediction)
    x, y = _pair(truth, prediction)
    return float(2 * r * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root of the mean squared error of two `[row]` series, in the unit of the labels.

    Raises:
      Undefined: fewer than 2 rows, or a value that is not finite.
    """
    x, y = _pair(truth, prediction)
    return float(np.sqrt(np.mean((x - y) ** 2)))


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts `[true class, predicted class]` of two `[row]` series of class indices."""
    cells = np.asarray(truth, int) * classes + np.asarray(predicted, int)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def recalls(counts: np.ndarray) -> np.ndarray:
    """The share of each true class that was found, `[class]`, from a confusion matrix.

    Raises:
      Undefined: a class has no row.
    """
    rows = counts.sum(1)
    if not rows.all():
        raise Undefined(f"no label of class {int(np.argmin(rows))} (of {len(rows)} classes)")
    return np.diag(counts) / rows


def uar(counts: np.ndarray) -> float:
    """Unweighted average recall from a confusion matrix.

    A class without a row makes it undefined: averaging over the others would be a figure on another scale.

    Raises:
      Undefined: a class has no row.
    """
    return float(recalls(counts).mean())


def accuracy(counts: np.ndarray) -> float:
    """The share of all rows that was right, from a confusion matrix.

    Raises:
      Undefined: no row at all.
    """
    if not counts.sum():
        raise Undefined("no label")
    return float(np.trace(counts) / counts.sum())


def _both_classes(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, score = np.asarray(truth, bool), np.asarray(score, np.float64)
    if truth.all() or not truth.any():
        raise Undefined("labels of one class only")
    if not np.isfinite(score).all():
        raise Undefined("a value is NaN or infinite")
    return truth, score


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of `[row]` scores for `[row]` truth of two classes.

    Raises:
      Undefined: labels of one class only, or a score that is not finite.
    """
    return float(roc_auc_score(*_both_classes(truth, score)))


def eer(truth: np.ndarray, score: np.ndarray) -> float:
    """Equal error rate: where the ROC curve, its points joined by lines, has as many misses as false alarms.

    Raises:
      Undefined: labels of one class only, or a score that is not finite.
    """
    false_alarms, hits, _ = roc_curve(*_both_classes(truth, score), drop_intermediate=False)
    gap = false_alarms - (1 - hits)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))


class Reliability(NamedTuple):
    """How sure and how right, in bins of the confidence; bins without a row are left out.

    Attributes:
      counts: `[bin]` rows.
      confidence: `[bin]` mean probability of the class that was chosen.
      accuracy: `[bin]` share of the rows whose class was the true one.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> Reliability:
    """Confidence and accuracy, which are equal in every bin where the probabilities mean what they say.

    Args:
      truth: `[row]` class indices.
      probabilities: `[row, class]`.
      bins: equally wide bins of the confidence between 0 and 1, each closed on its right.

    Raises:
      Undefined: no row, or rows that are no probabilities.

    Reference: Guo et al., ICML 2017; scikit-learn's calibration_curve has the same bins.
    """
    if not len(truth):
        raise Undefined("no label")
    if not (np.all(probabilities >= 0) and np.allclose(probabilities.sum(1), 1, atol=1e-4)):
        raise Undefined("the scores are no probabilities")
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == np.asarray(truth, int)
    bin_of = np.searchsorted(np.arange(1, bins) / bins, confidence)
    counts, sure, found = (np.bincount(bin_of, weights, minlength=bins) for weights in (None, confidence, right))
    held = counts > 0
    return Reliability(counts[held], sure[held] / counts[held], found[held] / counts[held])


def ece(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: how far confidence and accuracy of `reliability` differ, on average over rows.

    Raises:
      Undefined: as `reliability`.

    Reference: Guo et al., ICML 2017.
    """
    counts, confidence, found = reliability(truth, probabilities, bins)
    return float(np.average(np.abs(found - confidence), weights=counts))
