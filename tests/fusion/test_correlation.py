"""Correlations of many mixes at once against the official measure of each."""

import numpy as np
import pytest
from belts import PCC, belt, member

from jaxpara.fusion.correlation import correlations
from jaxpara.fusion.dirichlet import Dirichlet


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_correlations_of_all_candidates_are_the_official_measure_of_each(offset):
    candidates = Dirichlet(200, seed=1).candidates(3)
    three = member(1, 1.5), member(2, 2.0), member(3, 3.0)
    truth, scores = belt((0, 1)), offset + np.stack([m[0].scores[:, 0] for m in three])
    expected = [PCC(truth, (w @ scores)[:, None]) for w in candidates]
    np.testing.assert_allclose(correlations(candidates, truth, scores), expected, rtol=0, atol=1e-12)
