from dataclasses import replace

import numpy as np
import pytest
from members import member, uar

from jaxpara.errors import UserError
from jaxpara.fusion.mean import mean
from jaxpara.fusion.weighted import Best, Weighted
from jaxpara.predictions import concatenate


@pytest.fixture
def two():
    adam, sgd = member(1), member(2)
    order = np.random.default_rng(3).permutation(len(sgd[0]))  # the rows of a member come in any order
    return (
        {"adam": adam[0], "sgd": sgd[0].select(order)},
        {"adam": adam[1], "sgd": sgd[1]},
        {"adam": adam[2], "sgd": sgd[2][order]},
        adam,
        sgd,
    )


def test_the_grid_finds_what_a_plain_search_finds(two):
    tune, test, truth, adam, sgd = two
    fused = Weighted(points=41)(tune, test, truth, uar)
    for fold in (0, 1):
        rows = adam[0].folds == fold
        values = [
            uar(adam[2][rows], a * adam[0].scores[rows] + (1 - a) * sgd[0].scores[rows]) for a in np.linspace(0, 1, 41)
        ]
        best = np.linspace(0, 1, 41)[int(np.argmax(values))]
        assert fused.weights["adam"][fold] == pytest.approx(best)
        assert fused.weights["sgd"][fold] == pytest.approx(1 - best)
        assert uar(adam[2][rows], fused.validation.scores[fused.validation.folds == fold]) == pytest.approx(max(values))
    expected = np.mean(
        [sum(fused.weights[name][f] * test[name][f].scores for name in ("adam", "sgd")) for f in (0, 1)], axis=0
    )
    np.testing.assert_allclose(fused.test.scores, expected)


def test_cross_fitted_scores_use_the_other_folds_weights(two):
    tune, test, truth, adam, sgd = two
    fused = Weighted()(tune, test, truth, uar)
    other = {name: weights[1] for name, weights in fused.weights.items()}
    rows = adam[0].folds == 0
    expected = other["adam"] * adam[0].scores[rows] + other["sgd"] * sgd[0].scores[rows]
    np.testing.assert_allclose(fused.cross_fitted.scores[fused.cross_fitted.folds == 0], expected)


def test_best_takes_one_member_per_fold(two):
    tune, test, truth, adam, sgd = two
    fused = Best()(tune, test, truth, uar)
    for fold in (0, 1):
        rows = adam[0].folds == fold
        better = "adam" if uar(adam[2][rows], adam[0].scores[rows]) >= uar(sgd[2][rows], sgd[0].scores[rows]) else "sgd"
        assert {name: weights[fold] for name, weights in fused.weights.items()} == {
            "adam": float(better == "adam"),
            "sgd": float(better == "sgd"),
        }


def test_a_fold_without_a_member_is_named(two):
    *_, adam, _ = two
    sgd = member(2, folds=(1,))
    with pytest.raises(UserError, match=r"fold 0 has only \['adam'\]"):
        Best()(
            {"adam": adam[0], "sgd": sgd[0]}, {"adam": adam[1], "sgd": sgd[1]}, {"adam": adam[2], "sgd": sgd[2]}, uar
        )


def test_members_for_other_tasks_are_told_by_their_own_number_of_scores():
    (one, one_test, truth), (other, other_test, _) = member(1), member(2)
    other = replace(other, scores=other.scores[:, 1:])
    with pytest.raises(UserError, match=r"predictions 2 of 2: 1 scores a row, the first has 2;"):
        Best()({"a": one, "b": other}, {"a": one_test, "b": other_test}, {"a": truth, "b": truth}, uar)


def test_weighted_mixes_two():
    one = member(1)
    with pytest.raises(UserError, match="mixes 2 members, not 1"):
        Weighted()({"a": one[0]}, {"a": one[1]}, {"a": one[2]}, uar)


def test_one_fold_has_no_other_to_find_its_weights_on():
    (adam, adam_test, truth), (sgd, sgd_test, _) = member(1, folds=(0,)), member(2, folds=(0,))
    members = {"adam": adam, "sgd": sgd}, {"adam": adam_test, "sgd": sgd_test}, {"adam": truth, "sgd": truth}
    assert Weighted()(*members, uar).cross_fitted is None


def test_fits_of_one_fold_are_no_other_folds_for_weights(two):
    """Two seeds of two folds: the weights of a fold come from both fits of the other one, and not from its twin."""
    tune, test, truth, _, _ = two
    twins = {name: replace(part, folds=part.folds + 2, scores=part.scores[::-1]) for name, part in tune.items()}
    fused = Weighted()(
        {name: concatenate([tune[name], twins[name]]) for name in tune},
        {name: of | {fold + 2: part for fold, part in of.items()} for name, of in test.items()},
        {name: np.tile(values, 2) for name, values in truth.items()},
        uar,
    )
    for fold, (one, other) in {0: (1, 3), 1: (0, 2), 2: (1, 3), 3: (0, 2)}.items():
        parts = {name: part.select(part.folds == fold % 2) for name, part in tune.items()}
        if fold > 1:
            parts = {name: part.select(part.folds == fold) for name, part in twins.items()}
        weights = {name: (of[one] + of[other]) / 2 for name, of in fused.weights.items()}
        expected = mean([parts["adam"], parts["sgd"]], [weights["adam"], weights["sgd"]])
        found = fused.cross_fitted.select(fused.cross_fitted.folds == fold)
        np.testing.assert_allclose(found.scores, expected.scores)


def test_seeds_of_a_single_fold_leave_no_other_fold(two):
    tune, test, truth, _, _ = two
    one = {name: part.select(part.folds == 0) for name, part in tune.items()}
    fused = Weighted()(
        {name: concatenate([part, replace(part, folds=part.folds + 1)]) for name, part in one.items()},
        test,
        {name: np.tile(truth[name][tune[name].folds == 0], 2) for name in tune},
        uar,
    )
    assert fused.cross_fitted is None
