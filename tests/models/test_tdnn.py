"""The TDNN: parity with PyTorch in prediction and training, its size, and what it makes of time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden1d import check_gradients, fixed, fixed_like, load

from jaxpara.errors import UserError
from jaxpara.models.tdnn import TDNN

SMALL = TDNN(classes=3, units=(5, 4), kernels=(1, 3), dropout=0.0)


def shapes(network, *images):
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(images))


def test_parity_with_torch():
    golden = load("tdnn")
    with jax.enable_x64(True):
        images, targets = fixed("images", (4, 6, 9, 2), 1.0), jnp.array([0, 2, 1, 2])
        tree = shapes(SMALL, *images.shape)
        params, stats = fixed_like(tree["params"]), fixed_like(tree["batch_stats"])

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, _ = SMALL.apply(variables, images, train=True, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        gradients = jax.jit(jax.grad(loss))(params)
        logits = jax.jit(SMALL.apply)({"params": params, "batch_stats": stats}, images)
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=1e-12)
    check_gradients(golden, gradients)


def test_the_default_is_small_and_has_a_weight_for_every_band():
    params = shapes(TDNN(), 1, 128, 97, 1)["params"]
    assert params["convs_0"]["kernel"].shape == (1, 128, 64)
    # bands: scale and bias; the convolution; its norm; the head on 64 means and 64 deviations
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2 * 128 + 128 * 64 + 2 * 64 + 128 * 2 + 2


def test_the_order_of_frames_does_not_matter_without_context():
    images = jnp.asarray(fixed("images", (2, 6, 9, 1), 1.0), jnp.float32)
    network = TDNN(units=(5,), kernels=(1,))
    variables = network.init(jax.random.key(0), images)
    outputs, reversed_ = (jax.jit(network.apply)(variables, frames) for frames in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(outputs, reversed_, atol=1e-6)
    assert jax.jit(partial(network.apply, method="embed"))(variables, images).shape == (2, 10)


def test_layers_that_do_not_match_are_refused():
    with pytest.raises(UserError, match=r"model\.units \(64, 64\) and kernels \(1,\) differ in length; give"):
        TDNN(units=(64, 64))
