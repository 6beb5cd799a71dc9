"""AlexNet and VGG16 against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import golden, relative, seeded_variables
from seeded import drawn, image

from jaxpara.models.convnets import VGG16, AlexNet


@pytest.mark.parametrize(
    ("arch", "net", "features"), [("alexnet", AlexNet(head="v2"), 9216), ("vgg16", VGG16(), 25088)]
)
def test_matches_torchvision(arch, net, features):
    images, theirs = jnp.asarray(image(arch), jnp.float32), golden(arch)
    variables = seeded_variables(net, images, jnp.float32)
    embedding = jax.jit(partial(net.apply, method="embed"))(variables, images)
    assert embedding.shape == (2, features)
    assert relative(embedding @ drawn("embedding", (features, 8)), theirs["embedding"]) < 1e-5
    assert relative(jax.jit(net.apply)(variables, images), theirs["logits"]) < 1e-5


def classifier_shapes(net, size):
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))
    return {name: layer["kernel"].shape for name, layer in shapes["params"]["classifier"].items()}


def test_own_classifier_of_alexnet_is_the_default():
    assert classifier_shapes(AlexNet(), 63) == {"1": (9216, 4096), "4": (4096, 4096), "6": (4096, 2)}


def test_own_classifier_of_vgg_starts_as_in_torchvision():
    net = VGG16(head="torchvision")
    assert classifier_shapes(net, 32) == {"0": (25088, 4096), "3": (4096, 4096), "6": (4096, 2)}
    classifier = net.bind({}).classifier
    # Compiled, it draws the last layer only.
    last = jax.jit(lambda key: classifier.init(key, jnp.zeros((1, 64)))["params"]["6"])(jax.random.key(0))
    assert np.std(last["kernel"]) == pytest.approx(0.01, rel=0.05)
    assert np.all(last["bias"] == 0)


def test_convolutions_of_alexnet_start_as_in_torchvision():
    """Weights and biases are uniform within one over the root of the fan-in: 3 * 11 * 11 inputs of the first layer."""
    net = AlexNet(head="v2")
    first = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 63, 63, 3)))["params"]["features"]["0"]
    for values in (first["kernel"], first["bias"]):
        assert 0.9 / np.sqrt(363) < np.abs(values).max() <= 1 / np.sqrt(363)
