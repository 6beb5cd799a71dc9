"""The counter hash as a source of dropout masks: rate, independence of positions, of calls and of keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxpara.models.dropout import Dropout, dropout, keep, seed_of

SIZE = 1 << 20


def mask(key, rate, size=SIZE):
    return np.asarray(keep(seed_of(jax.random.key(key)), jnp.arange(size, dtype=jnp.uint32), rate))


def z_of(hits, count, rate):
    """How many standard deviations the number of kept elements is from its expectation."""
    return (hits - count * (1 - rate)) / np.sqrt(count * rate * (1 - rate))


def correlation_z(a, b):
    return np.corrcoef(a, b)[0, 1] * np.sqrt(len(a))


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.3, 0.5, 0.6, 0.99])
def test_rate(rate):
    assert max(abs(z_of(mask(key, rate).sum(), SIZE, rate)) for key in range(8)) < 4


def test_rate_of_every_channel_and_every_step():
    """Strides of 64 and 640 are the channels and the pools of the first layer."""
    kept = mask(0, 0.3).reshape(-1, 64)
    for axis, bins in ((0, 64), (1, SIZE // 64)):
        z = z_of(kept.sum(axis), SIZE / bins, 0.3)
        assert abs(z).max() < 5.5
        assert 0.7 < (z**2).mean() < 1.35


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 10, 64, 128, 256, 640, 1024, 2560, 4096, 65536])
def test_positions_are_independent(lag):
    kept = mask(1, 0.3)
    assert abs(correlation_z(kept[:-lag], kept[lag:])) < 4.5


def test_runs_of_bits_are_uniform():
    """Eight neighbours at rate 1/2 make a byte; all 256 bytes are equally frequent."""
    counts = np.bincount(np.packbits(mask(2, 0.5)), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_keys_are_independent():
    masks = np.stack([mask(key, 0.3, 1 << 16) for key in range(24)])
    z = np.corrcoef(masks) * np.sqrt(masks.shape[1])
    others = z[np.triu_indices(len(masks), 1)]
    assert abs(others).max() < 5
    assert 0.75 < (others**2).mean() < 1.3


def test_folded_keys_are_independent():
    """The keys of successive training steps and of devices come from `fold_in`."""
    base = jax.random.key(0)
    masks = [
        np.asarray(keep(seed_of(jax.random.fold_in(base, step)), jnp.arange(1 << 16, dtype=jnp.uint32), 0.3))
        for step in range(8)
    ]
    z = np.corrcoef(masks)[np.triu_indices(8, 1)] * 2**8
    assert abs(z).max() < 4.5


def test_one_seed_word_alone_makes_another_mask():
    position = jnp.arange(1 << 16, dtype=jnp.uint32)
    one, two, three = (keep(jnp.array(seed, jnp.uint32), position, 0.5) for seed in ([7, 9], [8, 9], [7, 11]))
    assert abs(correlation_z(one, two)) < 4.5
    assert abs(correlation_z(one, three)) < 4.5


def test_values_and_gradient():
    seed = seed_of(jax.random.key(3))
    inputs = jnp.linspace(1, 2, 3000).reshape(10, 300)
    kept = np.asarray(keep(seed, jnp.arange(3000, dtype=jnp.uint32).reshape(10, 300), 0.3))
    np.testing.assert_allclose(dropout(inputs, seed, 0.3), np.where(kept, inputs / 0.7, 0), rtol=1e-6)
    gradient = jax.grad(lambda x: dropout(x, seed, 0.3).sum())(inputs)
    np.testing.assert_allclose(gradient, np.where(kept, 1 / 0.7, 0), rtol=1e-6)


def test_module_is_the_identity_unless_training():
    inputs = jnp.ones((4, 50))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, inputs), inputs)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, inputs, True), inputs)
    run = [Dropout(0.5).apply({}, inputs, True, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
    np.testing.assert_array_equal(run[0], run[1])
    assert set(np.unique(run[0])) == {0.0, 2.0}
    assert (np.asarray(run[0]) != np.asarray(run[2])).any()
