"""Functionals against SciPy and the definition of a percentile; their fields."""

import numpy as np
import pytest
import scipy.stats
from signals import SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import LogMel
from jaxpara.features.functionals import LogMelFunctionals

FIELDS = {"scale": "linear", "bands": 20, "ref": "mean"}


@pytest.mark.parametrize("delta", [False, True])
def test_functionals_are_those_of_scipy(delta):
    frames = LogMel(**FIELDS)(SIGNALS["voice"])
    if delta:
        frames = np.hstack([frames, np.gradient(frames, axis=0)])
    expected = [frames.mean(0), scipy.stats.tstd(frames, axis=0, ddof=0)]
    expected += [scipy.stats.scoreatpercentile(frames, percentile, axis=0) for percentile in (5, 50, 97.5)]
    found = LogMelFunctionals(**FIELDS, percentiles=(5, 50, 97.5), delta=delta)(SIGNALS["voice"])
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-3)


def test_loudness_does_not_change_levels_relative_to_the_mean():
    feature = LogMelFunctionals(**FIELDS, delta=False)
    np.testing.assert_allclose(feature(SIGNALS["voice"] / 8), feature(SIGNALS["voice"]), atol=1e-3)


def test_a_percentile_above_100_is_refused():
    with pytest.raises(UserError, match=r"percentiles is \(10, 101\), expected numbers from 0 to 100"):
        LogMelFunctionals(percentiles=(10, 101))
