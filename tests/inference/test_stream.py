"""Live predictions equal those of the network over the whole recording, however the signal is split."""

import jax
import numpy as np
import pytest
from ensembles import FAR, FOUR, HERE, THREE, ensemble, offline, scaled, speech

from jaxpara.inference.stream import RunningScale, Stream, precompile


@pytest.fixture(scope="module")
def two():
    return ensemble()


def streamed(ensemble, waveform, sizes):
    stream, values, first = Stream(ensemble), [], 0
    while first < len(waveform):
        size = int(next(sizes))
        values.append(stream.push(waveform[first : first + size]))
        first += size
    return np.concatenate([np.empty(0), *values, stream.finish()])


def every(size):
    while True:
        yield size


def ragged(largest, seed=0):
    rng = np.random.default_rng(seed)
    while True:
        yield rng.integers(0, largest)


# Within the first hop, at its end, within the lookahead after it, at the end of the warm-up, and a long one.
@pytest.mark.parametrize("samples", [1, 640, 1124, 16_000, 50_001])
def test_live_equals_the_offline_causal_prediction(two, samples):
    waveform = speech(samples)
    live, wanted = streamed(two, waveform, ragged(5000)), offline(two, waveform)
    assert len(wanted) == -(-samples // 640)
    assert wanted.std() > 0.01 or samples < 16_000
    np.testing.assert_allclose(live, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", [THREE, FAR, HERE], ids=["three", "far", "here"])
def test_any_kernels_and_pools_and_nothing_compiles_after_the_warm_up(model, caplog):
    some, waveform = ensemble(model, sample_rate_hz=1000, networks=1), speech(32_003)
    precompile(some)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        live = streamed(some, waveform, ragged(30_000))
    assert not [line for line in caplog.messages if "_step" in line]
    np.testing.assert_allclose(live, offline(some, waveform), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", ["unit", "integer"])
def test_without_scaling_live_equals_the_network_over_the_whole_recording(scale):
    """But for the last value, as no silence follows."""
    some, waveform = ensemble(scale=scale), speech(640 * 30)
    apply = jax.jit(some.model.apply)
    direct = [np.asarray(apply(tree, some.feature(waveform)[None]))[0] for tree in some.networks]
    expected = np.average(direct, axis=0, weights=some.weights)
    np.testing.assert_allclose(streamed(some, waveform, ragged(3000))[:-1], expected[:-1], rtol=0, atol=1e-5)


def test_a_bfloat16_network_computes_in_bfloat16_live(two):
    """XLA rounds differently in each program: the values are close, and closer than those of float32."""
    some, waveform = ensemble(precision="bfloat16"), speech(60_000)
    live, wanted = streamed(some, waveform, ragged(5000)), offline(some, waveform)
    np.testing.assert_allclose(live, wanted, rtol=0, atol=2**-6)
    assert np.abs(live - wanted).mean() < 0.5 * np.abs(offline(two, waveform) - wanted).mean()


def test_values_do_not_depend_on_how_the_signal_is_split(two):
    waveform = speech(40_000)
    hops = streamed(two, waveform, every(640))
    for sizes in (every(40_000), every(97), ragged(30_000, seed=2)):
        np.testing.assert_allclose(streamed(two, waveform, sizes), hops, rtol=0, atol=1e-6)


def test_a_value_is_returned_with_its_last_sample():
    some = ensemble(scale="unit")
    assert some.model.lookahead == 485
    stream, waveform = Stream(some), speech(3000)
    assert len(stream.push(waveform[: 640 + 485 - 1])) == 0
    assert len(stream.push(waveform[640 + 485 - 1 : 640 + 485])) == 1
    assert len(stream.push(waveform[640 + 485 : 2 * 640 + 485])) == 1


@pytest.mark.parametrize("model", [FOUR, THREE, FAR, HERE], ids=["four", "three", "far", "here"])
def test_the_lookahead_is_that_of_the_network(model):
    """A value depends on the samples up to `lookahead` after its own hop, and on no later ones."""
    last = 2 * model.samples_per_output + model.lookahead - 1
    waveform = speech((last // model.samples_per_output + 2) * model.samples_per_output)
    second = jax.jit(lambda tree, waveform: model.apply(tree, waveform[None, :, None])[0, 1])
    # In some networks pools and ReLU hide a sample, so several networks are tried.
    moved = {"in": 0.0, "beyond": 0.0}
    for seed in range(8):
        tree = ensemble(model, networks=1, seed=seed).networks[0]
        for where, first in (("in", last), ("beyond", last + 1)):
            other = waveform.copy()
            other[first:] += 100
            moved[where] = max(moved[where], abs(second(tree, other) - second(tree, waveform)))
    assert moved["beyond"] == 0
    assert moved["in"] > 1e-6


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_silence_gives_finite_constant_values(two, value):
    live = streamed(two, np.full(40_000, value, np.float32), every(640))
    assert np.isfinite(live).all()
    np.testing.assert_allclose(live[20:-5], live[20], rtol=0, atol=1e-2)  # and stay constant


# The running scaling alone.


def at_1_khz(scale="zscore"):
    return ensemble(HERE, scale, sample_rate_hz=1000, networks=1)


def noise(samples, level=0.1):
    return (level * np.random.default_rng(3).standard_normal(samples)).clip(-1, 1).astype(np.float32)


def scaled_in_parts(some, waveform, cuts=()):
    running = RunningScale(some)
    return np.concatenate(
        [*(running.push(part) for part in np.split(waveform, cuts)), running.push(noise(0), end=True)]
    )


def test_a_sample_is_scaled_by_all_samples_up_to_itself():
    waveform = noise(1400) + np.float32(0.05)
    values = scaled_in_parts(at_1_khz(), waveform)
    for i in (0, 1, 500, 999, 1000, 1001, 1399):
        past = waveform[: max(i + 1, 1000)].astype(np.float64)
        np.testing.assert_allclose(values[i, 0], (waveform[i] - past.mean()) / past.std(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["unit", "integer"])
def test_scales_that_do_not_depend_on_the_recording_are_unchanged(scale):
    some, waveform = at_1_khz(scale), noise(1400)
    np.testing.assert_array_equal(scaled_in_parts(some, waveform, [1, 700]), some.feature(waveform))


@pytest.mark.parametrize("samples", [1, 999, 1000, 1001, 3000])
@pytest.mark.parametrize("cuts", [[], [1], [999, 1000], [1000], [300, 301, 1500], [7, 7, 2999]])
def test_the_scaling_of_parts_is_that_of_the_whole(samples, cuts):
    some, waveform = at_1_khz(), noise(samples)
    np.testing.assert_allclose(scaled_in_parts(some, waveform, cuts), scaled(some, waveform), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scale", ["zscore", "unit"])
def test_an_empty_signal_has_no_values(scale):
    assert scaled_in_parts(at_1_khz(scale), noise(0), [0]).shape == (0, 1)


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
def test_a_constant_stays_zero(value):
    values = scaled_in_parts(at_1_khz(), np.full(2500, value, np.float32))
    np.testing.assert_allclose(values, 0, rtol=0, atol=1e-4)


def test_the_noise_of_a_silent_microphone_is_not_amplified():
    values = scaled_in_parts(at_1_khz(), noise(2500, level=1e-5))
    assert 1e-3 < values.std() < 0.02


def test_running_scaling_converges_to_that_of_the_whole_recording():
    some, waveform = at_1_khz(), noise(20_000)
    np.testing.assert_allclose(
        scaled_in_parts(some, waveform)[-5000:], some.feature(waveform)[-5000:], rtol=0, atol=0.1
    )
