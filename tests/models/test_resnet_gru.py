"""Breathing system 4: parity with PyTorch, chunks, frozen stages, the dense trunk against the plain network, counts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import fixed_like
from networks import golden, relative, seeded_variables
from seeded import drawn

from jaxpara.errors import UserError
from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.models.recurrent import SequenceLSTM
from jaxpara.models.resnet_gru import BACKBONES, ResNetGRU

SMALL = partial(ResNetGRU, gru=(6, 4))


def strips(batch, labels, bands):
    return np.random.RandomState(4).randint(0, 256, (batch, 48 + 2 * labels, bands)).astype(np.uint8)


def shapes_of(network):
    frames = network.context_frames + 2
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, frames, 128), jnp.uint8))


def variables_of(network, dtype=jnp.float32):
    """Return the weights that `make_resnet_gru.py` gave its PyTorch twin."""
    backbone = seeded_variables(BACKBONES[network.backbone].make(), jnp.zeros((1, 64, 64, 3)), dtype)
    backbone["params"].pop("fc", None)
    tree = {kind: {"resnet": dict(values)} for kind, values in backbone.items()}
    tree["params"] |= fixed_like({k: v for k, v in shapes_of(network)["params"].items() if k != "resnet"})
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def plain_resnet(method, frozen=()):
    """Return a function that applies the ResNet18 inside the weights of a whole network to images."""
    net = BACKBONES["resnet18"].make(frozen=frozen)

    def apply(variables, images, **arguments):
        tree = {kind: values["resnet"] for kind, values in variables.items()}
        return net.apply(tree, images, method=method, **arguments)

    return apply


def normalised(inputs):
    """Map `[batch, frame, band]` to `[batch, band, frame, 3]` as torchvision's weights expect it."""
    colors = np.repeat(np.swapaxes(np.asarray(inputs, float), 1, 2)[..., None] / 255, 3, -1)
    return jnp.asarray((colors - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])


# The 2 x 3 pieces are processed in chunks of 2, of 3 (4 does not divide 6), and all at once.
@pytest.mark.parametrize(("backbone", "chunk"), [("resnet18", 2), ("resnet18", 4), ("preact_resnet18", 100)])
def test_pieces_match_pytorch(backbone, chunk):
    normalise = "imagenet" if backbone == "resnet18" else "none"
    network, theirs = SMALL(backbone=backbone, normalise=normalise, chunk=chunk), golden("resnet_gru")
    variables, inputs = variables_of(network), strips(2, 3, 33)

    @jax.jit
    def apply(variables, inputs):
        capture = partial(network.apply, mutable="intermediates", capture_intermediates=lambda _, name: name == "embed")
        outputs, seen = capture(variables, inputs)
        return outputs, seen["intermediates"]["embed"][0]

    outputs, embeddings = apply(variables, inputs)
    assert embeddings.shape == (2, 3, 512)
    assert relative(embeddings @ drawn("embedding", (512, 8)), theirs[f"{backbone}_embeddings"]) < 1e-5
    assert relative(outputs, theirs[f"{backbone}_outputs"]) < 1e-5


def test_training_processes_chunk_by_chunk():
    """Gradients and running statistics are those of the plain network, called for one chunk after the other."""
    frozen = BACKBONES["resnet18"].frozen
    with jax.enable_x64(True):
        network, plain = SMALL(chunk=2), plain_resnet("embed", frozen)
        variables, inputs = variables_of(network, jnp.float64), strips(1, 4, 16)
        chunks = [normalised(np.stack([inputs[0, 2 * i : 2 * i + 50] for i in pair])) for pair in ((0, 1), (2, 3))]
        weights = drawn("loss", (4, 512))

        def ours(params, batch_stats):
            tree = {"params": params, "batch_stats": batch_stats}
            features, updated = network.apply(tree, inputs, train=True, method="embed", mutable=["batch_stats"])
            return (features[0] * weights).sum(), updated["batch_stats"]["resnet"]

        def theirs(params, batch_stats, images, weights):
            tree = {"params": params, "batch_stats": batch_stats}
            features, updated = plain(tree, images, train=True, mutable=["batch_stats"])
            return (features * weights).sum(), updated["batch_stats"]

        params, batch_stats = variables["params"], variables["batch_stats"]
        found = jax.jit(jax.grad(ours, has_aux=True))(params, batch_stats)
        of_chunk = jax.jit(jax.grad(theirs, has_aux=True))
        first, batch_stats = of_chunk(params, batch_stats, chunks[0], weights[:2])
        second, batch_stats = of_chunk(params, {"resnet": batch_stats}, chunks[1], weights[2:])
        expected = jax.tree.map(jnp.add, first, second), batch_stats
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(np.abs(b).max(), 1e-9))


def test_frozen_stages_of_the_dense_trunk_neither_learn_nor_follow_the_batch():
    network = SMALL(trunk="dense")  # the comparison above covers the other trunk
    variables, frozen = variables_of(network), BACKBONES["resnet18"].frozen

    @jax.jit
    def step(params, batch_stats, inputs):
        def loss(params):
            tree = {"params": params, "batch_stats": batch_stats}
            rngs = {"dropout": jax.random.key(0)}
            outputs, updated = network.apply(tree, inputs, train=True, mutable=["batch_stats"], rngs=rngs)
            return jnp.square(outputs).sum(), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradients, updated = step(variables["params"], variables["batch_stats"], strips(1, 4, 16))
    for name, tree in gradients["resnet"].items():
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree)) == (name not in frozen), name
    for name in ("grus_0", "grus_1", "head"):
        assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradients[name])), name
    for name, tree in updated["resnet"].items():
        same = jax.tree.map(np.array_equal, tree, variables["batch_stats"]["resnet"][name])
        assert all(jax.tree.leaves(same)) == (name in frozen), name


def test_dense_columns_are_those_of_the_plain_network_on_shifted_strips():
    """Compare away from the ends, where the padding starts at another frame."""
    network, labels = SMALL(trunk="dense"), 256
    reach = network.margin
    assert reach == 109
    variables, inputs = variables_of(network), strips(1, labels, 8)
    dense = jax.jit(partial(network.apply, method="embed"))
    ours = dense(variables, inputs)
    assert ours.shape == (1, labels, 512)

    def columns(net, images):
        for stage in net.stages().values():
            images = stage(images, False)
        return images.mean(1)

    plain = jax.jit(plain_resnet(columns))
    for shift in (0, 5, 14):  # in labels
        seen = plain(variables, normalised(inputs[:, 2 * shift : 2 * shift + 2 * labels]))
        pairs = (seen[0, :-1] + seen[0, 1:]) / 2  # a piece of 50 frames has two columns
        inside = [i for i in range(shift, labels, 16) if reach + shift <= i < labels - reach - 16 + shift]
        assert inside
        expected = pairs[np.array([(i - shift) // 16 for i in inside])]
        np.testing.assert_allclose(ours[0, jnp.array(inside)], expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    changed = inputs.copy()
    changed[:, 100] = 255 - changed[:, 100]
    moved = np.abs(dense(variables, changed) - ours).max(-1)[0] > 0
    # The columns of a piece are those of its first frame and of the one 32 later.
    first, last = (100 - 32 - 217) / 2, (100 + 217) / 2
    assert all(first <= label <= last for label in np.flatnonzero(moved))
    assert moved[34:51].all()


def test_recurrent_layers_resume_from_their_carry():
    network, embedded = SMALL(), np.random.default_rng(3).normal(size=(2, 20, 5)).astype(np.float32)
    first = network.carry(2)
    variables = network.init(jax.random.key(0), embedded, first, method="recur")
    recur = jax.jit(partial(network.apply, variables, method="recur"))
    whole, last = recur(embedded, first)
    one, carry = recur(embedded[:, :12], first)
    two, carry = recur(embedded[:, 12:], carry)
    np.testing.assert_allclose(np.concatenate([one, two], axis=1), whole, atol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), carry, last)


@pytest.mark.parametrize(("backbone", "normalise"), [("resnet18", "imagenet"), ("preact_resnet18", "none")])
def test_trunks_have_the_same_variables_and_one_output_a_label(backbone, normalise):
    networks = [ResNetGRU(backbone=backbone, normalise=normalise, trunk=trunk) for trunk in ("pieces", "dense")]
    trees = [shapes_of(network) for network in networks]
    assert trees[0] == trees[1]
    for network in (*networks, networks[1].clone(piece_frames=100)):
        assert network.samples_per_output == 2
        inputs = jnp.zeros((2, network.context_frames + 2 * 7, 128), jnp.uint8)
        assert jax.eval_shape(network.apply, trees[0], inputs).shape == (2, 7)
        embed = jax.eval_shape(partial(network.apply, method="embed"), trees[0], inputs)
        assert embed.shape == (2, 7, 512)


@pytest.mark.parametrize(
    ("backbone", "whole", "trainable"),
    [
        ("resnet18", 11_176_512 + 9600 + 1_575_936 + 110_976 + 65, 12_180_417),
        ("preact_resnet18", 12_873_866, 12_179_137),  # as Keras counts them
    ],
)
def test_parameter_counts(backbone, whole, trainable):
    shapes = jax.tree.map(lambda leaf: leaf.size, shapes_of(ResNetGRU(backbone=backbone)))
    assert sum(jax.tree.leaves(shapes)) == whole
    frozen = {name: shapes["params"]["resnet"].get(name, {}) for name in BACKBONES[backbone].frozen}
    assert sum(jax.tree.leaves(shapes["params"])) - sum(jax.tree.leaves(frozen)) == trainable


def test_maps_of_a_piece():
    def sizes(net, images):
        maps = []
        for stage in net.stages().values():
            images = stage(images, False)
            maps.append(images)
        return maps

    for backbone, first in (("resnet18", []), ("preact_resnet18", [(128, 50)])):
        net = BACKBONES[backbone].make()
        images = jax.ShapeDtypeStruct((1, 128, 50, 3), jnp.float32)
        variables = jax.eval_shape(net.init, jax.random.key(0), images)
        maps = jax.eval_shape(partial(net.apply, method=sizes), variables, images)
        expected = [*first, (64, 25), (32, 13), (32, 13), (16, 7), (8, 4), (4, 2)]
        assert [leaf.shape[1:3] for leaf in maps][: len(expected)] == expected
        assert maps[-1].shape[-1] == 512


@pytest.mark.parametrize(
    ("fields", "frames", "message"),
    [
        ({}, 55, r"shape \(1, 55, 128\), expected .* 48 more"),
        ({}, 48, "48 more"),
        ({"piece_frames": 100}, 98, "98 more"),
        ({"trunk": "piece"}, 52, "did you mean 'pieces'"),
        ({"backbone": "resnet34"}, 52, r"model\.backbone is 'resnet34'"),
        ({"normalise": "zscore"}, 52, r"model\.normalise is 'zscore'"),
        ({"output": "tan"}, 52, r"model\.output is 'tan'"),
        ({"piece_frames": 1}, 52, "piece_frames is 1, expected at least 2"),
        ({"frozen": ("layer1",)}, 52, "the first few of"),
    ],
)
def test_wrong_fields_and_inputs_are_refused(fields, frames, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(ResNetGRU(**fields).init, jax.random.key(0), jnp.zeros((1, frames, 128)))


@pytest.mark.parametrize(
    ("network", "field"),
    [
        (ResNetGRU, "backbone"),
        (ResNetGRU, "output"),
        (CNN1DLSTM, "last_pool"),
        (CNN1DLSTM, "output"),
        (SequenceLSTM, "output"),
    ],
)
def test_unknown_options_are_refused_at_construction(network, field):
    with pytest.raises(UserError, match=rf"model\.{field} is 'tan', expected one of"):
        network(**{field: "tan"})
