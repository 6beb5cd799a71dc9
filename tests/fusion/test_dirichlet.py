"""Random weights against plain loops; beside the exact ones, what both do with one member, equal and constant ones."""

import time

import numpy as np
import pytest
from belts import PCC, ROWS, belt, fuse, loop, member, weights_of, with_scores
from members import member as classes_member
from members import uar

from jaxpara.errors import UserError
from jaxpara.fusion.convex import Convex
from jaxpara.fusion.dirichlet import Dirichlet
from jaxpara.fusion.weighted import Best


@pytest.fixture
def three():
    return member(1, 1.5), member(2, 2.0), member(3, 3.0)


def test_a_thousand_draws_find_what_a_loop_over_them_finds(three):
    fusion = Dirichlet(seed=5)
    candidates = fusion.candidates(3)
    assert candidates.shape == (1000, 3)
    np.testing.assert_allclose(candidates.sum(1), 1)
    fused = fuse(fusion, *three)
    for fold in (0, 1):
        expected = candidates[np.argmax(loop(candidates, three, fold))]
        np.testing.assert_array_equal(weights_of(fused, fold), expected)
        mixed = sum(w * m[0].scores for w, m in zip(expected, three, strict=True))
        rows = three[0][0].folds == fold
        np.testing.assert_allclose(fused.validation.scores[rows], mixed[rows])
        other = sum(w * m[0].scores for w, m in zip(weights_of(fused, 1 - fold), three, strict=True))
        np.testing.assert_allclose(fused.cross_fitted.scores[rows], other[rows])
    of_folds = [sum(w * m[1][f].scores for w, m in zip(weights_of(fused, f), three, strict=True)) for f in (0, 1)]
    np.testing.assert_allclose(fused.test.scores, np.mean(of_folds, axis=0))


def test_classes_are_searched_by_the_measure_that_is_given():
    members = [classes_member(seed, folds=(0,), skill=0.7) for seed in range(4)]
    names = "abcd"
    tune, test, truth = ({n: m[k] for n, m in zip(names, members, strict=True)} for k in range(3))
    fusion = Dirichlet(50, seed=3)
    fused = fusion(tune, test, truth, uar)
    candidates = fusion.candidates(4)
    values = [uar(truth["a"], sum(w * tune[n].scores for w, n in zip(row, names, strict=True))) for row in candidates]
    np.testing.assert_array_equal(weights_of(fused), candidates[np.argmax(values)])
    assert uar(truth["a"], fused.validation.scores) == max(values) > max(uar(truth[n], tune[n].scores) for n in names)


def test_the_seed_fixes_the_draws_and_alpha_how_far_they_lie_apart(three):
    assert fuse(Dirichlet(seed=1), *three).weights == fuse(Dirichlet(seed=1), *three).weights
    assert fuse(Dirichlet(seed=1), *three).weights != fuse(Dirichlet(seed=2), *three).weights
    even, near = Dirichlet(seed=1).candidates(3), Dirichlet(alpha=50.0, seed=1).candidates(3)
    # The variance of one weight is (k - 1) / (k^2 (k alpha + 1)) for k members.
    np.testing.assert_allclose([even.var(0).mean(), near.var(0).mean()], [2 / 36, 2 / (9 * 151)], rtol=0.1)


@pytest.mark.parametrize("fields", [{"draws": 0}, {"alpha": 0.0}, {"alpha": float("nan")}])
def test_impossible_draws_are_refused(fields):
    with pytest.raises(UserError, match="expected both above 0"):
        Dirichlet(**fields, seed=0)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex()])
def test_one_member_has_all_the_weight(three, fusion):
    fused = fuse(fusion, three[0])
    assert fused.weights == {"m0": [1.0, 1.0]}
    np.testing.assert_array_equal(fused.validation.scores, three[0][0].scores)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex()])
def test_a_member_twice_is_as_good_as_once(three, fusion):
    one, other = three[:2]
    twice = loop([weights_of(fuse(fusion, one, one, other))], (one, one, other), 0)[0]
    best = loop([weights_of(fuse(Convex(), one, other))], (one, other), 0)[0]
    assert twice == pytest.approx(best, abs=1e-4 if isinstance(fusion, Dirichlet) else 1e-12)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex(), Best()])
@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_a_constant_member_has_no_correlation_and_does_no_harm(three, fusion, level):
    good = three[0]
    flat = (with_scores(good[0], np.full_like(good[0].scores, level)), good[1])
    first = good[0].folds == 0
    alone = PCC(belt((0, 1))[first], good[0].scores[first])
    for place, members in enumerate([(flat, good), (good, flat)]):
        fused = fuse(fusion, *members)
        assert PCC(belt((0, 1))[first], fused.validation.scores[first]) == pytest.approx(alone, abs=1e-9)
        if not isinstance(fusion, Dirichlet):
            assert weights_of(fused)[place] == 0
    # Nothing to choose from: some weights come out, and the score is not defined.
    both = fuse(fusion, flat, flat)
    assert weights_of(both).sum() == pytest.approx(1)
    np.testing.assert_allclose(both.validation.scores, level)


@pytest.mark.parametrize("fusion", [Dirichlet(seed=0), Convex()])
def test_rows_without_truth_have_no_say(three, fusion):
    known = np.arange(2 * ROWS) % 3 > 0
    wild = [(with_scores(m[0], np.where(known[:, None], m[0].scores, 1e3 * i)), m[1]) for i, m in enumerate(three)]
    with_gaps = fuse(fusion, *wild, truth=np.where(known, belt((0, 1)), np.nan))
    without = fuse(fusion, *((m[0].select(known), m[1]) for m in three), truth=belt((0, 1))[known])
    assert with_gaps.weights == without.weights
    assert len(with_gaps.validation) == len(known)


def test_a_fold_of_the_whole_corpus_takes_less_than_a_second():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=54_000)
    scores = truth[:, None] + rng.normal(size=(3, 54_000, 1))
    for fusion in (Dirichlet(seed=0), Convex()):
        began = time.process_time()
        fusion.search(truth, scores, PCC)
        assert time.process_time() - began < 1
