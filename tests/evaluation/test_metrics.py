"""Every measure against SciPy, scikit-learn or brute force, and nothing but a reason where there is no value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import pearsonr
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score, roc_auc_score

from jaxpara.evaluation import metrics
from jaxpara.evaluation.metrics import Undefined

SEEDS = range(5)


def series(seed, rows=500):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(rows)
    return truth, 0.3 * truth + rng.standard_normal(rows) + 7


def classes(seed, number=3, rows=400):
    rng = np.random.default_rng(seed)
    truth = rng.choice(number, rows, p=np.arange(1, number + 1) / sum(range(1, number + 1)))
    probabilities = rng.dirichlet(np.ones(number), rows) + 0.5 * np.eye(number)[truth]
    return truth, probabilities / probabilities.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_sequence_measures(seed):
    truth, prediction = series(seed)
    assert metrics.pcc(truth, prediction) == pytest.approx(pearsonr(truth, prediction)[0], abs=1e-12)
    covariance = np.cov(truth, prediction, bias=True)
    lin = 2 * covariance[0, 1] / (np.trace(covariance) + (truth.mean() - prediction.mean()) ** 2)
    assert metrics.ccc(truth, prediction) == pytest.approx(lin, abs=1e-12)
    assert metrics.rmse(truth, prediction) == pytest.approx(np.linalg.norm(truth - prediction) / 500**0.5)


def test_pcc_survives_a_large_offset_and_float32():
    truth, prediction = series(0)
    assert metrics.pcc(truth + 1e6, prediction) == pytest.approx(pearsonr(truth, prediction)[0], abs=1e-9)
    as_float32 = prediction.astype(np.float32)
    expected = pearsonr(truth, as_float32.astype(float))[0]
    assert metrics.pcc(truth, as_float32) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_pcc_ignores_offset_and_scale(offset, scale, seed):
    truth, prediction = series(seed, 40)
    assert metrics.pcc(truth, scale * prediction + offset) == pytest.approx(metrics.pcc(truth, prediction), abs=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_class_measures(seed):
    truth, probabilities = classes(seed)
    predicted = probabilities.argmax(1)
    counts = metrics.confusion(truth, predicted, 3)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, predicted))
    np.testing.assert_allclose(metrics.recalls(counts), recall_score(truth, predicted, average=None))
    assert metrics.uar(counts) == pytest.approx(balanced_accuracy_score(truth, predicted))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 9], ids=["ties", "no ties"])
def test_auc_and_eer(seed, decimals):
    truth, probabilities = classes(seed, 2)
    score = probabilities[:, 1].round(decimals)
    positive, negative = score[truth == 1], score[truth == 0]
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert metrics.auc(truth == 1, score) == pytest.approx(pairs.mean()) == pytest.approx(roc_auc_score(truth, score))
    # The curve's points by counting, the crossing by a root finder.
    thresholds = [np.inf, *sorted(set(score), reverse=True)]
    false_alarms = [np.mean(negative >= t) for t in thresholds]
    misses = [np.mean(positive < t) for t in thresholds]
    where = np.arange(len(thresholds))
    crossing = brentq(lambda x: np.interp(x, where, false_alarms) - np.interp(x, where, misses), 0, where[-1])
    assert metrics.eer(truth == 1, score) == pytest.approx(np.interp(crossing, where, misses), abs=1e-9)


def test_eer_of_perfect_and_of_inverted_scores():
    truth = np.array([False, False, True, True])
    assert metrics.eer(truth, np.array([0.1, 0.2, 0.8, 0.9])) == 0
    assert metrics.eer(truth, np.array([0.9, 0.8, 0.2, 0.1])) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_ece_bin_by_bin(seed):
    truth, probabilities = classes(seed)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (confidence > low) & (confidence <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert metrics.ece(truth, probabilities) == pytest.approx(expected)


def test_ece_of_a_sure_and_right_classifier_is_zero():
    assert metrics.ece(np.array([0, 1]), np.eye(2)) == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bins", [10, 15])
@pytest.mark.parametrize("decimals", [1, 9], ids=["on the edges", "between them"])
def test_reliability_is_the_calibration_curve_of_being_right(seed, bins, decimals):
    truth, probabilities = classes(seed, 2)
    second = probabilities[:, 1].round(decimals)
    probabilities = np.stack([1 - second, second], 1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    counts, sure, found = metrics.reliability(truth, probabilities, bins).values()
    expected_found, expected_sure = calibration_curve(right, confidence, n_bins=bins)
    np.testing.assert_allclose(sure, expected_sure, atol=1e-12)
    np.testing.assert_allclose(found, expected_found, atol=1e-12)
    assert counts.tolist() == [n for n in np.histogram(np.ceil(confidence * bins), np.arange(bins + 1) + 0.5)[0] if n]
    assert metrics.ece(truth, probabilities, bins) == pytest.approx(counts @ np.abs(sure - found) / len(truth))


def test_a_probability_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.array([[0.6, 0.4], [0.61, 0.39], [1.0, 0.0]])
    counts, confidence, accuracy = metrics.reliability(np.array([0, 1, 0]), probabilities, 5).values()
    assert counts.tolist() == [1, 1, 1]
    assert confidence.tolist() == [0.6, 0.61, 1]
    assert accuracy.tolist() == [1, 0, 1]


SERIES = np.arange(5.0)


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (lambda: metrics.pcc(SERIES[:1], SERIES[:1]), "1 labels"),
        (lambda: metrics.pcc(SERIES, np.full(5, 0.1)), "the prediction is constant"),
        (lambda: metrics.pcc(np.full(5, 0.1), SERIES), "the truth is constant"),
        (lambda: metrics.pcc(SERIES, SERIES * np.nan), "NaN or infinite"),
        (lambda: metrics.ccc(SERIES, np.full(5, 0.1)), "the prediction is constant"),
        (lambda: metrics.rmse(SERIES[:0], SERIES[:0]), "0 labels"),
        (lambda: metrics.uar(np.array([[3, 1], [0, 0]])), "no label of class 1"),
        (lambda: metrics.recalls(np.zeros((2, 2), int)), "no label of class 0"),
        (lambda: metrics.auc(np.ones(5), SERIES), "one class only"),
        (lambda: metrics.eer(np.zeros(5), SERIES), "one class only"),
        (lambda: metrics.eer(np.array([0, 1]), np.array([np.nan, 1])), "NaN or infinite"),
        (lambda: metrics.ece(np.zeros(1), np.array([[3.0, -2.0]])), "no probabilities"),
    ],
)
def test_undefined_is_a_reason_and_never_a_number(compute, reason):
    with pytest.raises(Undefined, match=reason):
        compute()


def test_series_of_unequal_length_are_a_bug():
    for measure in (metrics.pcc, metrics.ccc, metrics.rmse):
        with pytest.raises(ValueError, match=r"mismatch|inconsistent"):
            measure(SERIES, SERIES[1:])
