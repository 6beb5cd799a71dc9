"""Our 1D operations against their plain forms: values and gradients in float64, with the same dropout mask."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpara.models import ops1d
from jaxpara.models.layers import dropout, dropout_seed

SEED = np.array([123456789, 987654321], np.uint32)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def plain_pool(inputs, pool, seed, rate, kind):
    """Apply ReLU, dropout and pooling one after the other; in ties the gradient is divided (jnp.max)."""
    x = jax.nn.relu(inputs)
    x = x if seed is None else dropout(x, seed, rate)
    x = x.reshape(x.shape[0], -1, pool, x.shape[2])
    return x.max(2) if kind == "max" else x.mean(2)


def plain_conv(inputs, kernel, bias):
    """Convolve tap by tap; TensorFlow's "same" pads floor((k - 1) / 2) on the left."""
    taps = len(kernel)
    left = (taps - 1) // 2
    padded = jnp.pad(inputs, ((0, 0), (left, taps - 1 - left), (0, 0)))
    length = inputs.shape[1]
    return bias + sum(padded[:, tap : tap + length] @ kernel[tap] for tap in range(taps))


def check(plain, fused, *arguments):
    """Compare values and the gradients of a random projection."""
    cotangent = np.random.RandomState(1).normal(size=jax.eval_shape(plain, *arguments).shape)
    # The plain form step by step: compiled as a whole, jax 0.12 loses the gradients of maxima that it computes twice.
    expected, gradients = value_and_gradients(plain, cotangent, *arguments)
    found, fused_gradients = jax.jit(value_and_gradients, static_argnums=0)(fused, cotangent, *arguments)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert found.dtype == np.float64
    for gradient, fused_gradient in zip(gradients, fused_gradients, strict=True):
        np.testing.assert_allclose(fused_gradient, gradient, rtol=0, atol=1e-11)


def value_and_gradients(function, cotangent, *arguments):
    value, back = jax.vjp(function, *arguments)
    return value, back(cotangent)


def numbers(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape)


@pytest.mark.parametrize("taps", [1, 5, 6])
def test_conv1d(taps):
    check(plain_conv, ops1d.conv1d, numbers(2, 24, 3), numbers(taps, 3, 4), numbers(4))


@pytest.mark.parametrize(
    ("kind", "pool", "rate"), [("max", 4, 0.3), ("max", 10, None), ("max", 300, None), ("mean", 4, 0.3)]
)
def test_pool(kind, pool, rate):
    seed = None if rate is None else SEED
    fused = {"max": ops1d.relu_dropout_max_pool, "mean": ops1d.relu_dropout_mean_pool}[kind]
    plain = partial(plain_pool, pool=pool, seed=seed, rate=rate, kind=kind)
    check(plain, lambda x: fused(x, pool, seed, rate or 0.0), numbers(3, max(pool, 40), 5))


@pytest.mark.parametrize(
    ("taps", "pool", "rate", "size"),
    [
        (10, 10, 0.3, (3, 4000)),  # two chunks, the second one not full
        (8, 10, None, (1, 640)),  # less than a chunk
        (1, 4, 0.3, (2, 640)),
        (12, 5, 0.3, (2, 640)),  # outputs that see three pools of samples
    ],
)
def test_conv_pool(taps, pool, rate, size):
    seed = None if rate is None else SEED

    def plain(signal, kernel, bias):
        return plain_pool(plain_conv(signal[..., None], kernel[:, None], bias), pool, seed, rate, "max")

    def fused(signal, kernel, bias):
        return ops1d.conv_relu_dropout_max_pool(signal, kernel, bias, pool, seed, rate or 0.0)

    check(plain, fused, numbers(*size), numbers(taps, 6, seed=1), numbers(6, seed=2))


def test_first_of_equal_maxima_gets_the_gradient():
    inputs = jnp.array([0.0, 2, 2, -1, -3, -2, 0, 0]).reshape(1, 8, 1)
    gradient = jax.grad(lambda x: ops1d.relu_dropout_max_pool(x, 4).sum())(inputs)
    np.testing.assert_array_equal(gradient[0, :, 0], [0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("pool", [10, 256])
def test_a_pool_without_a_winner_has_no_gradient(pool):
    # Its index is `pool`, which takes more than 8 bits from 256 on.
    signal = -np.ones((1, pool))

    def total(signal, bias):
        convolved = ops1d.conv_relu_dropout_max_pool(signal, jnp.ones((1, 1)), bias, pool)
        return (ops1d.relu_dropout_max_pool(signal[..., None], pool) + convolved).sum()

    with jax.disable_jit():  # XLA takes minutes to compile so many steps
        gradients = jax.grad(total, (0, 1))(signal, jnp.zeros(1))
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)


def test_silence_has_one_winner_a_pool():
    # All activations of a silent recording are equal: the bias gets each pool's gradient once.

    def total(bias):
        return ops1d.conv_relu_dropout_max_pool(jnp.zeros((2, 640)), jnp.ones((10, 3)), bias, 10).sum()

    np.testing.assert_array_equal(jax.grad(total)(jnp.array([1.0, 2.0, -1.0])), [128, 128, 0])


def test_nan_propagates():
    inputs = jnp.ones((1, 8, 1)).at[0, 1, 0].set(jnp.nan)
    np.testing.assert_array_equal(np.isnan(ops1d.relu_dropout_max_pool(inputs, 4)[0, :, 0]), [True, False])


def test_mask_does_not_depend_on_chunks(monkeypatch):
    arguments = numbers(2, 6400), numbers(10, 4), numbers(4), 10, dropout_seed(jax.random.key(0)), 0.5
    expected = ops1d.conv_relu_dropout_max_pool(*arguments)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(ops1d.conv_relu_dropout_max_pool(*arguments), expected, rtol=0, atol=1e-12)
