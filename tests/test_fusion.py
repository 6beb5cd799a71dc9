"""Fusions of two classes and of a belt, against plain loops over the candidates."""

import time

import audmetric
import numpy as np
import pytest
from made_up_members import PCC, ROWS, UAR, belt, belt_member, class_member, fuse, of_fold, table, weights_of
from sklearn.metrics import root_mean_squared_error

from jaxpara.errors import UserError
from jaxpara.evaluation.measures import MEASURE
from jaxpara.fusion import Best, Convex, Dirichlet, Grid, Mean, Select, average, correlations
from jaxpara.predictions import concatenate, model_name, scores_of, with_scores

GRID = np.array([(a, b, 100 - a - b) for a in range(101) for b in range(101 - a)]) / 100


def loop(candidates, members, fold):
    """r of every candidate, one after the other, with NumPy's own function."""
    truth = belt()[ROWS * fold : ROWS * (fold + 1)]
    scores = [of_fold(m[0], fold)[:, 0] for m in members]
    return np.array([np.corrcoef(np.dot(w, scores), truth)[0, 1] for w in candidates])


@pytest.fixture
def three():
    return belt_member(1, 1.5), belt_member(2, 2.0), belt_member(3, 3.0)


@pytest.fixture
def two():
    """Two members that predict classes; the rows of the second are in another order."""
    adam, (validation, test, truth) = class_member(1), class_member(2)
    order = np.random.default_rng(3).permutation(len(truth))
    return adam, (validation.iloc[order], test, truth[order])


def test_an_average_goes_by_row_and_an_ensemble_has_no_fold():
    both = average([table("ab", [[0.0], [1.0]], 0), table("ba", [[3.0], [4.0]], 1)])
    np.testing.assert_array_equal(scores_of(both), [[2.0], [2.0]])
    assert both[["fold", "seed"]].to_numpy().tolist() == [[-1, -1], [-1, -1]]
    same = average([table("a", [[1.0]], 3, 1), table("a", [[2.0]], 3, 1)])
    assert same[["fold", "seed"]].to_numpy().tolist() == [[3, 1]]
    assert average([table("a", [[1.0]], 3, 0), table("a", [[2.0]], 3, 1)])["fold"].item() == -1
    weighted = average([table("a", [[0.0, 1.0]], 0), table("a", [[1.0, 0.0]], 0)], [3, 1])
    np.testing.assert_allclose(scores_of(weighted), [[0.25, 0.75]])
    with pytest.raises(UserError, match="the first missing is a at 0 s"):
        average([table("a", [[0.0]], 0), table("b", [[0.0]], 0)])


def test_in_the_mean_every_trained_model_counts_the_same():
    validation = {"x": table("a", [[1.0]], 0), "y": table("a", [[3.0]], 0)}
    x = {(0, 0): table("t", [[0.0]], 0), (1, 0): table("t", [[2.0]], 1)}
    fused = Mean()(validation, {"x": x, "y": {(0, 0): table("t", [[7.0]], 0)}}, {}, PCC)
    assert scores_of(fused.validation).item() == 2
    assert scores_of(fused.test).item() == 3
    assert fused.model_weights == {"x": {(0, 0): 1 / 3, (1, 0): 1 / 3}, "y": {(0, 0): 1 / 3}}


def test_select_takes_the_member_with_the_best_mean_over_folds():
    weak, strong = class_member(1, skill=0.2), class_member(2, skill=2.0)
    fused = fuse(Select(), weak, strong, measure=UAR)
    assert fused.validation is strong[0]
    expected = np.mean([scores_of(part) for part in strong[1].values()], axis=0)
    np.testing.assert_allclose(scores_of(fused.test), expected)
    assert fused.searched_weights == {"m0": [0.0, 0.0], "m1": [1.0, 1.0]}


def test_the_cross_fitted_choice_of_a_fold_does_not_see_it():
    """The first member wins by fold 0 alone, the other is better on fold 1: each fold gets the choice of the other."""
    members = []
    for seed, skills in ((1, (6.0, 0.0)), (2, (0.0, 3.0))):
        validation, test, truth = class_member(seed, skill=0.0)
        skill = np.repeat(skills, 60)
        p = np.where(skill > 0, 1 / (1 + np.exp(-skill * (2 * truth - 1))), scores_of(validation)[:, 1])
        members.append((with_scores(validation, np.stack([1 - p, p], 1)), test, truth))
    fused = fuse(Select(), *members, measure=UAR)
    for fold, chosen in ((0, 1), (1, 0)):
        np.testing.assert_array_equal(of_fold(fused.cross_fitted, fold), of_fold(members[chosen][0], fold))


def test_select_ignores_rows_without_truth():
    one, other = class_member(1, skill=0.5), class_member(2, skill=1.0)
    truth = one[2].copy()
    truth[::3] = np.nan
    fused = fuse(Select(), one, other, truth=truth, measure=UAR)
    known = [np.isfinite(truth) & (one[0]["fold"] == f) for f in (0, 1)]
    values = [np.mean([UAR.gain_of(truth[rows], scores_of(m[0][rows])) for rows in known]) for m in (one, other)]
    assert fused.validation is (one, other)[int(np.argmax(values))][0]


@pytest.mark.parametrize("fusion", [Select(), Grid()])
@pytest.mark.parametrize("folds", [(0,), (3,)])
def test_one_fold_has_nothing_cross_fitted(fusion, folds):
    assert fuse(fusion, class_member(1, folds), class_member(2, folds), measure=UAR).cross_fitted is None


def test_the_grid_finds_what_a_plain_search_finds(two):
    adam, sgd = two[0], class_member(2)
    fused = fuse(Grid(points=41), *two, measure=UAR)
    for fold in (0, 1):
        truth = adam[2][adam[0]["fold"] == fold]
        a = np.linspace(0, 1, 41)
        values = [UAR.gain_of(truth, w * of_fold(adam[0], fold) + (1 - w) * of_fold(sgd[0], fold)) for w in a]
        best = a[int(np.argmax(values))]
        np.testing.assert_allclose(weights_of(fused, fold), [best, 1 - best])
        assert UAR.gain_of(truth, of_fold(fused.validation, fold)) == pytest.approx(max(values))
    # The test partition gets the mean of both folds' combinations, cross-fitted folds the weights of the other.
    combined = [sum(w * scores_of(m[1][f, 0]) for w, m in zip(weights_of(fused, f), two, strict=True)) for f in (0, 1)]
    np.testing.assert_allclose(scores_of(fused.test), np.mean(combined, axis=0))
    a, b = weights_of(fused, 1)
    np.testing.assert_allclose(of_fold(fused.cross_fitted, 0), a * of_fold(adam[0], 0) + b * of_fold(sgd[0], 0))


def test_best_takes_one_member_per_fold(two):
    fused = fuse(Best(), *two, measure=UAR)
    for fold in (0, 1):
        values = [UAR.gain_of(m[2][m[0]["fold"] == fold], of_fold(m[0], fold)) for m in two]
        np.testing.assert_array_equal(weights_of(fused, fold), np.eye(2)[int(np.argmax(values))])


def test_members_that_do_not_fit_together_are_refused(two):
    with pytest.raises(UserError, match=r"fold 0 has only \['m0'\]"):
        fuse(Best(), two[0], class_member(2, folds=(1,)), measure=UAR)
    validation, *rest = class_member(2)
    with pytest.raises(UserError, match=r"predictions 2 of 2: 1 scores per row, the first has 2;"):
        fuse(Best(), two[0], (with_scores(validation, scores_of(validation)[:, 1:]), *rest), measure=UAR)
    for fusion in (Mean(), Best()):
        with pytest.raises(UserError, match=r"fold 0 of m0, m1: .* 1 missing; .*; give the members the same folds, or"):
            fuse(fusion, two[0], (validation[1:], *rest), measure=UAR)
    with pytest.raises(UserError, match="'grid', which is for 2 members, not 1"):
        fuse(Grid(), two[0], measure=UAR)
    with pytest.raises(UserError, match=r"config\.fusion\.points is 1, expected at least 2"):
        fuse(Grid(points=1), *two, measure=UAR)
    with pytest.raises(UserError, match="each row has 2, one per class: try 'dirichlet'"):
        fuse(Convex(), two[0])


def test_seeds_of_one_fold_are_not_cross_fitted_on_each_other(two):
    """Two seeds of two folds: the weights of a fold come from both models of the other one, not from its twin."""
    twins = []
    for validation, test, truth in two:
        again = with_scores(validation.assign(seed=1), scores_of(validation)[::-1])
        twins.append(
            (
                concatenate([validation, again]),
                test | {(f, 1): part.assign(seed=1) for (f, _), part in test.items()},
                np.tile(truth, 2),
            )
        )
    fused = fuse(Grid(), *twins, measure=UAR)
    keys = [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert list(fused.model_weights["m0"]) == keys
    assert [model_name(key) for key in keys] == ["0", "1", "0, seed 1", "1, seed 1"]
    for fold, seed in keys:
        weights = [(of[1 - fold] + of[3 - fold]) / 2 for of in fused.searched_weights.values()]
        parts = [m[0][(m[0]["fold"] == fold) & (m[0]["seed"] == seed)] for m in twins]
        np.testing.assert_allclose(of_fold(fused.cross_fitted, fold, seed), scores_of(average(parts, weights)))
    only = [(v[v["fold"] == 0], {k: p for k, p in t.items() if k[0] == 0}, y[v["fold"] == 0]) for v, t, y in twins]
    assert fuse(Grid(), *only, measure=UAR).cross_fitted is None


def test_a_thousand_draws_find_what_a_loop_over_them_finds(three):
    fusion = Dirichlet(seed=5)
    candidates = fusion.candidates(3)
    assert candidates.shape == (1000, 3)
    np.testing.assert_allclose(candidates.sum(1), 1)
    fused = fuse(fusion, *three)
    for fold in (0, 1):
        expected = candidates[np.argmax(loop(candidates, three, fold))]
        np.testing.assert_array_equal(weights_of(fused, fold), expected)
        combined = sum(w * of_fold(m[0], fold) for w, m in zip(expected, three, strict=True))
        np.testing.assert_allclose(of_fold(fused.validation, fold), combined)


def test_classes_are_searched_by_the_measure_that_is_given():
    members = [class_member(seed, folds=(0,), skill=0.7) for seed in range(4)]
    fusion, truth = Dirichlet(50, seed=3), members[0][2]
    fused = fuse(fusion, *members, measure=UAR)
    scores = np.stack([scores_of(m[0]) for m in members])
    values = [UAR.gain_of(truth, np.tensordot(row, scores, 1)) for row in fusion.candidates(4)]
    np.testing.assert_array_equal(weights_of(fused), fusion.candidates(4)[np.argmax(values)])
    assert (
        UAR.gain_of(truth, scores_of(fused.validation)) == max(values) > max(UAR.gain_of(truth, own) for own in scores)
    )


def test_the_seed_determines_the_draws_and_alpha_their_spread(three):
    weights = [fuse(Dirichlet(seed=seed), *three).searched_weights for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]
    even, near = Dirichlet(seed=1).candidates(3), Dirichlet(alpha=50.0, seed=1).candidates(3)
    # The variance of one weight is (k - 1) / (k^2 (k alpha + 1)) for k members.
    np.testing.assert_allclose([even.var(0).mean(), near.var(0).mean()], [2 / 36, 2 / (9 * 151)], rtol=0.1)
    for fields in ({"draws": 0}, {"alpha": 0.0}, {"alpha": float("nan")}):
        with pytest.raises(UserError, match="expected both above 0"):
            Dirichlet(**fields, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_convex_weights_are_the_best_of_the_whole_simplex(seed):
    members = belt_member(seed, 1.5), belt_member(seed + 10, 2.5, sign=seed - 1), belt_member(seed + 20, 1.0)
    fused = fuse(Convex(), *members)
    for fold in (0, 1):
        weights, on_grid = weights_of(fused, fold), loop(GRID, members, fold)
        found = loop([weights], members, fold)[0]
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        assert on_grid.max() <= found + 1e-12
        assert on_grid.max() == pytest.approx(found, abs=1e-4)
        np.testing.assert_allclose(weights, GRID[np.argmax(on_grid)], atol=0.02)


def test_convex_without_a_positive_correlation_is_the_best_single_member():
    members = [belt_member(seed, noise, sign=-1.0) for seed, noise in ((1, 1.0), (2, 3.0), (3, 2.0))]
    fused = fuse(Convex(), *members)
    for fold in (0, 1):
        values = loop(GRID, members, fold)
        assert values.max() < 0
        np.testing.assert_array_equal(weights_of(fused, fold), GRID[np.argmax(values)])


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex()])
def test_one_member_and_a_member_twice(three, fusion):
    fused = fuse(fusion, three[0])
    assert fused.searched_weights == {"m0": [1.0, 1.0]}
    np.testing.assert_array_equal(scores_of(fused.validation), scores_of(three[0][0]))
    one, other = three[:2]
    twice = loop([weights_of(fuse(fusion, one, one, other))], (one, one, other), 0)[0]
    best = loop([weights_of(fuse(Convex(), one, other))], (one, other), 0)[0]
    assert twice == pytest.approx(best, abs=1e-4 if isinstance(fusion, Dirichlet) else 1e-12)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex(), Best()])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_constant_member_has_no_correlation_and_does_no_harm(three, fusion, level):
    good = three[0]
    flat = (with_scores(good[0], np.full((2 * ROWS, 1), level)), *good[1:])
    alone = PCC.gain_of(belt()[:ROWS], of_fold(good[0], 0))
    for place, members in enumerate([(flat, good), (good, flat)]):
        fused = fuse(fusion, *members)
        assert PCC.gain_of(belt()[:ROWS], of_fold(fused.validation, 0)) == pytest.approx(alone, abs=1e-9)
        if not isinstance(fusion, Dirichlet):
            assert weights_of(fused)[place] == 0
    # Nothing to choose from: some weights come out, and the score is not defined.
    both = fuse(fusion, flat, flat)
    assert weights_of(both).sum() == pytest.approx(1)
    np.testing.assert_allclose(scores_of(both.validation), level)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex()])
def test_searches_ignore_rows_without_truth(three, fusion):
    known = np.arange(2 * ROWS) % 3 > 0
    wild = [with_scores(m[0], np.where(known[:, None], scores_of(m[0]), 1e3 * i)) for i, m in enumerate(three)]
    gaps = np.where(known, belt(), np.nan)
    with_gaps = fuse(fusion, *((v, m[1], gaps) for v, m in zip(wild, three, strict=True)))
    without = fuse(fusion, *((m[0][known], m[1], belt()[known]) for m in three))
    assert with_gaps.searched_weights == without.searched_weights
    assert len(with_gaps.validation) == len(known)


@pytest.mark.parametrize("name", ["RMSE", "CCC"])
@pytest.mark.parametrize("fusion", [Dirichlet(200, seed=0), Grid(points=21), Best(), Select()])
def test_numbers_are_searched_by_their_own_measure(fusion, name):
    members = belt_member(1, 1.0), belt_member(2, 0.2)
    loud = (with_scores(members[1][0], 9 * scores_of(members[1][0])), *members[1][1:])  # good for Pearson's r only
    fused = fuse(fusion, members[0], loud, measure=MEASURE[name])
    better = {"RMSE": root_mean_squared_error, "CCC": lambda t, y: -audmetric.concordance_cc(t, y)}[name]
    for fold in range(2):
        truth, scores = (
            belt()[ROWS * fold : ROWS * (fold + 1)],
            np.stack([of_fold(m[0], fold) for m in (members[0], loud)]),
        )
        tried = np.eye(2) if isinstance(fusion, Select) else fusion.candidates(2)
        errors = [better(truth, (w @ scores[..., 0])) for w in tried]
        np.testing.assert_allclose(weights_of(fused, fold), tried[int(np.argmin(errors))])
    by_r = fuse(fusion, members[0], loud, measure=PCC)
    assert weights_of(by_r)[1] > weights_of(fused)[1]


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_correlations_of_all_candidates_are_the_official_measure_of_each(three, offset):
    candidates = Dirichlet(200, seed=1).candidates(3)
    truth, scores = belt(), offset + np.stack([scores_of(m[0])[:, 0] for m in three])
    expected = [PCC.gain_of(truth, (w @ scores)[:, None]) for w in candidates]
    np.testing.assert_allclose(correlations(candidates, truth, scores), expected, rtol=0, atol=1e-12)


def test_a_fold_of_the_whole_corpus_takes_less_than_a_second():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=54_000)
    scores = truth[:, None] + rng.normal(size=(3, 54_000, 1))
    for fusion in (Dirichlet(seed=0), Convex()):
        began = time.process_time()
        fusion.search(truth, scores, PCC)
        assert time.process_time() - began < 1


def test_without_a_test_partition_there_is_nothing_to_average():
    validation, test, truth = belt_member(0)
    none = {key: part[:0] for key, part in test.items()}
    fused = fuse(Mean(), (validation, none, truth), (validation, none, truth))
    assert fused.test.empty
    assert list(fused.test) == list(validation)
