"""The TCN: parity with PyTorch in prediction and training, its reach, and prediction part by part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import check_gradients, fixed, fixed_like, load

from jaxpara.errors import UserError
from jaxpara.models.tcn import TCN

SMALL = TCN(channels=4, layers=3, taps=3, dropout=0.0)


def variables(inputs, dtype=None):
    shapes = jax.eval_shape(SMALL.init, jax.random.key(0), inputs)
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), {kind: fixed_like(tree) for kind, tree in shapes.items()}
    )


def test_parity_with_torch():
    golden = load("tcn")
    with jax.enable_x64(True):
        inputs, targets = jnp.asarray(fixed("x", (2, 23, 5), 1.0)), fixed("y", (2, 23), 1.0)
        weights = variables(inputs)

        def loss(params):
            outputs, _ = SMALL.apply({**weights, "params": params}, inputs, train=True, mutable=["batch_stats"])
            return (outputs * targets).sum()

        gradients = jax.jit(jax.grad(loss))(weights["params"])
        outputs = jax.jit(SMALL.apply)(weights, inputs)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=1e-12)
    check_gradients(golden, gradients)


def test_an_output_depends_on_its_margin_alone():
    assert TCN().margin == 254
    inputs = jnp.asarray(fixed("x", (1, 41, 5), 1.0), jnp.float32)
    slope = jax.jit(jax.jacobian(lambda x: SMALL.apply(variables(inputs), x)[0, 20]))(inputs)[0]
    reached = np.flatnonzero(np.abs(slope).sum(1))
    assert (reached.min(), reached.max()) == (20 - SMALL.margin, 20 + SMALL.margin)


def test_dropout_acts_in_training_alone():
    inputs = jnp.asarray(fixed("x", (1, 23, 5), 1.0), jnp.float32)
    dropping, weights = SMALL.clone(dropout=0.5), variables(inputs, jnp.float32)
    np.testing.assert_array_equal(dropping.apply(weights, inputs), SMALL.apply(weights, inputs))
    training = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}
    outputs, _ = dropping.apply(weights, inputs, **training)
    assert not np.allclose(outputs, SMALL.apply(weights, inputs, train=True, mutable=["batch_stats"])[0], atol=1e-3)


def test_an_unknown_output_is_named():
    with pytest.raises(UserError, match=r"model\.output is 'relu', expected one of \['tanh', 'linear'\]"):
        TCN(output="relu")
