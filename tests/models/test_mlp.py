"""The MLP, and the learned weights of the layers of a speech encoder, in it and in the LSTM."""

import jax
import numpy as np
import pytest
from scipy.special import softmax

from jaxpara.models.layers import LayerWeights
from jaxpara.models.mlp import MLP
from jaxpara.models.recurrent import SequenceLSTM

STATES = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype(np.float32)  # [batch, time, layer, channel]


def test_layers_are_averaged_with_the_softmax_of_learned_numbers():
    variables = LayerWeights().init(jax.random.key(0), STATES)
    np.testing.assert_allclose(LayerWeights().apply(variables, STATES), STATES.mean(2), rtol=0, atol=1e-6)
    logits = np.float32([0.3, -1, 2])
    found = LayerWeights().apply({"params": {"logits": logits}}, STATES)
    np.testing.assert_allclose(found, np.average(STATES, axis=2, weights=softmax(logits)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "states"),
    [(MLP(classes=3, units=(4,)), STATES[:, 0]), (SequenceLSTM(lstm=(4,)), STATES)],
    ids=["mlp", "lstm"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_network_on_all_layers_is_that_on_their_mean(model, states, dtype):
    states = states.astype(dtype)
    variables = jax.jit(model.init)(jax.random.key(0), states)
    params = dict(variables["params"])
    assert params.pop("layers")["logits"].shape == (3,)
    found = model.apply(variables, states)
    assert found.dtype == np.float32
    mean = states.astype(np.float32).mean(-2)
    np.testing.assert_allclose(found, model.apply({**variables, "params": params}, mean), rtol=0, atol=1e-6)


def test_channels_of_any_scale_count_alike():
    model, vectors = MLP(units=()), STATES[0, 0]
    variables = model.init(jax.random.key(0), vectors)

    def trained(vectors):
        return model.apply(variables, vectors, train=True, mutable=["batch_stats"])[0]

    scaled = vectors * np.geomspace(1, 1e4, 8).astype(np.float32) + 5
    np.testing.assert_allclose(trained(scaled), trained(vectors), rtol=0, atol=2e-3)


def test_dropout_acts_in_training_only():
    model = MLP(units=(64,), dropout=0.5, axis_name=None)
    variables = model.init(jax.random.key(0), STATES[0, 0])
    first, second = (
        model.apply(variables, STATES[0, 0], train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(i)})[
            0
        ]
        for i in range(2)
    )
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(model.apply(variables, STATES[0, 0]), model.apply(variables, STATES[0, 0]))
