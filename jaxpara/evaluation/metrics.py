"""Measures of whole predictions, in float64: each returns a number, or raises `Undefined` with the reason.

Undefined are too few rows, a class without rows, a constant series, NaN and infinite values.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score, roc_curve, root_mean_squared_error


class Undefined(Exception):
    """The measure has no value for this input; the message is the reason, as it appears in a report."""


def defined(undefined: dict[str, str], figure: str, compute: Callable[..., Any], *args: Any) -> Any:
    """Return `compute(*args)`; None, with the reason in `undefined[figure]`, where it is undefined."""
    try:
        return compute(*args)
    except Undefined as reason:
        undefined[figure] = str(reason)
        return None


def require_finite(*values: np.ndarray) -> None:
    """Raise `Undefined` if a value is NaN or infinite."""
    if not all(np.isfinite(each).all() for each in values):
        raise Undefined("a value is NaN or infinite")


def _pair(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if len(truth) < 2:
        raise Undefined(f"{len(truth)} labels, at least 2 are needed")
    require_finite(truth, prediction)
    return truth, prediction


def pcc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Compute Pearson's correlation coefficient of two `[row]` series; undefined if one is constant."""
    x, y = _pair(truth, prediction)
    for name, series in (("truth", x), ("prediction", y)):
        if np.ptp(series) == 0:  # exactly, as the rounded variance of a constant need not be 0
            raise Undefined(f"the {name} is constant")
    # Not scipy.stats.pearsonr, which computes the same but warns of nearly constant series.
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def ccc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Compute Lin's concordance correlation coefficient of two `[row]` series, with population variances.

    Reference: Lin, Biometrics 45 (1989): 2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2).
    """
    r = pcc(truth, prediction)
    x, y = _pair(truth, prediction)
    return float(2 * r * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def rmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Compute the root mean squared error of two `[row]` series, in the unit of the labels."""
    return float(root_mean_squared_error(*_pair(truth, prediction)))


def spearman(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two `[row]` series, with mean ranks of equal values."""
    # Not scipy.stats.spearmanr, which computes the same but warns of constant series.
    return pcc(*(rankdata(series) for series in _pair(truth, prediction)))


def confusion(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Count rows by `[true class, predicted class]`, from two `[row]` series of class indices."""
    # scikit-learn's confusion_matrix takes 50 times as long, and fusions call this for thousands of weights.
    cells = np.asarray(truth, int) * n_classes + np.asarray(predicted, int)
    return np.bincount(cells, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Compute the recall of each class, `[class]`, from a confusion matrix; undefined if a class has no row."""
    rows = counts.sum(1)
    if not rows.all():
        raise Undefined(f"no label of class {int(np.argmin(rows))} (of {len(rows)} classes)")
    return np.diag(counts) / rows


def uar(counts: np.ndarray) -> float:
    """Compute the unweighted average recall from a confusion matrix; undefined if a class has no row."""
    # scikit-learn averages over the other classes, which is a figure on another scale.
    return float(recalls(counts).mean())


def macro_f1(counts: np.ndarray) -> float:
    """Compute the unweighted average of the classes' F1 from a confusion matrix; undefined if a class has no row."""
    recalls(counts)  # scikit-learn gives such a class an F1 of 0
    return float(np.mean(2 * np.diag(counts) / (counts.sum(0) + counts.sum(1))))


def accuracy(counts: np.ndarray) -> float:
    """Compute the share of right predictions from a confusion matrix; undefined without rows."""
    if not counts.any():
        raise Undefined("0 labels, at least 1 is needed")
    return float(np.trace(counts) / counts.sum())


def _both_classes(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, score = np.asarray(truth, bool), np.asarray(score, np.float64)
    if truth.all() or not truth.any():
        raise Undefined("labels of one class only")
    require_finite(score)
    return truth, score


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Compute the area under the ROC curve of `[row]` scores for `[row]` truth of two classes."""
    return float(roc_auc_score(*_both_classes(truth, score)))


def mean_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Compute the AUC of `[row, class]` scores for `[row]` class indices.

    It is that of the second class where there are two, else the mean of each class against all others. Undefined if a
    class has no row.
    """
    if scores.shape[1] == 2:
        return auc(truth == 1, scores[:, 1])
    recalls(confusion(truth, truth, scores.shape[1]))  # names a class without rows
    # roc_auc_score(multi_class="ovr") computes the same, but refuses scores that are no probabilities.
    return float(np.mean([auc(truth == index, column) for index, column in enumerate(scores.T)]))


def eer(truth: np.ndarray, score: np.ndarray) -> float:
    """Compute the equal error rate: where the linearly interpolated ROC curve has as many misses as false alarms."""
    false_alarms, hits, _ = roc_curve(*_both_classes(truth, score), drop_intermediate=False)
    gap = false_alarms - (1 - hits)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_alarms[after - 1] + share * (false_alarms[after] - false_alarms[after - 1]))


def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> dict[str, np.ndarray]:
    """Compare confidence with accuracy, which are equal in every bin where the probabilities are calibrated.

    Args:
      truth: `[row]` class indices.
      probabilities: `[row, class]`.
      bins: equally wide bins of the confidence between 0 and 1, each closed on its right.

    Returns:
      `counts` (rows), `confidence` (mean probability of the predicted class) and `accuracy` (share of the rows whose
      class was predicted), `[bin]` without empty bins.

    Reference: Guo et al., ICML 2017; scikit-learn's calibration_curve has the same bins, but no counts.
    """
    if not (np.all(probabilities >= 0) and np.allclose(probabilities.sum(1), 1, atol=1e-4)):
        raise Undefined("the scores are no probabilities")
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == np.asarray(truth, int)
    bin_of = np.searchsorted(np.arange(1, bins) / bins, confidence)
    counts, confident, correct = (np.bincount(bin_of, w, minlength=bins) for w in (None, confidence, right))
    filled = counts > 0
    counts, confident, correct = counts[filled], confident[filled], correct[filled]
    return {"counts": counts, "confidence": confident / counts, "accuracy": correct / counts}


def ece(truth: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> float:
    """Compute the expected calibration error (Guo et al., 2017): the mean distance of both in `reliability`."""
    found = reliability(truth, probabilities, bins)
    return float(np.average(np.abs(found["accuracy"] - found["confidence"]), weights=found["counts"]))
