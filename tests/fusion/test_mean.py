import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.fusion.mean import Mean, mean
from jaxpara.predictions import Predictions


def make(names, scores, fold):
    n = len(names)
    return Predictions(np.array(names), np.zeros(n), np.array(scores, float), np.array(["test"] * n), np.full(n, fold))


def test_mean_is_by_key_and_an_ensemble_is_of_no_fold():
    both = mean([make(["a", "b"], [[0.0], [1.0]], 0), make(["b", "a"], [[3.0], [4.0]], 1)])
    np.testing.assert_array_equal(both.scores, [[2.0], [2.0]])
    assert list(both.folds) == [-1, -1]
    assert list(mean([make(["a"], [[1.0]], 3), make(["a"], [[2.0]], 3)]).folds) == [3]


def test_weights_are_those_of_a_weighted_mean():
    parts = [make(["a"], [[0.0, 1.0]], 0), make(["a"], [[1.0, 0.0]], 0)]
    np.testing.assert_allclose(mean(parts, [3, 1]).scores, [[0.25, 0.75]])


def test_every_fit_counts_the_same():
    tune = {"x": make(["a"], [[1.0]], 0), "y": make(["a"], [[3.0]], 0)}
    test = {"x": {0: make(["t"], [[0.0]], 0), 1: make(["t"], [[2.0]], 1)}, "y": {0: make(["t"], [[7.0]], 0)}}
    fused = Mean()(tune, test, {}, None)
    assert fused.validation.scores.item() == 2
    assert fused.test.scores.item() == 3


def test_members_that_predict_other_things_are_refused():
    with pytest.raises(UserError, match="the first missing is a at 0 s"):
        mean([make(["a"], [[0.0]], 0), make(["b"], [[0.0]], 0)])
