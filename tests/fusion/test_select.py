import numpy as np
import pytest
from members import member, uar

from jaxpara.fusion.select import Select


def select(*members):
    names = [f"m{i}" for i in range(len(members))]
    tune, test, truth = ({n: m[k] for n, m in zip(names, members, strict=True)} for k in range(3))
    return Select()(tune, test, truth, uar)


def test_the_member_with_the_best_mean_over_folds_is_taken_for_all_of_them():
    weak, strong = member(1, skill=0.2), member(2, skill=2.0)
    fused = select(weak, strong)
    assert fused.validation is strong[0]
    np.testing.assert_allclose(fused.test.scores, (strong[1][0].scores + strong[1][1].scores) / 2)
    assert fused.weights == {"m0": [0.0, 0.0], "m1": [1.0, 1.0]}


def test_the_cross_fitted_choice_of_a_fold_does_not_see_it():
    """One member wins by fold 0 alone, the other is better on fold 1: each fold gets the choice of the other."""
    members = [member(1, skill=0.0), member(2, skill=0.0)]
    for m, skills in zip(members, ((6.0, 0.0), (0.0, 3.0)), strict=True):
        tune, _, truth = m
        for fold, skill in enumerate(skills):
            rows = tune.folds == fold
            p = 1 / (1 + np.exp(-skill * (2 * truth[rows] - 1)))
            if skill:
                tune.scores[rows] = np.stack([1 - p, p], 1)
    fused = select(*members)
    rows = [fused.cross_fitted.folds == fold for fold in (0, 1)]
    # Without fold 0 the second member is better, without fold 1 the first.
    for fold, chosen in ((0, 1), (1, 0)):
        expected = members[chosen][0].scores[members[chosen][0].folds == fold]
        np.testing.assert_array_equal(fused.cross_fitted.scores[rows[fold]], expected)


def test_rows_without_truth_have_no_say():
    one, other = member(1, skill=0.5), member(2, skill=1.0)
    truth = one[2].copy()
    truth[::3] = np.nan
    fused = Select()({"a": one[0], "b": other[0]}, {"a": one[1], "b": other[1]}, {"a": truth, "b": truth}, uar)
    known = np.isfinite(truth)
    values = [
        np.mean([uar(truth[known & (m[0].folds == f)], m[0].scores[known & (m[0].folds == f)]) for f in (0, 1)])
        for m in (one, other)
    ]
    assert fused.validation is (one, other)[int(np.argmax(values))][0]


@pytest.mark.parametrize("folds", [(0,), (3,)])
def test_one_fold_has_no_cross_fitted_choice(folds):
    assert select(member(1, folds), member(2, folds)).cross_fitted is None
