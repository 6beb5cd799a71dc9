"""Exact best weights against a fine grid, and where r is not defined."""

import numpy as np
import pytest
from belts import GRID, PCC, fuse, loop, member, weights_of
from members import member as classes_member

from jaxpara.errors import UserError
from jaxpara.fusion.convex import Convex


@pytest.mark.parametrize("seed", range(3))
def test_convex_weights_are_the_best_of_the_whole_simplex(seed):
    members = member(seed, 1.5), member(seed + 10, 2.5, sign=seed - 1), member(seed + 20, 1.0)
    fused = fuse(Convex(), *members)
    for fold in (0, 1):
        weights = weights_of(fused, fold)
        found = loop([weights], members, fold)[0]
        on_grid = loop(GRID, members, fold)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
        assert on_grid.max() <= found + 1e-12
        assert on_grid.max() == pytest.approx(found, abs=1e-4)
        np.testing.assert_allclose(weights, GRID[np.argmax(on_grid)], atol=0.02)


def test_convex_without_a_positive_correlation_is_the_best_single_member():
    members = [member(seed, noise, sign=-1.0) for seed, noise in ((1, 1.0), (2, 3.0), (3, 2.0))]
    fused = fuse(Convex(), *members)
    for fold in (0, 1):
        values = loop(GRID, members, fold)
        assert values.max() < 0
        np.testing.assert_array_equal(weights_of(fused, fold), GRID[np.argmax(values)])


def test_convex_refuses_classes():
    tune, test, truth = classes_member(1)
    with pytest.raises(UserError, match="each row has 2, one a class: try 'dirichlet'"):
        Convex()({"a": tune}, {"a": test}, {"a": truth}, PCC)
