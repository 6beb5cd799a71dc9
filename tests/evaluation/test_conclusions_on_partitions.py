"""The sentence about folds that validate on one partition and score differently from those that validate on another."""

from copy import deepcopy

import numpy as np
import pytest
from scipy import stats
from test_conclusions import FOLDS, RESULTS, concluded

LINES = {"PCC": (np.arctanh, np.tanh), "UAR": (lambda p: np.log(p / (1 - p)), lambda z: 1 / (1 + np.exp(-z)))}


def gap(devel, train, error, *, measure="UAR", speakers=6, shared=False, known=True, members=1, fused=None):
    """Return the sentence about folds with these values, each with a standard error on the line and so many speakers.

    Args:
      members: among whom the folds are dealt out.
      fused: those that the fusion has; by default all.
    """
    there, back = LINES[measure]
    parts, values = ["devel"] * len(devel) + ["train"] * len(train), [*devel, *train]
    reach = stats.t.ppf(0.975, speakers - 1) * error * np.array([-1, 1])
    cv = {
        "measure": measure,
        "speakers": 2 * speakers if shared else len(values) * speakers,
        "per_fold": {str(k): value for k, value in enumerate(values)},
        "per_fold_interval_95": {
            str(k): back(there(value) + reach).tolist() if known else None for k, value in enumerate(values)
        },
    }
    results = deepcopy(RESULTS) | {"measure": measure}
    folds = [
        FOLDS[0] | {"fold": k, "validation": {"speakers": speakers if known else None, "per_partition": {part: value}}}
        for k, (part, value) in enumerate(zip(parts, values, strict=True))
    ]
    adam = results["members"]["adam"]
    results["members"] = {f"m{k}": adam | {"folds": folds[k::members]} for k in range(members)}
    results["fusion"]["members"] = list(results["members"])
    for fold in set(range(len(values))) - set(range(len(values)) if fused is None else fused):
        del cv["per_fold"][str(fold)], cv["per_fold_interval_95"][str(fold)]
    results["fusion"]["cv"] |= cv
    return [sentence for sentence in concluded(results) if "that validate" in sentence]


def test_folds_of_one_partition_that_do_better_are_reported():
    assert gap([0.92, 0.926], [0.74, 0.732], 0.2) == [
        "The folds that validate on devel reach 92.3 % on average, those that validate on train 73.6 %: a difference of"
        " 18.7 points, more than the choice of speakers explains. The mean of all folds hides it: report both."
    ]
    (sentence,) = gap([0.2, 0.25], [0.6, 0.6], 0.05, measure="PCC")
    assert (
        "validate on train reach 0.600 on average, those that validate on devel 0.225: a difference of 0.375,"
        in sentence
    )


def test_folds_of_all_members_count_as_far_as_the_fusion_has_them():
    values = [0.92, 0.926], [0.74, 0.732]
    found = gap(*values, 0.2)
    assert len(found) == 1
    for members in (2, 3, 4):
        assert gap(*values, 0.2, members=members) == found
    assert gap(*values, 0.2, members=2, fused=(0, 2)) == gap([0.92], [0.74], 0.2)  # one of the two is selected
    assert gap(*values, 0.2, fused=(0, 1, 3)) == gap([0.92, 0.926], [0.732], 0.2)  # nothing of fold 2 is scored
    assert gap(*values, 0.2, members=4, fused=(0,)) == []


def test_a_difference_within_the_intervals_is_not_reported():
    assert gap([0.92, 0.926], [0.74, 0.732], 0.9) == []
    assert gap([0.70, 0.72], [0.73, 0.71], 0.05) == []


@pytest.mark.parametrize("measure", ["PCC", "UAR"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_limit_is_that_of_welch(measure, shared):
    there, back = LINES[measure]
    speakers, error = 6, 0.1
    # Four folds of equal error: those with speakers of their own have all their degrees of freedom together.
    freedom = 2 * (speakers - 1) if shared else 4 * (speakers - 1)
    limit = stats.t.ppf(0.975, freedom) * error * (2**0.5 if shared else 1)
    for share, reported in ((0.99, False), (1.01, True)):
        one, other = back(there(0.6) + np.array([0, share * limit])).tolist()
        found = gap([one, one], [other, other], error, measure=measure, speakers=speakers, shared=shared)
        assert bool(found) == reported


@pytest.mark.parametrize(
    ("devel", "train"),
    [([0.92, 0.926], [0.74, 0.732]), ([0.92, 0.7], [0.74, 0.732]), ([0.6, 0.62, 0.63], [0.64, 0.65]), ([0.9], [0.7])],
)
def test_without_intervals_the_scatter_of_the_folds_decides(devel, train):
    found = gap(devel, train, 0.1, known=False)
    values = [LINES["UAR"][0](np.array(part)) for part in (devel, train)]
    expected = len(devel) > 1 and stats.ttest_ind(*values, equal_var=False).pvalue < 0.05
    assert bool(found) == expected
    assert all("folds of the same partition differ from each other" in sentence for sentence in found)


def test_folds_without_any_scatter_or_of_one_partition_show_nothing():
    assert gap([0.6, 0.6], [0.5, 0.5], 0.1, known=False) == []
    assert gap([1.0, 1.0], [0.5, 0.52], 0.1, known=False) == []
    assert gap([0.9, 0.5], [], 0.01) == []
    assert gap([0.9, None], [0.5, 0.52], 0.1, known=False) == []
