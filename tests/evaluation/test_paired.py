"""The statistics of two systems on the same rows, against loops over rows and over resamples."""

import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from jaxpara.evaluation import intervals, paired
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.scores import CorpusData, ScoredRows
from jaxpara.predictions import table_of, with_scores

BREATHING, MASK = (), ("clear", "mask")  # the classes of the task


def pearson(truth, prediction):
    return stats.pearsonr(truth, prediction)[0]


def rows(task, truth, scores, speakers):
    table = table_of(speakers, np.arange(len(truth)) / 25, np.full(len(truth), "test"), scores)
    kind, measure = ("classes", "UAR") if task else ("sequence", "PCC")
    data = CorpusData("", "", True, "", kind, measure, task, table, {})
    return ScoredRows(table.assign(speaker=speakers, truth=truth), data)


def changed(system, **columns):
    return replace(system, table=system.table.assign(**columns))


def select(system, mask):
    return replace(system, table=system.table[np.asarray(mask)])


def speakers_of(system):
    return system.table["speaker"].to_numpy(str)


def two(task, speakers=5, size=40, gain=0.5, seed=0):
    """Two systems on the same rows; the second sees the truth so much better. Speakers differ in size and quality."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(speakers), rng.integers(size // 2, size * 2, speakers))
    skill = rng.uniform(0.5, 1.5, speakers)[who]
    names = np.char.add("s", who.astype(str))
    if task == BREATHING:
        truth = rng.standard_normal(len(who))
        shared = rng.standard_normal(len(who))
        both = [
            scale * ((skill + g) * truth + shared + rng.standard_normal(len(who))) for scale, g in ((1, 0), (50, gain))
        ]
        return tuple(rows(task, truth, scores[:, None], names) for scores in both)
    truth = rng.integers(2, size=len(who)).astype(float)
    margins = [(skill + g) * (2 * truth - 1) + 2 * rng.standard_normal(len(who)) for g in (0, gain)]
    return tuple(rows(task, truth, np.stack([-m, m], 1), names) for m in margins)


def guesses(system):
    return system.scores[:, 0] if system.data.classes == BREATHING else system.scores.argmax(1)


BOTH = pytest.mark.parametrize(
    ("task", "by_rows"),
    [(BREATHING, pearson), (MASK, balanced_accuracy_score)],
    ids=["PCC", "UAR"],
)


@BOTH
def test_the_paired_bootstrap_equals_resampled_rows(task, by_rows):
    first, second = two(task)
    units = paired.pair(first, second)
    drawn = intervals.draws(units, 60, np.random.default_rng(4))
    names = np.unique(speakers_of(first))
    expected = []
    for counts in drawn:
        picks = [
            np.flatnonzero(speakers_of(first) == n)
            for n, times in zip(names, counts, strict=True)
            for _ in range(times)
        ]
        picks = np.concatenate(picks)
        of_first, of_second = (by_rows(s.truth[picks], guesses(s)[picks]) for s in (first, second))
        expected.append(of_first - of_second)
    values = intervals.bootstrap(paired.between(units), seed=4, resamples=60)
    np.testing.assert_allclose(values, expected, atol=1e-12)


@BOTH
def test_the_paired_jackknife_equals_leaving_speakers_out(task, by_rows):
    first, second = two(task)
    widest = 2 if task == BREATHING else 1

    def apart(mask):
        truth = first.truth[mask]
        return np.arctanh((by_rows(truth, guesses(first)[mask]) - by_rows(truth, guesses(second)[mask])) / widest)

    left_out = [apart(speakers_of(first) != name) for name in np.unique(speakers_of(first))]
    error = np.sqrt(4 / 5 * np.sum((left_out - np.mean(left_out)) ** 2))
    expected = widest * np.tanh(apart(np.full(len(first), True)) + np.array([-1, 1]) * stats.t(4).ppf(0.975) * error)
    found = paired.difference(("a", "b"), first, second)
    np.testing.assert_allclose(found.interval_95, expected, atol=1e-12)
    assert found.value == pytest.approx(first.value() - second.value())


@BOTH
def test_all_swaps_equal_a_loop_over_rows(task, by_rows):
    first, second = two(task, gain=0, seed=2)
    a, b = ((stats.zscore(guesses(s)) if task == BREATHING else guesses(s)) for s in (first, second))
    observed = abs(by_rows(first.truth, a) - by_rows(first.truth, b))
    names, as_large = np.unique(speakers_of(first)), 0
    for sides in product([False, True], repeat=len(names)):
        swap = np.isin(speakers_of(first), names[np.array(sides)])
        value = by_rows(first.truth, np.where(swap, b, a)) - by_rows(first.truth, np.where(swap, a, b))
        as_large += abs(value) >= observed - 1e-12
    assert 2 < as_large < 32  # neither the smallest nor the largest p
    assert paired.permutation_p(paired.pair(first, second)) == as_large / 32


def test_p_of_equal_sizes_equals_scipys_on_the_speakers_own_values():
    # With as many rows of each class from every speaker, UAR is the mean of the speakers' values.
    rng = np.random.default_rng(0)
    truth = np.tile(np.repeat([0.0, 1.0], 20), 8)
    names = np.char.add("s", np.repeat(np.arange(8), 40).astype(str))
    wrong = [rng.random(320) < level for level in (0.3, 0.33)]
    first, second = (rows(MASK, truth, np.eye(2)[np.where(w, 1 - truth, truth).astype(int)], names) for w in wrong)
    means = [1 - w.reshape(8, 40).mean(1) for w in wrong]
    expected = stats.permutation_test(
        means, lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert 0.02 < expected < 0.9
    assert paired.permutation_p(paired.pair(first, second)) == pytest.approx(expected, abs=1e-12)


@BOTH
def test_random_swaps_come_near_to_all(task, by_rows, monkeypatch):
    units = paired.pair(*two(task, speakers=10, gain=0.12))
    exact = paired.permutation_p(units)
    monkeypatch.setattr(paired, "MAX_UNITS_EXACT", 0)
    drawn = paired.permutation_p(units)
    assert 0.01 < exact < 0.9
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / paired.SWAPS)
    assert drawn != exact
    assert (drawn * (paired.SWAPS + 1)) == pytest.approx(round(drawn * (paired.SWAPS + 1)), abs=1e-6)


def test_p_does_not_depend_on_the_scale_of_a_system():
    first, second = two(BREATHING, gain=0.2)
    other = replace(second, table=with_scores(second.table, 3 + 1e-4 * second.scores))
    ps = [paired.permutation_p(paired.pair(first, system)) for system in (second, other)]
    assert ps[0] == ps[1]


@BOTH
def test_where_nothing_differs_p_is_spread_evenly(task, by_rows):
    ps = [paired.permutation_p(paired.pair(*two(task, speakers=9, gain=0, seed=seed))) for seed in range(300)]
    # Systems are alike here, so that p must be uniform on the multiples of 1/512; UAR has ties, which make it larger.
    for level in (0.05, 0.1, 0.25, 0.5):
        assert np.mean(np.array(ps) <= level) < level + 3 * np.sqrt(level * (1 - level) / 300)
    assert stats.kstest(ps, "uniform").pvalue > 0.01


@BOTH
def test_what_differs_is_found(task, by_rows):
    found = paired.difference(("a", "b"), *two(task, speakers=16, size=100, gain=1.5))
    assert found.value < 0
    assert found.interval_95[1] < 0
    assert found.interval_95_bootstrap[1] < 0
    assert found.p == pytest.approx(1 / 10_001)


@BOTH
def test_a_system_and_its_copy(task, by_rows):
    first, _ = two(task)
    found = paired.difference(("a", "copy"), first, first)
    assert (found.value, found.p) == (0, 1)
    np.testing.assert_allclose([found.interval_95, found.interval_95_bootstrap], 0, atol=1e-12)


def test_with_few_speakers_the_jackknife_covers_where_the_percentiles_do_not():
    hits = np.zeros(2)
    for seed in range(300):
        found = paired.pair(*two(MASK, speakers=4, size=200, gain=0, seed=seed))
        both = paired.between(found)
        bounds = (
            intervals.jackknife_interval(both, MEASURE["UAR"].line.of_differences()),
            intervals.bootstrap_interval(both, seed=seed, resamples=500),
        )
        hits += [low <= 0 <= high for low, high in bounds]
    jackknife, percentiles = hits / 300
    assert jackknife > 0.90
    assert percentiles < 0.85


@pytest.mark.parametrize("task", [BREATHING, MASK], ids=["PCC", "UAR"])
def test_without_speakers_samples_are_drawn_in_pairs(task):
    first, second = (changed(s, speaker="") for s in two(task, speakers=4, size=400))
    units = paired.pair(first, second)
    totals = np.split(units.copies @ units.sums, 2)
    for system, sums in zip((first, second), totals, strict=True):
        assert units.of_sums(sums) == pytest.approx(system.value(), abs=1e-12)
    if task == BREATHING:
        assert len(units) == len(
            first.table.assign(block=first.table["time_s"] // 10).drop_duplicates(["recording", "block"])
        )
        return
    assert len(units) == len(first)
    # McNemar's exchangeable pairs, drawn one by one.
    rng = np.random.default_rng(0)
    picks = rng.integers(len(first), size=(3000, len(first)))
    recall = [(guesses(s) == s.truth)[picks] for s in (first, second)]
    truth = first.truth[picks]
    uar = [0.5 * sum((r * (truth == c)).sum(1) / (truth == c).sum(1) for c in (0, 1)) for r in recall]
    values = intervals.bootstrap(paired.between(units), resamples=3000)
    assert np.std(values) == pytest.approx(np.std(uar[0] - uar[1]), rel=0.06)


def test_swapping_alike_rows_together_equals_swapping_each(monkeypatch):
    first, second = (changed(select(s, np.arange(len(s)) < 9), speaker="") for s in two(MASK, seed=3))
    units = paired.pair(first, second)
    assert (units.copies > 1).any()
    exact, observed, as_large = paired.permutation_p(units), abs(first.value() - second.value()), 0
    a, b = guesses(first), guesses(second)
    for sides in product([False, True], repeat=9):
        swap = np.array(sides)
        truth = first.truth
        value = balanced_accuracy_score(truth, np.where(swap, b, a)) - balanced_accuracy_score(
            truth, np.where(swap, a, b)
        )
        as_large += abs(value) >= observed - 1e-12
    assert exact == as_large / 2**9
    monkeypatch.setattr(paired, "MAX_UNITS_EXACT", 0)
    assert abs(paired.permutation_p(units) - exact) < 4 * np.sqrt(exact * (1 - exact) / paired.SWAPS) + 1e-4


def test_holm_on_known_numbers():
    # The worked example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm"), and one with the order mixed.
    assert paired.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert paired.holm([0.04, 0.001, 0.3, 0.012]) == pytest.approx([0.08, 0.004, 0.3, 0.036])
    assert paired.holm([0.6, 0.7]) == [1, 1]
    assert paired.holm([0.2]) == [0.2]
    assert paired.holm([]) == []


def test_the_smallest_p():
    assert paired.smallest_p(5) == 2 / 32
    first, second = two(BREATHING, size=200, gain=3)
    assert paired.permutation_p(paired.pair(first, second)) == paired.smallest_p(5)


def test_undefined_figures_have_reasons():
    first, second = two(BREATHING)
    constant = changed(second, score_0=1.0)
    found = paired.difference(("a", "b"), first, constant)
    assert (found.value, found.interval_95, found.p) == (None, None, None)
    assert found.undefined["value"] == found.undefined["p"] == "b: the prediction is constant"
    found = paired.difference(("a", "b"), constant, second)
    assert found.undefined["p"] == "a: the prediction is constant"
    alone = paired.difference(("a", "b"), *(select(s, speakers_of(first) == "s0") for s in (first, second)))
    assert alone.value is not None
    assert (alone.interval_95, alone.interval_95_bootstrap, alone.p) == (None, None, None)
    assert alone.undefined["p"] == "one unit only, nothing to swap"
    masks = two(MASK)
    one_class = paired.difference(("a", "b"), *(select(s, s.truth == 0) for s in masks))
    assert one_class.undefined["value"] == "a: no label of class 1 (of 2 classes)"
    with pytest.raises(Undefined, match="one unit only"):
        paired.permutation_p(paired.pair(*(select(s, speakers_of(s) == "s1") for s in masks)))


def test_corpora_of_the_real_size_take_seconds():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(49 * 6000)
    who = np.repeat(np.arange(49), 6000).astype(str)
    belts = [rows(BREATHING, truth, truth[:, None] + rng.standard_normal((len(truth), 1)), who) for _ in range(2)]
    labels, clips = rng.integers(2, size=25_542).astype(float), rng.integers(32, size=25_542).astype(str)
    masks = [rows(MASK, labels, rng.random((25_542, 2)), clips) for _ in range(2)]
    for systems in (belts, masks):
        began = time.process_time()
        assert paired.difference(("a", "b"), *systems).undefined == {}
        assert time.process_time() - began < 5
