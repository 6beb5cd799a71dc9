"""Speech encoders against `transformers` on PyTorch, where both are installed (extra `bench`)."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_speech import LENGTHS, RECORDINGS, VARIANTS, padded

from jaxpara.models import speech
from jaxpara.models.speech.checkpoint import to_hub
from jaxpara.models.speech.transformer import buckets

pytestmark = [
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("torch", "transformers")), reason="no transformers"
    ),
    pytest.mark.filterwarnings("ignore"),  # of theirs
]


@pytest.fixture(scope="module")
def theirs():
    import make_speech

    return make_speech


@pytest.fixture(scope="module")
def checkpoint(theirs, tmp_path_factory):
    """Return a network of theirs, and our configuration and variables from the folder that it saves."""

    def save(name):
        from transformers import Wav2Vec2FeatureExtractor

        folder = tmp_path_factory.mktemp(name)
        model = theirs.network(VARIANTS[name])
        model.save_pretrained(folder)
        Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
        return model, *speech.load(str(folder))

    return save


def states_of(config, variables, *inputs):
    return np.asarray(jax.jit(speech.SpeechEncoder(config).apply)(variables, *inputs)[0])


def assert_close(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    assert abs(found - expected).max() < tolerance * abs(expected).max()


@pytest.mark.parametrize("name", ["hubert_base", "wavlm_base"])
def test_a_saved_folder(checkpoint, theirs, name):
    model, config, variables = checkpoint(name)
    for recording in RECORDINGS[:1]:
        assert_close(states_of(config, variables, recording[None]), theirs.states(model, recording[None]))


@pytest.mark.parametrize("name", ["wav2vec2_large", "wavlm_large"])
def test_a_padded_batch_with_attention_mask(checkpoint, theirs, name):
    import torch

    model, config, variables = checkpoint(name)
    mask = torch.from_numpy(np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).long()
    expected = theirs.states(model, padded(), mask)
    states = states_of(config, variables, padded(), np.array(LENGTHS))
    # In the padding too, although it has no meaning there.
    assert_close(states, expected)


def test_gradients(checkpoint):
    import torch

    model, config, variables = checkpoint("wavlm_large")
    waveforms = torch.from_numpy(np.stack([RECORDINGS[0][:500], RECORDINGS[1]])).requires_grad_()
    last = model(waveforms).last_hidden_state
    projection = np.random.default_rng(0).standard_normal(last.shape).astype(np.float32)
    (last * torch.from_numpy(projection)).sum().backward()

    def objective(variables, waveforms):
        states, _ = speech.SpeechEncoder(config).apply(variables, waveforms)
        return (states[-1] * projection).sum()

    ours, of_waveforms = jax.jit(jax.grad(objective, (0, 1)))(variables, jnp.asarray(waveforms.detach().numpy()))
    assert_close(np.asarray(of_waveforms), waveforms.grad.numpy())
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    found = {".".join(new.get(part, part) for part in k.split(".")): v for k, v in to_hub(ours["params"]).items()}
    expected = {name: tensor.grad.numpy() for name, tensor in model.named_parameters() if tensor.grad is not None}
    assert set(found) == {*expected, "masked_spec_embed"}
    for name, gradient in expected.items():
        # The bias of keys shifts all scores of a query alike, so that its gradient is rounding.
        scale = 1 if "k_proj.bias" in name else np.linalg.norm(gradient)
        assert np.linalg.norm(found[name] - gradient) < 1e-4 * scale, name


def test_buckets_of_the_published_size(theirs):
    import torch
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    distance = np.arange(-3000, 3001)
    expected = WavLMAttention(16, 2)._relative_positions_bucket(torch.from_numpy(distance)).numpy()
    np.testing.assert_array_equal(buckets(distance, 320, 800), expected)


def test_the_golden_file_is_what_its_script_makes(theirs, monkeypatch, tmp_path):
    monkeypatch.setattr(theirs, "VARIANTS", {"hubert_base": VARIANTS["hubert_base"]})
    monkeypatch.setattr(theirs, "GOLDEN", tmp_path)
    theirs.main()
    stored = np.load(Path(__file__).parent / "golden" / "speech.npz")
    made = np.load(tmp_path / "speech.npz")
    assert str(made["hubert_base/shapes"]) == str(stored["hubert_base/shapes"])
    for name in set(made.files) - {"hubert_base/shapes"}:
        np.testing.assert_allclose(made[name], stored[name], atol=1e-5, err_msg=name)
