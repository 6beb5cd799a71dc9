"""Hidden states of speech encoders as features: chunks, layers, pooling, rates, identity on disk, errors."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
from cached import corpus, home
from huggingface_hub.errors import LocalEntryNotFoundError
from signals import signals
from speech_checkpoints import write_checkpoint

from jaxpara.errors import Unavailable, UserError
from jaxpara.features import FEATURES, speech_encoder
from jaxpara.features.cache import load_features
from jaxpara.features.speech_encoder import EncoderStates, _encoder
from jaxpara.models import speech
from jaxpara.registry import build

SPEECH = signals(31_234)["voice"] + signals(31_234)["decay"]
CHUNKS = {"chunk_s": 0.8, "context_s": 0.2}


def feature(**fields):
    return EncoderStates(**{"checkpoint": "tiny"} | fields)


def network(waveforms, **moments):
    """Return the states of the network itself, `[frame, layer, channel]`."""
    config, params, _ = _encoder("tiny")
    states, _ = jax.jit(speech.SpeechEncoder(config).apply)({"params": params, **moments}, waveforms[None])
    return np.asarray(states)[:, 0].swapaxes(0, 1)


@pytest.fixture(scope="module")
def whole():
    return network(speech.normalise(SPEECH))


@pytest.fixture(scope="module")
def states():
    return feature()(SPEECH)


def test_the_states_are_those_of_the_network(whole, states):
    assert states.shape == (97, 4, 24)
    assert states.dtype == np.float32
    np.testing.assert_allclose(states, whole, rtol=0, atol=2e-5)


def test_in_chunks_only_the_attention_is_another(whole):
    chunked = feature(**CHUNKS)(SPEECH)
    assert chunked.shape == whole.shape
    # The input of the transformer: convolutions, group norm and positional convolution.
    np.testing.assert_allclose(chunked[:, 0], whole[:, 0], rtol=0, atol=2e-5)
    assert np.abs(chunked[:, -1] - whole[:, -1]).max() > 1e-3


def test_a_chunk_is_encoded_with_its_context():
    waveform = speech.normalise(SPEECH)
    moments = speech.whole_moments(_encoder("tiny").config, _encoder("tiny").params, waveform)
    # The second chunk of 40 frames starts at frame 20; its first and last 10 frames are dropped.
    part = network(waveform[20 * 320 : 59 * 320 + 400], **moments)
    np.testing.assert_allclose(feature(**CHUNKS)(SPEECH)[30:50], part[10:30], rtol=0, atol=2e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_moments_are_those_of_the_first_convolution(bias):
    config, params, _ = _encoder("tiny")
    conv = params["feature_extractor"]["conv_layers.0"]["conv"]
    if bias:
        conv = {**conv, "bias": np.linspace(-1, 1, 16, dtype=np.float32)}
    outputs = np.stack([np.correlate(SPEECH, kernel, "valid")[::5] for kernel in np.asarray(conv["kernel"])[:, 0].T])
    outputs += np.asarray(conv.get("bias", np.zeros(16)))[:, None]
    params = {"feature_extractor": {"conv_layers.0": {"conv": conv}}}
    (found,) = jax.tree.leaves(
        speech.whole_moments(config, params, SPEECH), is_leaf=lambda x: isinstance(x, dict) and "mean" in x
    )
    np.testing.assert_allclose(found["mean"], outputs.mean(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"], outputs.var(1), rtol=1e-4)


def test_layers_are_chosen_and_joined(states):
    np.testing.assert_array_equal(feature(layer=2)(SPEECH), states[:, 2])
    joined = feature(layer="3, 0")
    assert joined == feature(layer=(3, 0))
    np.testing.assert_array_equal(joined(SPEECH), np.concatenate([states[:, 3], states[:, 0]], axis=1))


@pytest.mark.parametrize("sizes", [{}, CHUNKS], ids=["whole", "chunks"])
def test_pooling_is_over_all_frames(sizes):
    frames = feature(**sizes)(SPEECH).astype(np.float64)
    pooled = feature(pooling="mean_std", **sizes)
    assert (pooled.frame_rate_hz, feature().frame_rate_hz) == (0, 50)
    expected = np.concatenate([frames.mean(0), frames.std(0)], axis=1)
    np.testing.assert_allclose(pooled(SPEECH), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(feature(pooling="mean", layer=1, **sizes)(SPEECH), expected[1, :24], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", [{}, CHUNKS], ids=["whole", "chunks"])
def test_frames_are_averaged_in_groups(sizes):
    frames = feature(layer=3, **sizes)(SPEECH)
    slow = feature(layer=3, rate_hz=25.0, **sizes)
    assert slow.frame_rate_hz == 25
    found = slow(SPEECH)
    assert found.shape == (49, 24)
    np.testing.assert_allclose(found[:48], frames[:96].reshape(48, 2, 24).mean(1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[48], frames[96], rtol=0, atol=1e-6)


def test_half_the_space(states, monkeypatch):
    half = feature(storage="float16")(SPEECH)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, states.astype(np.float16))
    monkeypatch.setattr(speech_encoder, "_states", lambda *_: np.full((4, 1, 97, 24), 1e5, np.float32))
    with pytest.raises(UserError, match="states of tiny are not finite in float16; set storage to float32"):
        feature(storage="float16")(SPEECH)


def test_threads_do_not_disturb_each_other(states):
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(feature(), [SPEECH] * 3):
            np.testing.assert_array_equal(found, states)


def test_silence_and_the_shortest_recording():
    assert np.isfinite(feature()(np.zeros(16_000, np.float32))).all()
    assert feature()(SPEECH[:400]).shape == (1, 4, 24)
    with pytest.raises(UserError, match=r"0\.025 s are too short for tiny, which needs 0\.025 s; leave the recording"):
        feature()(SPEECH[:399])


def test_arrays_on_disk_are_known_by_the_content_of_the_checkpoint(tmp_path):
    here, moved, other = (write_checkpoint(tmp_path / name, factor) for name, factor in (("a", 1), ("b", 1), ("c", 2)))
    assert feature(checkpoint=here).description() == feature(checkpoint=moved).description()
    assert feature(checkpoint=here).description() != feature(checkpoint=other).description()
    spoken = corpus(tmp_path / "corpus", 1)
    for checkpoint in (here, moved, other):
        arrays = load_features(feature(checkpoint=checkpoint, pooling="mean"), spoken, tmp_path / "cache")
        assert arrays[spoken[0].name].shape == (4, 24)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_checkpoint_gives_the_states_of_its_weights(tmp_path, states):
    folder = write_checkpoint(tmp_path / "same")
    np.testing.assert_allclose(feature(checkpoint=folder)(SPEECH), states, rtol=0, atol=1e-6)
    assert feature(checkpoint=folder).note == ""
    assert "random weights" in feature().note
    assert "Apache-2.0" in feature(checkpoint=folder).licence


def test_other_content_than_in_training_is_an_error(tmp_path):
    folder, trained_with = write_checkpoint(tmp_path / "a", 2), feature().digest
    feature(checkpoint=folder, sha256=feature(checkpoint=folder).digest[:8].upper()).require()
    with pytest.raises(
        UserError, match=rf"/a'.* expected {trained_with[:16]}, with which this system was trained; put"
    ):
        feature(checkpoint=folder, sha256=trained_with).require()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer": 4}, r"features\.layer is 4, but tiny has 3 layers; expected 0 to 3"),
        ({"rate_hz": 30.0}, r"features\.rate_hz is 30, expected the encoder's 50 divided by a whole number"),
        ({"rate_hz": 100.0}, r"rate_hz is 100, expected the encoder's 50 divided"),
    ],
)
def test_fields_that_do_not_fit_the_checkpoint(fields, message):
    for use in (lambda: feature(**fields).require(), lambda: feature(**fields)(SPEECH)):
        with pytest.raises(UserError, match=message):
            use()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer": "all"}, "layer is 'all', expected 'weighted', the number of a layer from 0, or several"),
        ({"checkpoint": 5}, "checkpoint is 5, expected a folder, a name, or 'tiny'"),
        ({"layer": -1}, "layer is -1, expected"),
        ({"layer": ()}, r"layer is \(\), expected"),
        ({"layer": "3,x"}, "layer is '3,x', expected"),
        ({"rate_hz": 0.0}, "rate_hz is 0.0, expected a number above 0"),
        ({"pooling": "max"}, "pooling is 'max', expected one of"),
        ({"storage": "int8"}, "storage is 'int8', expected one of"),
        ({"chunk_s": 4.0}, "chunk_s is 4 and context_s 2: nothing is left of a chunk"),
        ({"sample_rate_hz": 8000}, "sample_rate_hz is 8000, expected 16000"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        build(FEATURES, {"name": "speech_encoder", "checkpoint": "tiny", **fields}, "x")


def test_an_8_khz_checkpoint_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"preprocessor_config\.json: sampling_rate is 8000, expected 16000"):
        feature(checkpoint=write_checkpoint(tmp_path, sampling_rate=8000)).require()


def test_a_truncated_checkpoint_is_an_error(tmp_path):
    path = Path(write_checkpoint(tmp_path)) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        feature(checkpoint=str(tmp_path)).require()


def test_without_a_network_one_line_shows_how_to_get_the_checkpoint(monkeypatch):
    def refuse(*_, **__):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(Unavailable, match=r"checkpoint 'microsoft/wavlm-base-plus': .* into a folder on this") as error:
        feature(checkpoint="microsoft/wavlm-base-plus").require()
    assert "\n" not in str(error.value)


def test_the_folder_on_disk_is_named_after_the_class(tmp_path):
    load_features(feature(pooling="mean"), corpus(tmp_path / "corpus", 1), tmp_path / "cache")
    assert home(tmp_path / "cache").name.startswith("EncoderStates-")
