"""Fine-tuning of a speech encoder: the layers above the features, their weights and learning rate; frames."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from jax.flatten_util import ravel_pytree
from speech_checkpoints import write_checkpoint
from test_encoder_member import corpus, exported, small, train  # noqa: F401 (fixtures)
from test_examples import recordings, stacked

import jaxpara
from jaxpara.errors import UserError
from jaxpara.features import FEATURES, speech_encoder
from jaxpara.features.speech_encoder import TINY_CONFIG, LoadedEncoder
from jaxpara.models import speech
from jaxpara.models.speech.tuned import TunedEncoder, UpperLayers
from jaxpara.predictions import scores_of
from jaxpara.registry import build
from jaxpara.training.examples import Frames
from jaxpara.training.fine_tuning import upper_layers, upper_weights
from jaxpara.training.optimizers import OPTIMIZERS

NET = {
    "name": "net",
    "examples": {"name": "frames", "window_s": 1.0},
    "model": {"name": "tuned_encoder", "units": 8},
    "pretrained": "encoder",
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adam", "lr": 1e-2, "pretrained_lr": 3e-3},
    "batch": 6,
    "epochs": 16,
    "validate_every": 16,
}
LAYER = {"layer": 1, "pooling": "none"}
PLAIN = {"dropout": 0.0, "layer_drop": 0.0, "mask_time": 0.0}


def feature(**fields):
    return build(FEATURES, {"name": "speech_encoder", "checkpoint": "tiny", **LAYER, **fields}, "x")


@pytest.mark.parametrize("kind", [{}, {"do_stable_layer_norm": False}, {"model_type": "wavlm", "num_buckets": 32}])
def test_the_layers_above_the_features_continue_the_encoder(kind, monkeypatch):
    config = replace(TINY_CONFIG, **kind)
    encoder, waveforms = speech.SpeechEncoder(config), np.random.default_rng(0).standard_normal((2, 8000))
    params = jax.jit(encoder.init)(jax.random.key(0), waveforms[:1])["params"]
    monkeypatch.setattr(speech_encoder, "_encoder", lambda _: LoadedEncoder(config, params, ""))
    lengths = np.array([8000, 5000])
    states, counts = jax.jit(encoder.apply)({"params": params}, waveforms, lengths)
    source = upper_layers(feature(), "net")
    assert source == (config, 1)
    valid = np.arange(states.shape[2]) < counts[:, None]
    upper = UpperLayers(*source, remat=False)
    found = upper.apply({"params": upper_weights(feature())}, states[1], valid, False)
    np.testing.assert_allclose(found[valid], states[-1][valid], rtol=1e-5, atol=1e-5)


def test_a_tuned_encoder_learns_and_is_exported(corpus, tmp_path):  # noqa: F811
    ssl, accuracy = train(corpus, NET, **LAYER)
    assert accuracy == 1
    exported(corpus, ssl, tmp_path / "out")
    audio = [r.path for r in corpus.recordings if r.partition == "test"]
    system = jaxpara.load(tmp_path / "out")
    found = [system(*soundfile.read(path)).probabilities for path in audio]
    np.testing.assert_allclose(found, scores_of(ssl.outcome().test), atol=1e-4)


def network(**fields):
    return TunedEncoder(upper_layers(feature(), "net"), classes=2, units=8, **(PLAIN | fields))


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(1).standard_normal((3, 20, TINY_CONFIG.hidden_size)).astype(np.float16)


def test_padding_changes_nothing(states):
    variables = network().init(jax.random.key(0), states)
    padded = np.pad(states, ((0, 0), (0, 7), (0, 0)))
    ours = network().apply(variables, states)
    np.testing.assert_allclose(network().apply(variables, padded), ours, rtol=1e-4, atol=1e-5)
    assert ours.shape == (3, 2)
    assert ours.dtype == jnp.float32
    nothing = network().apply(variables, np.zeros_like(states))
    assert np.isfinite(nothing).all()


def test_a_sequence_has_an_output_for_every_two_frames(states):
    belt = network(frames_per_output=2)
    variables = belt.init(jax.random.key(0), states)
    outputs = belt.apply(variables, states)
    assert (outputs.shape, belt.samples_per_output) == ((3, 10), 2)
    assert (np.abs(outputs) < 1).all()


def test_gradient_checkpointing_changes_no_gradient(states):
    variables = network().init(jax.random.key(0), states)

    def gradient(**fields):
        apply = network(dropout=0.1, layer_drop=0.1, mask_time=0.1, **fields).apply

        def objective(variables):
            return apply(variables, states, train=True, rngs={"dropout": jax.random.key(1)})[:, 0].sum()

        return ravel_pytree(jax.jit(jax.grad(objective))(variables))[0]

    plain = gradient()
    assert jnp.linalg.norm(gradient(gradient_checkpointing=True) - plain) < 1e-5 * jnp.linalg.norm(plain)


@pytest.mark.parametrize("rate", ["layer_drop", "mask_time", "mask_channels", "dropout"])
def test_every_rate_acts_in_training_alone(rate, states):
    plain, changed = network(), network(**{rate: 0.5})
    variables = plain.init(jax.random.key(0), states)
    key = {"dropout": jax.random.key(2)}
    np.testing.assert_array_equal(changed.apply(variables, states), plain.apply(variables, states))
    same = plain.apply(variables, states, train=True, rngs=key)
    assert not np.allclose(changed.apply(variables, states, train=True, rngs=key), same, atol=1e-3)


def test_the_pretrained_part_has_its_own_learning_rate():
    spec = {"name": "adam", "lr": 0.1, "pretrained_lr": 1e-3, "eps": 1e-12}
    rule = build(OPTIMIZERS, spec, "members.net.learner.optimizer", part="encoder").transform
    params = {"encoder": {"a": jnp.ones(2)}, "head": {"b": jnp.ones(2)}}
    gradient = jax.tree.map(lambda x: jnp.array([3.0, -0.2]), params)
    updates, _ = rule.update(gradient, rule.init(params), params)
    np.testing.assert_allclose(updates["head"]["b"], [-0.1, 0.1], rtol=1e-5)
    np.testing.assert_allclose(updates["encoder"]["a"], [-1e-3, 1e-3], rtol=1e-5)
    with pytest.raises(UserError, match=r"optimizer\.pretrained_lr is for networks of which a part is pretrained"):
        build(OPTIMIZERS, spec, "members.net.learner.optimizer")


def test_long_recordings_are_cut_into_equal_parts():
    lengths = (3, 5, 11, 4)
    features = {f"{i}.wav": np.full((n, 2), i + 1, np.float16) for i, n in enumerate(lengths)}
    examples = Frames("x", window_s=1.0).examples(recordings(), features, frame_rate_hz=5.0)
    batch = stacked(examples)
    assert (batch["inputs"][..., 0] != 0).sum(1).tolist() == [3, 5, 4, 4, 3, 4]
    outputs = np.arange(6.0)[:, None]
    averaged = dict(examples.by_recording(outputs))
    assert [float(averaged[f"{i}.wav"][0]) for i in range(4)] == [0, 1, 3, 5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "mean"}, r"model\.name is 'tuned_encoder', which needs all states of one layer, .* 'mean'"),
        ({"layer": "weighted"}, r"features\.layer is 'weighted'"),
        ({"rate_hz": 25.0}, r"rate_hz 25; set them to a number, 'none' and 50"),
        ({"layer": 3}, r"tiny has none above 3; set it to 0 to 2"),
        ({"name": "waveform", "layer": None}, r"which needs features\.name 'speech_encoder'"),
    ],
)
def test_features_without_layers_above_are_refused(fields, message):
    other = build(FEATURES, {"name": "waveform"}, "x") if "name" in fields else feature(**fields)
    with pytest.raises(UserError, match=message) as error:
        upper_layers(other, "net")
    assert "\n" not in str(error.value)


def test_another_start_than_the_encoder_is_refused(corpus):  # noqa: F811
    with pytest.raises(UserError, match=r"pretrained is 'imagenet', expected one of \['encoder', 'None'\]"):
        train(corpus, NET | {"pretrained": "imagenet"}, **LAYER)


def test_vectors_are_no_frames():
    with pytest.raises(UserError, match=r"window_s is 1 and the features have 0 frames per second"):
        Frames("x", window_s=1.0).examples(recordings(), {}, frame_rate_hz=0.0)


def test_a_checkpoint_folder_is_tuned_as_the_tiny_one(tmp_path):
    mine = feature(checkpoint=write_checkpoint(tmp_path / "mine", 2.0))
    tiny, doubled = upper_weights(feature()), upper_weights(mine)
    assert tiny.keys() == doubled.keys() == {"layers.1", "layers.2", "layer_norm"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-6), tiny["layers.2"], doubled["layers.2"])
