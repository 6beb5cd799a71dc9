"""Breathing systems 1 and 2: parity with PyTorch, parameter counts and shapes of every layer, training mode."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import check_gradients, fixed, fixed_like, load, one_minus_pearson

from jaxpara.errors import UserError
from jaxpara.models.cnn1d import CNN1DLSTM, ConvPool

MEDIUM = CNN1DLSTM()
SUBMITTED = CNN1DLSTM(filters=(64, 128, 128, 256), output="linear")
THREE = CNN1DLSTM(
    filters=(64, 128, 256), kernels=(8, 6, 6), pools=(10, 8, 8), last_pool="max", dropout=0.2, output="linear"
)
SMALL = CNN1DLSTM(filters=(4, 4), kernels=(10, 8), pools=(10, 64), lstm=(4,))


def loss_of(params, waveform, target):
    outputs, captured = MEDIUM.apply(
        {"params": params}, waveform, capture_intermediates=lambda _, method: method == "embed"
    )
    return one_minus_pearson(outputs, target), (outputs, captured["intermediates"]["embed"][0])


def shapes_of(network, samples=640):
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, samples, 1)))["params"]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-4)])
def test_parity_with_torch(dtype, tolerance):
    golden = load("cnn1d")
    with jax.enable_x64(dtype == "float64"):
        waveform = jnp.asarray(fixed("waveform", (2, 5120, 1), 1.0), dtype)
        target = jnp.asarray(fixed("target", (2, 8), 1.0), dtype)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), fixed_like(shapes_of(MEDIUM)))
        step = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
        (loss, (outputs, embeddings)), gradients = step(params, waveform, target)
    np.testing.assert_allclose(outputs, golden["outputs"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(embeddings[..., ::16], golden["embeddings"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(loss, golden["loss"], rtol=0, atol=tolerance)
    check_gradients(golden, gradients, tolerance)


@pytest.mark.parametrize(("network", "count"), [(MEDIUM, 1_642_049), (SUBMITTED, 1_379_777), (THREE, 1_297_601)])
def test_parameter_counts(network, count):
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes_of(network))) == count


def test_parameter_counts_of_every_layer():
    params = shapes_of(MEDIUM)
    layers = {**{name: params[name] for name in params if name != "sequence"}, **params["sequence"]}
    counts = {name: sum(leaf.size for leaf in layer.values()) for name, layer in layers.items()}
    assert counts == {
        "convs_0": 704,
        "convs_1": 65_664,
        "convs_2": 196_864,
        "convs_3": 327_936,
        "lstm0": 525_312,
        "lstm1": 525_312,
        "head": 257,
    }


def test_output_shapes_of_every_layer():
    def layers(waveform):
        return MEDIUM.init_with_output(
            jax.random.key(0), waveform, capture_intermediates=lambda module, _: isinstance(module, ConvPool)
        )

    outputs, variables = jax.eval_shape(layers, jnp.zeros((1, 256_000, 1)))
    found = [layer["__call__"][0].shape for layer in variables["intermediates"].values()]
    assert found == [(1, 25_600, 64), (1, 6400, 128), (1, 1600, 256), (1, 400, 256)]
    assert outputs.shape == (1, 400)


@pytest.mark.parametrize("network", [MEDIUM, SUBMITTED, THREE])
@pytest.mark.parametrize("labels", [1, 3])
def test_any_number_of_labels(network, labels):
    assert network.samples_per_output == 640
    shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), jnp.zeros((3, 640 * labels, 1)))
    assert shapes[0].shape == (3, labels)


@pytest.mark.parametrize("shape", [(1, 1000, 1), (2, 640), (1, 640, 2)])
def test_wrong_inputs_are_refused(shape):
    with pytest.raises(UserError, match="multiple of 640"):
        SMALL.init(jax.random.key(0), jnp.zeros(shape))


def test_dropout_acts_only_in_training():
    waveform = jnp.asarray(fixed("waveform", (2, 5120, 1), 1.0), jnp.float32)
    variables = {"params": fixed_like(shapes_of(SMALL))}
    embed = jax.jit(partial(SMALL.apply, variables, train=True, method="embed"))
    first, again, other = (embed(waveform, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 1e-3
    evaluated = jax.jit(partial(SMALL.apply, variables, method="embed"))(waveform)
    no_dropout = SMALL.clone(dropout=0.0)
    np.testing.assert_array_equal(
        jax.jit(partial(no_dropout.apply, variables, train=True, method="embed"))(waveform), evaluated
    )


def test_a_step_down_the_gradient_lowers_the_loss():
    waveform = jnp.asarray(fixed("waveform", (2, 640 * 16, 1), 1.0), jnp.float32)
    target = jnp.asarray(fixed("target", (2, 16), 1.0), jnp.float32)
    params = fixed_like(shapes_of(SMALL))

    @jax.jit
    def loss_and_gradient(params):
        def loss(params):
            outputs = SMALL.apply({"params": params}, waveform, True, rngs={"dropout": jax.random.key(1)})
            return one_minus_pearson(outputs, target)

        return jax.value_and_grad(loss)(params)

    before, gradient = loss_and_gradient(params)
    norm = sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient))
    step = 1e-3 / norm
    after, _ = loss_and_gradient(jax.tree.map(lambda p, g: p - step * g, params, gradient))
    # With the same dropout mask the loss falls by the step times the squared gradient, to first order.
    np.testing.assert_allclose(before - after, 1e-3, rtol=0.1)
