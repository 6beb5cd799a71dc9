"""VGG16 against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from networks import golden, relative, seeded_variables
from seeded import drawn, image

from jaxpara.models.vgg import VGG16


def test_same_as_torchvision():
    net, images, theirs = VGG16(), jnp.asarray(image("vgg16"), jnp.float32), golden("vgg16")
    variables = seeded_variables(net, images, jnp.float32)
    embedding = jax.jit(partial(net.apply, method="embed"))(variables, images)
    assert embedding.shape == (2, 25088)
    assert relative(embedding @ drawn("embedding", (25088, 8)), theirs["embedding"]) < 1e-5
    assert relative(jax.jit(net.apply)(variables, images), theirs["logits"]) < 1e-5


def test_own_classifier_starts_as_in_torchvision():
    shapes = jax.eval_shape(VGG16(head="torchvision").init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert {name: layer["kernel"].shape for name, layer in shapes["params"]["classifier"].items()} == {
        "0": (25088, 4096),
        "3": (4096, 4096),
        "6": (4096, 2),
    }
    head = VGG16(head="torchvision", classes=7).bind({}).classifier
    params = head.init(jax.random.key(0), jnp.zeros((1, 64)))["params"]
    assert np.std(params["3"]["kernel"]) < 0.0101
    assert np.all(params["6"]["bias"] == 0)
