"""Networks computed in bfloat16: the gradient stays close to that of float32, and the weights stay in float32."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxpara.models.autoencoder import SequenceAutoencoder
from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.models.convnets import VGG16
from jaxpara.models.layers import BatchNorm
from jaxpara.models.resnet import Layer, ResNet18, conv
from jaxpara.models.resnet1d import ResNet1DLSTM
from jaxpara.models.resnet_gru import ResNetGRU
from jaxpara.training import parallel, steps
from jaxpara.training.losses import CrossEntropy, RootMeanSquare, WindowPCC
from jaxpara.training.state import create

RNG = np.random.default_rng(0)
WAVES = RNG.normal(size=(4, 640, 1)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
LABELS = RNG.normal(size=(4, 16)).astype(np.float32)
STRIPS = RNG.integers(0, 256, (1, 80, 32)).astype(np.uint8)


class SmallResNet(nn.Module):
    """The layers of ResNet18, few and narrow."""

    axis_name: str | None = parallel.AXIS

    @nn.compact
    def __call__(self, images, train=False):
        x = conv(8, 7, 2)(images)
        x = nn.relu(BatchNorm(self.axis_name)(x, train))
        x = Layer(16, 1, 2, False, lambda **fields: BatchNorm(self.axis_name, **fields))(x, train)
        return nn.Dense(2)(x.mean((1, 2)))


CASES = {
    "Breathing 2": (CNN1DLSTM((4,) * 4, pools=(5, 2, 2, 2), lstm=(4, 4), dropout=0.0), WAVES, LABELS, WindowPCC()),
    "Mask": (SmallResNet(), IMAGES / np.float32(255), np.array([0, 1, 0, 1], np.float32), CrossEntropy()),
}
ONLY_TRACED = {
    "Breathing 3": (
        ResNet1DLSTM(stem=4, stages=(2, 2), blocks=1, pools=(5, 2, 4), lstm=(4,), axis_name=parallel.AXIS),
        WAVES,
        LABELS,
        WindowPCC(),
    ),
    "Breathing 4, pieces": (ResNetGRU(gru=(4,)), STRIPS, LABELS[:1], WindowPCC()),
    "Breathing 4, dense": (ResNetGRU(gru=(4,), trunk="dense"), STRIPS, LABELS[:1], WindowPCC()),
    "ResNet18": (ResNet18(head="v1"), IMAGES.astype(np.float32), np.zeros(4, np.float32), CrossEntropy()),
    "VGG16": (VGG16(), IMAGES.astype(np.float32), np.zeros(4, np.float32), CrossEntropy()),
    "auDeep": (
        SequenceAutoencoder(units=4, dropout=0.1),
        LABELS[:, :, None],
        LABELS[:, :, None],
        RootMeanSquare(),
    ),
}


def inputs_of(part, key):
    return part["inputs"]


def stepped(model, inputs, targets, loss, precision):
    """The state after a step whose optimizer keeps the gradient and nothing else, and the loss."""
    transform = optax.trace(0.0)
    step = jax.pmap(
        steps.train_step(model, inputs_of, loss, transform, precision),
        axis_name=parallel.AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=jax.local_devices()[:1],
    )
    weights = np.ones(targets.shape if targets.ndim > 1 else len(targets), np.float32)
    batch = {"inputs": inputs, "targets": targets, "weights": weights}
    state = create(model, inputs[:1], transform, seed=3)
    return step(state, {name: value[None, None] for name, value in batch.items()})


def flat(tree):
    return np.concatenate([np.zeros(0, np.float32), *(np.ravel(leaf) for leaf in jax.tree.leaves(tree))])


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_close_to_that_of_float32(case):
    (exact, loss), (rounded, loss_rounded) = (stepped(*CASES[case], precision) for precision in ("float32", "bfloat16"))
    one, other = flat(exact.opt_state.trace), flat(rounded.opt_state.trace)
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99
    assert np.linalg.norm(other) == pytest.approx(np.linalg.norm(one), rel=0.05)
    assert 0 < abs(float(loss_rounded) - float(loss)) < 0.02
    np.testing.assert_allclose(flat(rounded.batch_stats), flat(exact.batch_stats), rtol=0.02, atol=0.02)
    # Weights, optimizer state and BatchNorm statistics are not rounded.
    for leaf, before in zip(jax.tree.leaves(rounded), jax.tree.leaves(exact), strict=True):
        assert leaf.dtype == before.dtype
    assert not np.array_equal(one, one.astype(jnp.bfloat16).astype(np.float32))


@pytest.mark.parametrize(("precision", "products"), [("float32", "HIGHEST"), ("tf32", "HIGH"), ("bfloat16", "DEFAULT")])
@pytest.mark.parametrize("case", CASES)
def test_every_product_has_the_precision_of_the_field(case, precision, products):
    """Those of the backward pass and of the prediction too; the tests' own setting is HIGHEST."""
    model, inputs, targets, loss = CASES[case]
    transform = optax.trace(0.0)
    state = jax.eval_shape(lambda: create(model, inputs[:1], transform, seed=3))
    weights = np.ones(targets.shape if targets.ndim > 1 else len(targets), np.float32)
    batch = {"inputs": inputs[None], "targets": targets[None], "weights": weights[None]}
    spread = partial(jax.vmap, in_axes=(None, 0), axis_name=parallel.AXIS)
    train = spread(steps.train_step(model, inputs_of, loss, transform, precision))
    predict = steps.forward(model, precision)
    for lowered in (
        jax.jit(train).lower(state, jax.tree.map(lambda x: x[None], batch)),
        jax.jit(predict).lower(state.variables, inputs),
    ):
        found = re.findall(r"precision(?: = \[|_config = \[#stablehlo<precision )(\w+)", lowered.as_text())
        assert len(found) > 3
        assert {*found} == {products}


def convolutions(jaxpr):
    """Yield the types of the inputs of every convolution, including those inside loops and functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield tuple(str(variable.aval.dtype) for variable in equation.invars)
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "jaxpr") or hasattr(x, "eqns")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from convolutions(inner)


@pytest.mark.parametrize("case", ONLY_TRACED)
def test_every_network_is_computed_in_bfloat16(case):
    model, inputs, targets, loss = ONLY_TRACED[case]
    transform = optax.adam(1e-3)
    state = jax.eval_shape(lambda: create(model, inputs[:1], transform, seed=0))
    weights = np.ones(targets.shape if loss == WindowPCC() else len(targets), np.float32)
    batch = {"inputs": inputs[None], "targets": targets[None], "weights": weights[None]}
    one = steps.train_step(model, inputs_of, loss, transform, "bfloat16")
    step = jax.vmap(one, axis_name=parallel.AXIS, in_axes=(None, 0))
    traced, (after, _) = jax.make_jaxpr(step, return_shape=True)(state, jax.tree.map(lambda x: x[None], batch))
    found = set(convolutions(traced.jaxpr))
    assert found == ({("bfloat16", "bfloat16")} if case != "auDeep" else set())
    assert {leaf.dtype for leaf in jax.tree.leaves((after.params, after.batch_stats))} == {np.dtype(np.float32)}


def test_statistics_are_added_up_in_float32():
    """The sum of many values would be wrong in bfloat16, in which 256 + 1 is 256."""
    x = jnp.asarray(1 + RNG.random((4, 5000, 3)), jnp.bfloat16)
    variables = BatchNorm().init(jax.random.key(0), x)
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), variables["params"])
    y, changed = BatchNorm().apply(variables | {"params": low}, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    mean, variance = exact.mean((0, 1)), exact.var((0, 1), ddof=1)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.9 + 0.1 * variance, rtol=1e-5)
