"""The causal scaling of a waveform: against its definition, sample by sample, and however it is cut."""

import numpy as np
import pytest
from ensembles import whole

from jaxpara.features import causal
from jaxpara.features.waveform import Waveform

RATE_HZ = 1000


def speech(samples, level=0.1):
    return (level * np.random.default_rng(3).standard_normal(samples)).clip(-1, 1).astype(np.float32)


def in_parts(feature, waveform, cuts):
    running = causal.Running(feature)
    return np.concatenate([*(running.push(part) for part in np.split(waveform, cuts)), running.finish()])


def test_it_is_its_definition():
    waveform = speech(1400) + np.float32(0.05)
    scaled = in_parts(Waveform(scale="zscore", sample_rate_hz=RATE_HZ), waveform, [])
    for i in (0, 1, 500, 999, 1000, 1001, 1399):
        heard = waveform[: max(i + 1, 1000)].astype(np.float64)
        np.testing.assert_allclose(scaled[i, 0], (waveform[i] - heard.mean()) / heard.std(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["unit", "integer"])
def test_amplitudes_that_the_recording_does_not_scale_stay_what_they_are(scale):
    feature, waveform = Waveform(scale=scale, sample_rate_hz=RATE_HZ), speech(1400)
    np.testing.assert_array_equal(in_parts(feature, waveform, [1, 700]), feature(waveform))


@pytest.mark.parametrize("samples", [1, 999, 1000, 1001, 3000])
@pytest.mark.parametrize("cuts", [[], [1], [999, 1000], [1000], [300, 301, 1500], [7, 7, 2999]])
def test_parts_are_the_whole(samples, cuts):
    feature, waveform = Waveform(scale="zscore", sample_rate_hz=RATE_HZ), speech(samples)
    np.testing.assert_allclose(in_parts(feature, waveform, cuts), whole(feature, waveform), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", ["zscore", "unit"])
def test_of_nothing_there_is_nothing(scale):
    assert in_parts(Waveform(scale=scale, sample_rate_hz=RATE_HZ), speech(0), [0]).shape == (0, 1)


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
def test_a_constant_stays_zero(value):
    scaled = in_parts(Waveform(scale="zscore", sample_rate_hz=RATE_HZ), np.full(2500, value, np.float32), [])
    np.testing.assert_allclose(scaled, 0, rtol=0, atol=1e-4)


def test_the_noise_of_a_silent_microphone_is_not_blown_up():
    scaled = in_parts(Waveform(scale="zscore", sample_rate_hz=RATE_HZ), speech(2500, level=1e-5), [])
    assert 1e-3 < scaled.std() < 0.02


def test_in_the_end_it_is_near_the_scale_of_the_whole_recording():
    feature, waveform = Waveform(scale="zscore", sample_rate_hz=RATE_HZ), speech(20_000)
    np.testing.assert_allclose(in_parts(feature, waveform, [])[-5000:], feature(waveform)[-5000:], rtol=0, atol=0.1)
