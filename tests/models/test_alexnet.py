"""AlexNet against torchvision's."""

from functools import partial

import jax
import jax.numpy as jnp
from networks import golden, relative, seeded_variables
from seeded import drawn, image

from jaxpara.models.alexnet import AlexNet


def test_same_as_torchvision():
    net, images, theirs = AlexNet(head="v2"), jnp.asarray(image("alexnet"), jnp.float32), golden("alexnet")
    variables = seeded_variables(net, images, jnp.float32)
    embedding = jax.jit(partial(net.apply, method="embed"))(variables, images)
    assert embedding.shape == (2, 9216)
    assert relative(embedding @ drawn("embedding", (9216, 8)), theirs["embedding"]) < 1e-5
    assert relative(jax.jit(net.apply)(variables, images), theirs["logits"]) < 1e-5


def test_own_classifier_is_the_default():
    shapes = jax.eval_shape(AlexNet().init, jax.random.key(0), jnp.zeros((1, 63, 63, 3)))
    assert {name: layer["kernel"].shape for name, layer in shapes["params"]["classifier"].items()} == {
        "1": (9216, 4096),
        "4": (4096, 4096),
        "6": (4096, 2),
    }
