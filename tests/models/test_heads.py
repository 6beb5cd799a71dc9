"""Heads: structure, start, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.models.heads import Classifier, make_head

FEATURES = jax.random.normal(jax.random.key(0), (50, 512))


def numpy_head(params, x):
    for place in ("0", "3"):
        x = np.maximum(x @ params[place]["kernel"] + params[place]["bias"], 0)
    return x @ params["6"]["kernel"] + params["6"]["bias"]


def test_v1_is_three_dense_layers():
    head = make_head("v1", 2)
    variables = head.init(jax.random.key(1), FEATURES)
    shapes = {name: layer["kernel"].shape for name, layer in variables["params"].items()}
    assert shapes == {"0": (512, 256), "3": (256, 16), "6": (16, 2)}
    np.testing.assert_allclose(
        head.apply(variables, FEATURES), numpy_head(variables["params"], FEATURES), rtol=1e-4, atol=1e-5
    )


def test_v1_drops_6_of_10_after_each_relu_when_training():
    head = Classifier((("0", 4000), ("3", 4000), ("6", 4000)), 0.6)
    variables = {
        "params": {
            "0": {"kernel": jnp.ones((1, 4000)), "bias": jnp.zeros(4000)},
            "3": {"kernel": jnp.eye(4000), "bias": jnp.zeros(4000)},
            "6": {"kernel": jnp.eye(4000), "bias": jnp.zeros(4000)},
        }
    }
    x = jnp.ones((1, 1))
    np.testing.assert_array_equal(head.apply(variables, x), np.ones((1, 4000)))
    dropped = head.apply(variables, x, True, rngs={"dropout": jax.random.key(0)})
    kept = np.unique(dropped)
    np.testing.assert_allclose(kept, [0, 1 / 0.4**2], rtol=1e-5)
    assert np.mean(dropped != 0) == pytest.approx(0.16, abs=0.03)


def test_linear_starts_as_in_torch():
    params = make_head("v2", 1000).init(jax.random.key(2), FEATURES)["params"]
    bound = 512**-0.5
    for leaf in (params["kernel"], params["bias"]):
        assert np.abs(leaf).max() <= bound
        assert np.std(leaf) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_unknown_head():
    with pytest.raises(UserError, match=r"model.head is 'v3', expected one of \['v1', 'v2', 'torchvision'\]"):
        make_head("v3", 2)
