"""Layers: the hash as a source of dropout masks; heads: structure, start, dropout; outputs of layers by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import seeded_variables
from scipy import stats

from jaxpara.errors import UserError
from jaxpara.models import MODELS
from jaxpara.models.layers import Classifier, Dropout, dropout, dropout_seed, is_kept, make_head, output_of

SIZE = 1 << 20


def mask(key, rate, size=SIZE):
    return np.asarray(is_kept(dropout_seed(jax.random.key(key)), jnp.arange(size, dtype=jnp.uint32), rate))


def z_of(hits, count, rate):
    """Return by how many standard deviations the number of kept elements differs from its expectation."""
    return (hits - count * (1 - rate)) / np.sqrt(count * rate * (1 - rate))


def correlation_z(a, b):
    return np.corrcoef(a, b)[0, 1] * np.sqrt(len(a))


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.3, 0.5, 0.6, 0.99])
def test_rate(rate):
    assert max(abs(z_of(mask(key, rate).sum(), SIZE, rate)) for key in range(8)) < 4


def test_rate_of_every_channel_and_every_step():
    # Strides of 64 and 640 are the channels and the pools of the first layer.
    kept = mask(0, 0.3).reshape(-1, 64)
    for axis, bins in ((0, 64), (1, SIZE // 64)):
        z = z_of(kept.sum(axis), SIZE / bins, 0.3)
        assert abs(z).max() < 5.5
        assert 0.7 < (z**2).mean() < 1.35


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 10, 64, 128, 256, 640, 1024, 2560, 4096, 65536])
def test_positions_are_independent(lag):
    kept = mask(1, 0.3)
    assert abs(correlation_z(kept[:-lag], kept[lag:])) < 4.5


def test_runs_of_bits_are_uniform():
    # Eight neighbours at rate 1/2 are a byte; all 256 bytes are equally frequent.
    counts = np.bincount(np.packbits(mask(2, 0.5)), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_keys_are_independent():
    masks = np.stack([mask(key, 0.3, 1 << 16) for key in range(24)])
    z = np.corrcoef(masks) * np.sqrt(masks.shape[1])
    others = z[np.triu_indices(len(masks), 1)]
    assert abs(others).max() < 5
    assert 0.75 < (others**2).mean() < 1.3


def test_folded_keys_are_independent():
    # The keys of successive training steps and of devices come from `fold_in`.
    base = jax.random.key(0)
    masks = [
        np.asarray(is_kept(dropout_seed(jax.random.fold_in(base, step)), jnp.arange(1 << 16, dtype=jnp.uint32), 0.3))
        for step in range(8)
    ]
    z = np.corrcoef(masks)[np.triu_indices(8, 1)] * 2**8
    assert abs(z).max() < 4.5


def test_each_word_of_the_seed_changes_the_mask():
    position = jnp.arange(1 << 16, dtype=jnp.uint32)
    one, two, three = (is_kept(jnp.array(seed, jnp.uint32), position, 0.5) for seed in ([7, 9], [8, 9], [7, 11]))
    assert abs(correlation_z(one, two)) < 4.5
    assert abs(correlation_z(one, three)) < 4.5


def test_values_and_gradient():
    seed = dropout_seed(jax.random.key(3))
    inputs = jnp.linspace(1, 2, 3000).reshape(10, 300)
    kept = np.asarray(is_kept(seed, jnp.arange(3000, dtype=jnp.uint32).reshape(10, 300), 0.3))
    np.testing.assert_allclose(dropout(inputs, seed, 0.3), np.where(kept, inputs / 0.7, 0), rtol=1e-6)
    gradient = jax.grad(lambda x: dropout(x, seed, 0.3).sum())(inputs)
    np.testing.assert_allclose(gradient, np.where(kept, 1 / 0.7, 0), rtol=1e-6)


def test_module_is_the_identity_unless_training():
    inputs = jnp.ones((4, 50))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, inputs), inputs)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, inputs, True), inputs)
    run = [Dropout(0.5).apply({}, inputs, True, rngs={"dropout": jax.random.key(k)}) for k in (0, 0, 1)]
    np.testing.assert_array_equal(run[0], run[1])
    assert set(np.unique(run[0])) == {0.0, 2.0}
    assert (np.asarray(run[0]) != np.asarray(run[2])).any()


IMAGES = np.random.RandomState(0).normal(size=(2, 64, 64, 3)).astype(np.float32)


def test_outputs_of_layers_by_name():
    model = MODELS["resnet18"]()

    @jax.jit
    def outputs(variables):
        layers = {name: output_of(model, variables, IMAGES, name) for name in ("layer4", "fc", "layer2.0.conv1")}
        return layers, model.apply(variables, IMAGES, method="embed"), model.apply(variables, IMAGES)

    layers, embedded, logits = outputs(seeded_variables(model, IMAGES, jnp.float32))
    np.testing.assert_allclose(layers["layer4"], embedded, rtol=1e-5, atol=1e-5)  # averaged over the image
    np.testing.assert_allclose(layers["fc"], logits, rtol=1e-5, atol=1e-5)
    assert layers["layer2.0.conv1"].shape == (2, 128)


@pytest.mark.parametrize(("arch", "layer"), [("alexnet", "classifier.4"), ("vgg16", "classifier.3")])
def test_second_dense_layer_of_the_older_networks(arch, layer):
    model = MODELS[arch](head="torchvision")
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert jax.eval_shape(lambda v: output_of(model, v, IMAGES, layer), shapes).shape == (2, 4096)


def test_unknown_layer_lists_the_known_ones():
    model = MODELS["resnet18"]()
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    with pytest.raises(UserError, match=r"learner.layer is 'layer5', expected one of .*'layer4'.*did you mean"):
        jax.eval_shape(lambda v: output_of(model, v, IMAGES, "layer5"), variables)


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
