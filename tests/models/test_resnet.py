"""The residual networks against torchvision's: inference, training mode, running statistics and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import fingerprints, golden, relative, seeded_variables
from seeded import drawn, image

from jaxpara.errors import UserError
from jaxpara.models.resnet import PreActResNet18, ResNet18, ResNet34, ResNet50, ResNet101, conv

NETS = {
    "resnet18": ResNet18(),
    "resnet34": ResNet34(),
    "resnet50": ResNet50(),
    "resnet101": ResNet101(),
    "preact": PreActResNet18(),
}


@pytest.mark.parametrize("arch", NETS)
def test_inference_matches_torchvision(arch):
    net, images, theirs = NETS[arch], jnp.asarray(image(arch), jnp.float32), golden(arch)
    variables = seeded_variables(net, images, jnp.float32)
    embedding = jax.jit(partial(net.apply, method="embed"))(variables, images)
    logits = embedding if arch == "preact" else net.apply(variables, embedding, method=lambda net, x: net.fc(x))
    assert relative(embedding @ drawn("embedding", (embedding.shape[1], 8)), theirs["embedding"]) < 1e-5
    assert relative(logits, theirs["logits"]) < 1e-5


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "preact"])
def test_training_matches_torchvision(arch):
    # In float64, because in float32 a value on the other side of a ReLU's kink changes whole gradients, and
    # statistics of 18 values (3 images of 3 x 2 points) amplify rounding.
    net, theirs = NETS[arch], golden(arch)
    with jax.enable_x64(True):
        images = jnp.asarray(image(arch))
        variables = seeded_variables(net, images, jnp.float64)

        @jax.jit
        def gradient(variables):
            def loss(params):
                tree = {"params": params, "batch_stats": variables["batch_stats"]}
                logits, updated = net.apply(tree, images, train=True, mutable=["batch_stats"])
                return (logits * drawn("loss", logits.shape)).sum(), (logits, updated)

            return jax.grad(loss, has_aux=True)(variables["params"])

        gradients, (logits, updated) = gradient(variables)
        assert relative(logits, theirs["train_logits"]) < 1e-10
        assert relative(fingerprints(updated), theirs["statistics"]) < 1e-10
        assert relative(fingerprints({"params": gradients}), theirs["gradients"]) < 1e-9


def small_resnet(**fields):
    net = ResNet18(**fields)
    images = jax.random.normal(jax.random.key(1), (4, 33, 40, 3))
    return net, seeded_variables(net, images, jnp.float32), images


def test_frozen_stages_neither_learn_nor_follow_the_batch():
    frozen = ("conv1", "bn1", "layer1", "layer2")
    net, variables, images = small_resnet(frozen=frozen)

    @jax.jit
    def step(params):
        def loss(params):
            tree = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, updated = net.apply(tree, images, train=True, mutable=["batch_stats"])
            return jnp.square(logits).sum(), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradients, updated = step(variables["params"])
    for name, tree in gradients.items():
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree)) == (name not in frozen), name
    for name, tree in updated.items():
        before = variables["batch_stats"][name]
        same = jax.tree.map(np.array_equal, tree, before)
        assert all(jax.tree.leaves(same)) == (name in frozen), name


def test_frozen_stages_must_be_the_first():
    with pytest.raises(UserError, match="the first few of"):
        small_resnet(frozen=("layer1",))


def test_convolutions_start_as_in_torchvision():
    kernel = conv(256, 3).init(jax.random.key(0), jnp.zeros((1, 3, 3, 128)))["params"]["kernel"]
    assert np.std(kernel) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
