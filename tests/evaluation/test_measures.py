"""Every measure against scikit-learn, SciPy or audmetric; its resamples, jackknife and swaps against loops."""

import time
import warnings
from itertools import product

import audmetric
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    mean_squared_error,
    roc_auc_score,
)

from jaxpara.corpora.tasks import MEASURES
from jaxpara.evaluation import intervals, paired
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.metrics import Undefined


def auc(truth, scores):
    if scores.shape[1] == 2:
        return roc_auc_score(truth, scores[:, 1])
    return roc_auc_score(truth, scores / scores.sum(1, keepdims=True), multi_class="ovr")


OTHERS = {
    "UAR": lambda t, s: balanced_accuracy_score(t, s.argmax(1)),
    "F1": lambda t, s: f1_score(t, s.argmax(1), average="macro"),
    "accuracy": lambda t, s: accuracy_score(t, s.argmax(1)),
    "AUC": auc,
    "CCC": lambda t, s: audmetric.concordance_cc(t, s[:, 0]),
    "PCC": lambda t, s: audmetric.pearson_cc(t, s[:, 0]),
    "RMSE": lambda t, s: mean_squared_error(t, s[:, 0]) ** 0.5,
    "Spearman": lambda t, s: stats.spearmanr(t, s[:, 0])[0],
}
OF_CLASSES = MEASURES["classes"]
CASES = [
    (name, classes, ties) for name in OTHERS for classes in ((2, 4) if name in OF_CLASSES else (0,)) for ties in (0, 1)
]
EACH = pytest.mark.parametrize(("name", "classes", "ties"), CASES)


def rows(classes, ties, speakers=6, size=40, seed=0, systems=1):
    """Truth, the scores of systems and the speaker of rows; speakers differ in size and quality."""
    rng = np.random.default_rng([seed, classes])
    unit = np.repeat(np.arange(speakers), rng.integers(size // 2, size * 2, speakers))
    skill = rng.uniform(0.3, 1.5, speakers)[unit]
    if classes:
        truth = rng.integers(classes, size=len(unit)).astype(float)
        found = [
            stats.zscore(skill[:, None] * np.eye(classes)[truth.astype(int)] + rng.gumbel(size=(len(unit), classes)))
            for _ in range(systems)
        ]
        found = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in found]
        if ties:
            found = [np.ceil(8 * s) / 8 for s in found]
    else:
        truth = rng.integers(1, 8, len(unit)).astype(float) if ties else 3 + 2 * rng.standard_normal(len(unit))
        found = [(skill * truth + 1 + rng.standard_normal(len(unit)))[:, None] for _ in range(systems)]
        if ties:
            found = [np.round(s) for s in found]
    return truth, found, unit


def test_the_registry_has_the_measures_of_all_tasks():
    assert {name for names in MEASURES.values() for name in names} == set(MEASURE) == set(OTHERS)


@EACH
def test_values(name, classes, ties):
    for seed in range(3):
        truth, (scores,), _ = rows(classes, ties, seed=seed)
        if name == "AUC" and classes > 2 and ties:  # rounded scores do not sum to 1
            binary = [roc_auc_score(truth == k, scores[:, k]) for k in range(classes)]
            assert MEASURE[name].value(truth, scores) == pytest.approx(np.mean(binary), abs=1e-12)
            continue
        assert MEASURE[name].value(truth, scores) == pytest.approx(OTHERS[name](truth, scores), abs=1e-9)


@EACH
def test_resamples_equal_resampled_rows(name, classes, ties):
    truth, (scores,), unit = rows(classes, ties)
    own = MEASURE[name]
    units = own.units(truth, [scores], unit)
    drawn = intervals.draws(units, 30, np.random.default_rng(3))
    picks = [np.repeat(np.arange(len(unit)), counts[unit]) for counts in drawn]
    expected = [own.value(truth[p], scores[p]) for p in picks]  # which is scikit-learn's, as above
    np.testing.assert_allclose(intervals.bootstrap(units, seed=3, resamples=30), expected, atol=1e-12)


@EACH
def test_every_row_can_be_a_unit(name, classes, ties):
    truth, (scores,), _ = rows(classes, ties, speakers=3, size=16)
    own = MEASURE[name]
    units = own.units(truth, [scores], None)
    assert len(units) == len(truth)
    left_out = [own.value(np.delete(truth, row), np.delete(scores, row, 0)) for row in range(len(truth))]
    on_line, n = own.line.to(np.array(left_out)), len(truth)
    error = np.sqrt((n - 1) / n * np.sum((on_line - on_line.mean()) ** 2))
    reach = np.array([-1, 1]) * stats.t(n - 1).ppf(0.975) * error
    expected = own.line.back(own.line.to(own.value(truth, scores)) + reach)
    np.testing.assert_allclose(intervals.jackknife_interval(units, own.line), expected, atol=1e-9)


@EACH
def test_the_jackknife_equals_leaving_speakers_out(name, classes, ties):
    truth, (scores,), unit = rows(classes, ties)
    own = MEASURE[name]
    on_line = own.line.to(np.array([own.value(truth[unit != u], scores[unit != u]) for u in range(6)]))
    error = np.sqrt(5 / 6 * np.sum((on_line - on_line.mean()) ** 2))
    reach = np.array([-1, 1]) * stats.t(5).ppf(0.975) * error
    expected = own.line.back(own.line.to(own.value(truth, scores)) + reach)
    found = intervals.jackknife_interval(own.units(truth, [scores], unit), own.line)
    np.testing.assert_allclose(found, expected, atol=1e-10)


@EACH
def test_paired_resamples_and_swaps_equal_loops_over_rows(name, classes, ties):
    truth, (a, b), unit = rows(classes, ties, systems=2, seed=2)
    own = MEASURE[name]
    units = own.units(truth, [a, b], unit)
    picks = [np.repeat(np.arange(len(unit)), c[unit]) for c in intervals.draws(units, 20, np.random.default_rng(4))]
    expected = [own.value(truth[p], a[p]) - own.value(truth[p], b[p]) for p in picks]
    values = intervals.bootstrap(paired.between(units), seed=4, resamples=20)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    if name == "PCC":
        a, b = stats.zscore(a), stats.zscore(b)
    elif name in ("AUC", "Spearman"):  # which ignore all but the order
        a, b = stats.rankdata(a, axis=0), stats.rankdata(b, axis=0)
    observed, as_large = abs(own.value(truth, a) - own.value(truth, b)), 0
    for sides in product([False, True], repeat=6):
        swap = np.array(sides)[unit][:, None]
        value = own.value(truth, np.where(swap, b, a)) - own.value(truth, np.where(swap, a, b))
        as_large += abs(value) >= observed - 1e-9
    assert paired.permutation_p(units) == as_large / 64


def test_few_and_many_swaps_of_a_measure_of_ranks_agree(monkeypatch):
    truth, systems, unit = rows(0, 0, systems=2, speakers=8)
    units = MEASURE["Spearman"].units(truth, systems, unit)
    exact = paired.permutation_p(units)
    monkeypatch.setattr(paired, "MAX_UNITS_EXACT", 0)
    assert abs(paired.permutation_p(units) - exact) < 4 * np.sqrt(exact * (1 - exact) / paired.SWAPS) + 1e-4


@pytest.mark.parametrize("scale", [1e-3, 1e6])
def test_an_error_keeps_the_unit_of_the_labels(scale):
    truth, (a, b), unit = rows(0, 0, systems=2)
    own = MEASURE["RMSE"]
    plain, scaled = (own.units(k * truth, [k * a, k * b], unit) for k in (1, scale))
    ours = [intervals.jackknife_interval(own.units(k * truth, [k * a], unit), own.line) for k in (1, scale)]
    np.testing.assert_allclose(np.divide(*ours[::-1]), scale)
    line = own.line.of_differences()
    ours = [intervals.jackknife_interval(paired.between(units), line) for units in (plain, scaled)]
    np.testing.assert_allclose(np.divide(*ours[::-1]), scale, rtol=1e-6)
    assert paired.permutation_p(plain) == paired.permutation_p(scaled)


@pytest.mark.parametrize("name", OTHERS)
def test_chance_is_what_a_guess_without_the_audio_reaches(name):
    classes = 3 if name in OF_CLASSES else 0
    truth, _, _ = rows(classes, 0, size=4000)
    truth = np.where(truth == 2, 1.0, truth) if name == "accuracy" else truth
    rng = np.random.default_rng(0)
    guesses = {
        "accuracy": np.tile(np.eye(3)[1], (len(truth), 1)),
        "RMSE": np.full((len(truth), 1), truth.mean()),
        "F1": np.eye(3)[rng.permutation(truth).astype(int)] if classes else None,
    }.get(name, rng.random((len(truth), max(classes, 1))))
    own = MEASURE[name]
    assert own.value(truth, guesses) == pytest.approx(own.chance(truth, classes), abs=0.02)


@pytest.mark.parametrize("name", OTHERS)
def test_gain_is_larger_for_the_better_and_lowest_for_none(name):
    truth, (scores,), _ = rows(4 if name in OF_CLASSES else 0, 0)
    perfect = np.eye(4)[truth.astype(int)] if name in OF_CLASSES else truth[:, None]
    own = MEASURE[name]
    assert own.gain_of(truth, perfect) > own.gain_of(truth, scores) > own.gain(None) == -np.inf
    assert own.gain(own.value(truth, scores)) == own.gain_of(truth, scores)
    assert own.gain_of(truth[:0], scores[:0]) == -np.inf


@pytest.mark.parametrize(
    ("name", "truth", "scores", "reason"),
    [
        ("F1", [0, 0, 1], np.eye(3), "no label of class 2"),
        ("AUC", [0, 0, 1], np.eye(3), "no label of class 2"),
        ("AUC", [1, 1], np.eye(2), "labels of one class only"),
        ("accuracy", [], np.zeros((0, 2)), "0 labels"),
        ("Spearman", [1, 2], [[3.0], [3.0]], "the prediction is constant"),
        ("Spearman", [1, 2], [[3.0], [np.nan]], "NaN or infinite"),
        ("UAR", [0, 1], [[np.nan, 0.4], [0.2, 0.8]], "NaN or infinite"),
        ("F1", [0, 1], [[0.6, 0.4], [0.2, np.inf]], "NaN or infinite"),
        ("accuracy", [0, 1], [[0.6, 0.4], [np.nan, np.nan]], "NaN or infinite"),
    ],
)
def test_undefined_values_have_reasons(name, truth, scores, reason):
    with pytest.raises(Undefined, match=reason):
        MEASURE[name].value(np.array(truth, float), np.array(scores))


@pytest.mark.parametrize("name", ["F1", "AUC", "CCC", "Spearman"])
def test_an_undefined_resample_is_nan_without_a_warning(name):
    truth = np.array([0.0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]) if name in OF_CLASSES else truth[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = intervals.bootstrap(MEASURE[name].units(truth, [scores], np.array([0, 0, 1, 1])), resamples=50)
    assert 0 < np.isnan(values).sum() < 50


@pytest.mark.parametrize("name", ["AUC", "Spearman"])
def test_ten_thousand_resamples_of_a_thousand_recordings_take_a_second(name):
    truth, (scores,), _ = rows(2 if name == "AUC" else 0, 0, speakers=10, size=90)
    assert len(truth) > 800
    began = time.process_time()
    intervals.bootstrap_interval(MEASURE[name].units(truth, [scores], None))
    assert time.process_time() - began < 5
