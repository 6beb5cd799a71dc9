"""Intervals from sums equal those from the rows themselves, and cost seconds where the rows would cost hours."""

import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from jaxpara.evaluation import intervals, units
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.units import Units

PCC, UAR = MEASURE["PCC"], MEASURE["UAR"]


def moments(truth, prediction, unit):
    return PCC.units(truth, [prediction[:, None]], unit)


def confusions(truth, predicted, unit, classes):
    return UAR.units(truth, [np.eye(classes)[predicted]], unit)


def single_rows(counts):
    """A unit of each row of a confusion matrix."""
    truth, predicted = (
        np.repeat(cells, np.ravel(counts).astype(int)) for cells in np.indices(np.shape(counts)).reshape(2, -1)
    )
    return confusions(truth, predicted, None, len(counts))


def sequence(speakers=6, rows=40, seed=0):
    """Truth, prediction and speaker of rows; speakers differ in how many they have and in quality."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(speakers), rng.integers(rows // 2, rows * 2, speakers))
    truth = rng.standard_normal(len(unit))
    skill = rng.uniform(0.5, 2, speakers)[unit]
    return truth, 5 + skill * truth + rng.standard_normal(len(unit)), unit


def classes(speakers=6, rows=40, number=2, seed=0):
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(speakers), rng.integers(rows // 2, rows * 2, speakers))
    truth = rng.integers(number, size=len(unit))
    right = rng.random(len(unit)) < rng.uniform(0.4, 0.9, speakers)[unit]
    return truth, np.where(right, truth, rng.integers(number, size=len(unit))), unit


def naive(measure, truth, prediction, unit, counts):
    """The measure of the rows of one resample, every unit repeated as often as it was drawn."""
    rows = np.concatenate([np.flatnonzero(unit == u) for u, times in enumerate(counts) for _ in range(times)])
    return measure(truth[rows], prediction[rows])


def pearson(truth, prediction):
    return stats.pearsonr(truth, prediction)[0]


@pytest.mark.parametrize(
    ("form", "by_rows", "data"),
    [
        (moments, pearson, sequence()),
        (lambda *d: confusions(*d, 2), balanced_accuracy_score, classes()),
        (lambda *d: confusions(*d, 3), balanced_accuracy_score, classes(number=3)),
    ],
    ids=["PCC", "UAR", "UAR of 3"],
)
def test_the_bootstrap_over_units_equals_resampled_rows(form, by_rows, data):
    drawn = intervals.draws(form(*data), 50, np.random.default_rng(3))
    assert (drawn.sum(1) == 6).all()
    expected = [naive(by_rows, *data, counts) for counts in drawn]
    values = intervals.bootstrap(form(*data), seed=3, resamples=50)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_bootstrap_over_rows_equals_resampled_rows():
    truth, predicted, _ = classes(rows=20, number=3)
    counts = confusion_matrix(truth, predicted)
    drawn = intervals.draws(single_rows(counts), 50, np.random.default_rng(3))
    assert (drawn.sum(1) == len(truth)).all()
    expected = [
        balanced_accuracy_score(np.repeat(np.repeat(range(3), 3), cells), np.repeat(np.tile(range(3), 3), cells))
        for cells in drawn
    ]
    values = intervals.bootstrap(single_rows(counts), seed=3, resamples=50)
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_bootstrap_over_rows_spreads_as_drawing_rows_one_by_one():
    truth, predicted, _ = classes(rows=60)
    drawn = confusions(truth, predicted, None, 2)
    picks = np.random.default_rng(0).integers(len(truth), size=(4000, len(truth)))
    one_by_one = [
        np.mean([np.mean(p[t == c] == c) for c in (0, 1)]) for t, p in zip(truth[picks], predicted[picks], strict=True)
    ]
    values = intervals.bootstrap(drawn, resamples=4000)
    assert np.std(values) == pytest.approx(np.std(one_by_one), rel=0.05)
    assert np.mean(values) == pytest.approx(np.mean(one_by_one), abs=6 * np.std(values) / 4000**0.5)


def test_the_percentile_interval():
    data = sequence()
    drawn = moments(*data)
    values = intervals.bootstrap(drawn, seed=5)
    assert intervals.bootstrap_interval(drawn, seed=5) == np.quantile(values, [0.025, 0.975]).tolist()
    assert intervals.bootstrap_interval(drawn, seed=6) != intervals.bootstrap_interval(drawn, seed=5)


def test_moments_keep_their_digits_beside_a_large_offset():
    truth, prediction, unit = sequence()
    moved = moments(truth + 1e5, prediction * 1e-6, unit)
    values = moved.of_sums(moved.sums)
    np.testing.assert_allclose(values, moved.of_sums(moments(truth, prediction, unit).sums), atol=1e-9)


@pytest.mark.parametrize(
    ("form", "measure", "by_rows", "line", "data"),
    [
        (moments, PCC, pearson, (np.arctanh, np.tanh), sequence()),
        (
            lambda *d: confusions(*d, 2),
            UAR,
            balanced_accuracy_score,
            (lambda p: np.log(p / (1 - p)), lambda z: 1 / (1 + np.exp(-z))),
            classes(),
        ),
    ],
    ids=["PCC", "UAR"],
)
def test_the_jackknife_equals_leaving_out_rows(form, measure, by_rows, line, data):
    truth, prediction, unit = data
    there, back = line
    left_out = [there(by_rows(truth[unit != u], prediction[unit != u])) for u in range(6)]
    error = np.sqrt(5 / 6 * np.sum((left_out - np.mean(left_out)) ** 2))
    centre = there(by_rows(truth, prediction))
    expected = back(centre + np.array([-1, 1]) * stats.t(5).ppf(0.975) * error)
    np.testing.assert_allclose(intervals.jackknife_interval(form(*data), measure.line), expected, atol=1e-12)


def test_the_jackknife_of_equal_rows_equals_that_of_a_list_of_them():
    counts = np.array([[5, 2], [3, 9]])
    rows = [[1.0, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1]]  # true, predicted, hits
    every_row = Units(np.repeat(rows, counts.ravel(), axis=0), np.ones(19, int), units.uar_of)
    grouped = intervals.jackknife_interval(single_rows(counts), UAR.line)
    np.testing.assert_allclose(grouped, intervals.jackknife_interval(every_row, UAR.line), atol=1e-12)


@pytest.mark.parametrize("unit", [None, np.arange(500)])
def test_each_class_takes_three_sums_however_many_there_are(unit):
    truth, predicted = np.random.default_rng(0).integers(100, size=(2, 500))
    assert confusions(truth, predicted, unit, 100).sums.shape[1] == 3 * 100  # and not 100 * 100


def test_a_cell_without_rows_changes_nothing():
    counts = np.array([[5, 0], [3, 9]])
    low, high = intervals.jackknife_interval(single_rows(counts), UAR.line)
    assert 0.5 < low < (1 + 9 / 12) / 2 < high < 1


def test_with_few_speakers_the_jackknife_covers_where_the_percentiles_do_not():
    rng = np.random.default_rng(0)
    hits = np.zeros(2)
    for seed in range(300):
        truth = rng.standard_normal((4, 100))
        skill = rng.uniform(0.4, 1.6, (4, 1))  # the population's r is 1 / sqrt(1 + 1 + 0.12)
        prediction = skill * truth + rng.standard_normal((4, 100))
        drawn = moments(truth.ravel(), prediction.ravel(), np.repeat(np.arange(4), 100))
        found = (
            intervals.jackknife_interval(drawn, PCC.line),
            intervals.bootstrap_interval(drawn, seed=seed, resamples=500),
        )
        hits += [low < 1 / 2.12**0.5 < high for low, high in found]
    jackknife, percentiles = hits / 300
    assert jackknife > 0.90
    assert percentiles < 0.85


SPEAKERS = {
    "one unit only": moments(*sequence(speakers=1)),
    "is undefined or at the limit": moments(np.arange(6.0), np.arange(6.0), np.arange(6) // 2),
    # Counts of the true classes, of the predicted ones, and of where both agree.
    "without one of the units": Units(
        np.array([[4.0, 0, 3, 1, 3, 0], [0, 6, 2, 4, 0, 4], [0, 6, 3, 3, 0, 3]]), np.ones(3, int), units.uar_of
    ),
}


@pytest.mark.parametrize("reason", SPEAKERS)
def test_no_jackknife_interval_without_a_base(reason):
    measure = UAR if reason.startswith("without") else PCC
    with pytest.raises(Undefined, match=reason):
        intervals.jackknife_interval(SPEAKERS[reason], measure.line)


def test_no_bootstrap_interval_without_a_base():
    with pytest.raises(Undefined, match="one unit only"):
        intervals.bootstrap_interval(SPEAKERS["one unit only"])
    with pytest.raises(Undefined, match=r"undefined in \d+% of the resamples"):
        intervals.bootstrap_interval(SPEAKERS["without one of the units"])


def test_a_constant_series_is_undefined_in_every_resample():
    drawn = moments(np.arange(40.0), np.full(40, 0.1), np.arange(40) // 10)
    assert np.isnan(intervals.bootstrap(drawn, resamples=20)).all()


def test_ten_thousand_resamples_of_the_real_corpora_take_seconds():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(49 * 6000)
    prediction = truth + rng.standard_normal(len(truth))
    labels, guesses = rng.integers(2, size=(2, 25_542))
    began = time.process_time()
    intervals.bootstrap_interval(moments(truth, prediction, np.arange(len(truth)) // 6000))
    intervals.bootstrap_interval(moments(truth, prediction, np.arange(len(truth)) // 250))
    drawn = confusions(labels, guesses, rng.integers(32, size=25_542), 2)
    intervals.bootstrap_interval(drawn)
    intervals.bootstrap_interval(confusions(labels, guesses, None, 2))
    assert time.process_time() - began < 5
