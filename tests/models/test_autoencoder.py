"""The autoencoder: parity with PyTorch, dependencies of its embedding, and its size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import check_gradients, fixed, fixed_like, load

from jaxpara.models.autoencoder import SequenceAutoencoder

STEPS, BANDS = 7, 5


def small(**fields):
    return SequenceAutoencoder(units=4, layers=2, **fields)


def shapes(network, bands=BANDS):
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, STEPS, bands)))


@pytest.fixture(scope="module")
def variables():
    return jax.tree.map(jnp.float32, fixed_like(shapes(small())))


@pytest.fixture(scope="module")
def inputs():
    return jnp.asarray(fixed("inputs", (3, STEPS, BANDS), 0.5), jnp.float32)


apply = jax.jit(small().apply)
embed = jax.jit(partial(small().apply, method="embed"))


def test_parity_with_torch():
    golden = load("autoencoder_bidirectional")
    with jax.enable_x64(True):
        network = small()
        inputs = fixed("inputs", (3, STEPS, BANDS), 0.5)
        params = fixed_like(shapes(network)["params"])

        def error(params):
            outputs = network.apply({"params": params}, inputs)
            return jnp.sqrt(((outputs - inputs) ** 2).mean((1, 2))).mean(), outputs

        gradients, outputs = jax.jit(jax.grad(error, has_aux=True))(params)
        embedding = jax.jit(partial(network.apply, method="embed"))({"params": params}, inputs)
    np.testing.assert_allclose(embedding, golden["embedding"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=1e-12)
    check_gradients(golden, gradients)


@pytest.mark.parametrize(
    ("network", "embedding", "parameters"),
    [
        (SequenceAutoencoder(), 1024, 2_697_600),
        (SequenceAutoencoder(units=16, layers=1), 32, 58_816),
    ],
)
def test_sizes(network, embedding, parameters):
    tree = shapes(network, bands=128)
    assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == parameters
    batch = jnp.zeros((2, STEPS, 128))
    assert jax.eval_shape(partial(network.apply, method="embed"), tree, batch).shape == (2, embedding)
    assert jax.eval_shape(network.apply, tree, batch).shape == batch.shape


def test_the_embedding_depends_only_on_the_encoder(variables, inputs):
    other = {"params": variables["params"] | {"decoder": jax.tree.map(lambda x: x + 1, variables["params"]["decoder"])}}
    np.testing.assert_array_equal(embed(other, inputs), embed(variables, inputs))
    assert abs(apply(other, inputs) - apply(variables, inputs)).max() > 0.1


def test_the_order_of_frames_matters(variables, inputs):
    assert abs(embed(variables, inputs) - embed(variables, inputs[:, ::-1])).max() > 1e-2
    assert abs(embed(variables, inputs) - embed(variables, inputs.at[:, 2:4].set(inputs[:, 3:1:-1]))).max() > 1e-3


def test_recordings_of_a_batch_do_not_mix(variables, inputs):
    alone = apply(variables, inputs.at[0].set(1.0).at[2].set(-1.0))
    np.testing.assert_array_equal(apply(variables, inputs)[1], alone[1])


def test_frames_that_the_decoder_has_seen_at_each_step():
    # Row: the reconstructed frame; column: True if it depends on that frame of the target.
    network = small()
    decoder = network.bind(fixed_like(shapes(network))).decoder
    embedding = jnp.zeros((1, 16))

    def reconstructed(frames):
        return decoder(embedding, frames[None])[0]

    slopes = jax.jit(jax.jacrev(reconstructed))(jnp.asarray(fixed("targets", (STEPS, BANDS), 0.5), jnp.float32))
    found = abs(slopes).max((1, 3)) > 0
    t, seen = np.indices((STEPS, STEPS))
    expected = (seen <= t - 2) | (seen >= STEPS - 1 - t) & (seen <= STEPS - 2)
    np.testing.assert_array_equal(found, expected)


def test_dropout_acts_only_in_training(variables, inputs):
    train = jax.jit(partial(small(dropout=0.5).apply, train=True))
    trained = [train(variables, inputs, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
    np.testing.assert_array_equal(trained[0], trained[1])
    assert abs(trained[0] - trained[2]).max() > 1e-2
    assert abs(trained[0] - apply(variables, inputs)).max() > 1e-2
