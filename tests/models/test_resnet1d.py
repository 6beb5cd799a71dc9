"""Breathing system 3: parity with PyTorch in inference and training, BatchNorm, counts and shapes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import check_gradients, check_summaries, fixed, fixed_like, load, one_minus_pearson
from scipy.signal import lfilter

from jaxpara.errors import UserError
from jaxpara.models.ops1d import same_padding
from jaxpara.models.resnet1d import ResNet1DLSTM, moments

COMPLEX = ResNet1DLSTM(dropout=0.0)
SMALL = ResNet1DLSTM(stem=4, stages=(2,), blocks=1, pools=(10, 64), lstm=(4, 4), dropout=0.0)


def shapes_of(network):
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 640, 1)))


@pytest.mark.parametrize("train", [False, True])
def test_parity_with_torch(train):
    golden = load("resnet1d_training" if train else "resnet1d_inference")

    def loss(params, batch_stats, waveform, target):
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, updates = COMPLEX.apply(
            variables,
            waveform,
            train,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda _, method: method == "embed",
        )
        embeddings = updates["intermediates"]["embed"][0]
        return one_minus_pearson(outputs, target), (outputs, embeddings, updates["batch_stats"])

    with jax.enable_x64(True):
        waveform, target = fixed("waveform", (2, 5120, 1), 1.0), fixed("target", (2, 8), 1.0)
        shapes = shapes_of(COMPLEX)
        params, batch_stats = fixed_like(shapes["params"]), fixed_like(shapes["batch_stats"])
        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (value, (outputs, embeddings, updates)), gradients = step(params, batch_stats, waveform, target)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(embeddings[..., ::16], golden["embeddings"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(value, golden["loss"], rtol=0, atol=1e-9)
    check_gradients(golden, gradients)
    if train:
        check_summaries(golden, "statistic", updates)
    else:
        jax.tree.map(np.testing.assert_array_equal, updates, batch_stats)


def test_parameter_counts():
    shapes = shapes_of(ResNet1DLSTM())
    counts = jax.tree.map(lambda leaf: leaf.size, shapes)
    trunk = {}
    for kind in ("params", "batch_stats"):
        for name, layer in counts[kind]["trunk"].items():
            trunk[name] = trunk.get(name, 0) + sum(jax.tree.leaves(layer))
    assert trunk.pop("stem") + trunk.pop("stem_norm") == 1664
    assert trunk == {
        "stage0_block0": 80_384,
        "stage0_block1": 54_784,
        "stage0_block2": 54_784,
        "stage1_block0": 316_416,
        "stage1_block1": 216_064,
        "stage1_block2": 216_064,
    }
    sequence = {name: sum(jax.tree.leaves(layer)) for name, layer in counts["params"]["sequence"].items()}
    assert sequence == {"lstm0": 2_099_200, "lstm1": 787_456, "head": 257}
    assert sum(jax.tree.leaves(counts["params"])) == 3_818_369
    assert sum(jax.tree.leaves(counts)) == 3_827_073


def test_output_shapes():
    network = ResNet1DLSTM()
    assert network.samples_per_output == 640
    waveform = jnp.zeros((2, 192_000, 1))
    variables = shapes_of(network)
    assert jax.eval_shape(network.apply, variables, waveform).shape == (2, 300)
    embed = jax.eval_shape(lambda v, x: network.apply(v, x, method="embed"), variables, waveform)
    assert embed.shape == (2, 300, 512)


def test_wrong_length_is_refused():
    with pytest.raises(UserError, match="multiple of 640"):
        SMALL.init(jax.random.key(0), jnp.zeros((1, 1000, 1)))


def test_statistics_over_an_axis_are_those_of_the_whole_batch():
    """Check that two shards with `axis_name` update and predict as one batch, and without it do not."""
    waveform = jnp.asarray(fixed("waveform", (4, 1280, 1), 1.0), jnp.float32)
    variables = fixed_like(shapes_of(SMALL))
    apply = partial(SMALL.apply, train=True, mutable=["batch_stats"])
    whole, updates = jax.jit(apply)(variables, waveform)

    def shards(network):
        def apply(part):
            return network.apply(variables, part, True, mutable=["batch_stats"])

        return jax.jit(jax.vmap(apply, axis_name="data"))(waveform.reshape(2, 2, -1, 1))

    outputs, synchronised = shards(SMALL.clone(axis_name="data"))
    np.testing.assert_allclose(outputs.reshape(4, 2), whole, rtol=0, atol=1e-5)
    for found, expected in zip(jax.tree.leaves(synchronised), jax.tree.leaves(updates), strict=True):
        np.testing.assert_allclose(found, np.stack([expected] * 2), rtol=0, atol=1e-5)
    apart, _ = shards(SMALL)
    assert abs(apart.reshape(4, 2) - whole).max() > 1e-4


def test_dropout_acts_between_the_lstm_layers():
    network = SMALL.clone(dropout=0.5)
    waveform = jnp.asarray(fixed("waveform", (2, 1280, 1), 1.0), jnp.float32)
    variables = fixed_like(shapes_of(network))
    apply = jax.jit(partial(network.apply, train=True, mutable=["batch_stats"]))
    outputs = [apply(variables, waveform, rngs={"dropout": jax.random.key(k)})[0] for k in (0, 0, 1)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert abs(outputs[0] - outputs[2]).max() > 1e-5


def windows_of(taps, signal):
    """Return the samples under a kernel, `[sample, tap]`."""
    padded = np.pad(signal.astype(np.float64), ((0, 0), same_padding(taps)))
    return np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1).reshape(-1, taps)


@pytest.mark.parametrize("taps", [1, 5, 8])
def test_moments_match_the_windows_under_a_kernel(taps):
    signal = np.random.default_rng(0).normal(1.0, 2.0, (3, 5000))
    with jax.enable_x64(True):
        mean, covariance = moments(signal, taps)
    np.testing.assert_allclose(mean, windows_of(taps, signal).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        covariance, np.cov(windows_of(taps, signal).T, bias=True).reshape(taps, taps), rtol=1e-12
    )


def test_moments_in_float32_give_the_variance_of_a_filter_that_cancels_the_signal():
    # The differences of a low-pass noise have a hundredth of its power: the rest cancels.
    noise = np.random.default_rng(1).normal(size=(4, 100_000))
    signal = lfilter([1], [1, -0.995], noise, axis=1).astype(np.float32)
    kernel = np.array([1, -1], np.float32)
    _, covariance = moments(signal / signal.std(), 2)
    expected = (windows_of(2, signal / signal.std()) @ kernel).var()
    assert expected < 0.02
    np.testing.assert_allclose(kernel @ covariance @ kernel, expected, rtol=1e-4)
