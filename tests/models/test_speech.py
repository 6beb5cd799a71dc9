"""Speech encoders: parity with the hidden states of `transformers`, padding, masking and training.

`golden/make_speech.py` made the expected states; `test_speech_transformers.py` compares live.
"""

import json
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden1d import fixed, load
from tiny_speech import LENGTHS, RECORDINGS, VARIANTS, padded, save, tensor

from jaxpara.models import speech
from jaxpara.models.speech.encoder import draw_spans
from jaxpara.models.speech.transformer import grouped_conv

# One layer of each kind, to be compiled quickly.
SMALL = speech.SpeechConfig(
    conv_dim=(4,),
    conv_kernel=(10,),
    conv_stride=(20,),
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
)
SHORT = np.stack([recording[:400] for recording in RECORDINGS])


@pytest.fixture(scope="module")
def golden():
    return load("speech")


@pytest.fixture(scope="module")
def loaded(golden, tmp_path_factory):
    """Load the checkpoint of a variant: its configuration and variables."""

    @cache
    def load_variant(name):
        shapes = json.loads(str(golden[f"{name}/shapes"]))
        tensors = {k: tensor(k, shape) for k, shape in shapes.items()}
        return speech.load(str(save(tmp_path_factory.mktemp(name), VARIANTS[name], tensors)))

    return load_variant


def apply(config, variables, *inputs):
    states, frames = jax.jit(speech.SpeechEncoder(config).apply)(variables, *inputs)
    return np.asarray(states), np.asarray(frames)


def assert_close(found, expected):
    """Compare hidden states layer by layer, relative to the largest value."""
    assert found.shape == expected.shape
    for layer, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * abs(theirs).max(), err_msg=f"layer {layer}")


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_gives_the_hidden_states_of_each_recording_alone(loaded, golden, name):
    config, variables = loaded(name)
    # Not zero after the end, which must not matter either.
    states, frames = apply(config, variables, padded(fill=7.0), np.array(LENGTHS))
    assert frames.tolist() == [golden[f"{name}/alone{i}"].shape[1] for i in range(2)]
    for i, count in enumerate(frames):
        assert_close(states[:, i, :count], golden[f"{name}/alone{i}"])


@pytest.mark.parametrize("name", ["wav2vec2_base", "wavlm_large"])
def test_without_lengths_zeros_are_a_part_of_the_recording(loaded, golden, name):
    config, variables = loaded(name)
    states, frames = apply(config, variables, padded())
    assert_close(states, golden[f"{name}/padded"])
    assert frames.tolist() == [states.shape[2]] * 2


def test_a_recording_without_a_frame_changes_nothing(loaded):
    config, variables = loaded("wavlm_base")
    states, frames = apply(config, variables, padded(), np.array([LENGTHS[0], config.receptive_field - 1]))
    assert frames.tolist() == [config.frames(LENGTHS[0]), 0]
    assert np.isfinite(states).all()


def test_normalisation_of_the_waveform(golden):
    normalised = speech.normalise(RECORDINGS[0])
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, golden["normalised"], atol=1e-6)
    assert not speech.normalise(np.full(100, 0.3, np.float32)).any()


def test_one_convolution_per_group_is_the_grouped_convolution(monkeypatch):
    x, kernel = (jnp.float32(fixed(*case, 1.0)) for case in (("x", (2, 20, 12)), ("kernel", (5, 3, 12))))
    per_group = grouped_conv(x, kernel, 4)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(per_group, grouped_conv(x, kernel, 4), rtol=0, atol=1e-5)


def test_frames():
    config = speech.SpeechConfig()
    assert (config.hop, config.receptive_field) == (320, 400)
    assert [config.frames(n) for n in (0, 399, 400, 719, 720, 16_000, 160_000)] == [0, 0, 1, 1, 2, 49, 499]
    np.testing.assert_array_equal(config.frames(np.array([10, 720])), [0, 2])


@cache
def compiled(config):
    return jax.jit(partial(speech.SpeechEncoder(config).apply, train=True))


def train(config, variables):
    return np.asarray(compiled(config)(variables, SHORT, rngs={"dropout": jax.random.key(0)})[0])


def random_start(config):
    return jax.jit(speech.SpeechEncoder(config).init)(jax.random.key(0), SHORT)


def without_rates(config):
    rates = ("feat_proj_dropout", "hidden_dropout", "activation_dropout", "attention_dropout", "layerdrop")
    return replace(config, **dict.fromkeys(rates, 0.0), apply_spec_augment=False)


def test_training_without_rates_gives_the_states_of_prediction(loaded):
    config, variables = loaded("wav2vec2_base")
    config = without_rates(config)
    assert_close(train(config, variables), apply(config, variables, SHORT)[0])


@pytest.mark.parametrize(("name", "changed"), [("wav2vec2_base", 0), ("wavlm_base", 1)])
def test_dropped_layers_return_their_input(loaded, name, changed):
    # The first layer of WavLM makes the position bias of all and is never dropped.
    config, variables = loaded(name)
    states = train(replace(without_rates(config), layerdrop=1.0), variables)
    equal = [np.array_equal(before, after) for before, after in pairwise(states)]
    assert equal == [layer >= changed for layer in range(config.num_hidden_layers)]


def test_masked_frames_are_replaced():
    config = replace(without_rates(SMALL), apply_spec_augment=True, mask_time_length=3)
    params = random_start(config)["params"]

    def inputs_of_transformer(config, masked=0.0):
        vector = np.full(config.hidden_size, masked, np.float32)
        return train(config, {"params": {**params, "masked_spec_embed": vector}})[0]

    plain = inputs_of_transformer(replace(config, apply_spec_augment=False))
    one, two = inputs_of_transformer(config, 1.0), inputs_of_transformer(config, 2.0)
    changed = (abs(one - two) > 1e-6).any(-1)  # masked frames, and their neighbours by the positional convolution
    assert (changed.sum(1) >= 3).all()
    assert not changed.all()
    channels = inputs_of_transformer(replace(config, mask_time_prob=0.0, mask_feature_prob=0.5, mask_feature_length=2))
    assert not np.allclose(channels, plain)


def test_spans():
    lengths = np.array([100, 40, 12, 3])
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: draw_spans(key, lengths, 100, 0.2, 10, 1)))(keys))
    assert not (drawn & (np.arange(100) >= lengths[:, None])).any()
    # 0.2 * 100 / 10 = 2 spans; 0.8, rounded to 0 or 1, but at least 1; at least 1; none, because none fits.
    assert (drawn.sum(-1).max(0) == [20, 10, 10, 0]).all()
    assert (drawn[:, 1:3].sum(-1) == 10).all()
    assert (drawn[:, 0].sum(-1) > 10).all()  # at different places
    # Every place of a span is drawn: both ends are masked in 1 of 31 drawings.
    assert drawn[:, 1, [0, 39]].any(0).all()
    # A quarter of a span on average, by random rounding.
    rare = jax.vmap(lambda key: draw_spans(key, lengths[:1], 100, 0.025, 10, 0))(keys)
    assert np.sum(rare) / len(keys) == pytest.approx(2.5, abs=0.7)
