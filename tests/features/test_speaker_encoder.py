"""The speaker encoder, compared with the package's own code on random weights, and its errors."""

import hashlib
import importlib.util
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from signals import SPEAKER_SIGNALS, signals

from jaxpara.errors import Unavailable, UserError
from jaxpara.features import FEATURES, speaker_encoder
from jaxpara.features.speaker_encoder import SpeakerEncoder
from jaxpara.registry import build

GOLDEN = Path(__file__).parents[1] / "models" / "golden"  # made by make_speaker.py
SMALL = GOLDEN / "speaker.pt"
DIGEST = hashlib.sha256(SMALL.read_bytes()).hexdigest()
installed = pytest.mark.skipif(importlib.util.find_spec("resemblyzer") is None, reason="needs Resemblyzer 0.1.4")


@pytest.fixture(scope="module")
def feature():
    return SpeakerEncoder(weights=str(SMALL), sha256=DIGEST[:16])


@pytest.fixture
def without_package(monkeypatch):
    speaker_encoder._encoder.cache_clear()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "resemblyzer" else find(name))


@pytest.mark.parametrize("name", SPEAKER_SIGNALS)
def test_embeddings_are_those_of_the_package(feature, name):
    embedding = feature(SPEAKER_SIGNALS[name])
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, np.load(GOLDEN / "speaker.npz")[name], rtol=0, atol=2e-6)
    assert feature.frame_rate_hz == 0


@installed
def test_the_pretrained_encoder_is_that_of_the_package(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "webrtcvad", ModuleType("webrtcvad"))  # cuts pauses, which is not done here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old names in SciPy and PyTorch
        from resemblyzer import VoiceEncoder, normalize_volume

        package = VoiceEncoder("cpu", verbose=False)
    for signal in SPEAKER_SIGNALS.values():
        expected = package.embed_utterance(normalize_volume(signal, -30, increase_only=True))
        np.testing.assert_allclose(SpeakerEncoder()(signal), expected, rtol=0, atol=1e-5)


def test_threads_do_not_disturb_each_other(feature):
    clips = list(SPEAKER_SIGNALS.values())
    one_by_one = [feature(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        for together, alone in zip(pool.map(feature, clips), one_by_one, strict=True):
            np.testing.assert_array_equal(together, alone)


def test_silence_is_not_amplified(feature):
    assert np.isfinite(feature(np.zeros(16_000, np.float32))).all()


def test_a_recording_without_a_voice_is_refused(feature, monkeypatch):
    monkeypatch.setattr(speaker_encoder, "_encoder", lambda *_: lambda mels: np.zeros((len(mels), 7)))
    with pytest.raises(UserError, match=r"finds no voice .* leave the recording out"):
        feature(signals(16_000)["voice"])


def test_arrays_on_disk_are_known_by_the_content_of_the_weights():
    here, elsewhere = (SpeakerEncoder(weights=path).description() for path in ("a.pt", "b/a.pt"))
    assert here == elsewhere
    assert here != SpeakerEncoder(sha256="0" * 64).description()


def test_the_config_builds_it():
    assert build(FEATURES, {"name": "speaker_encoder"}, "x") == SpeakerEncoder()


def test_without_the_package_the_error_shows_how_to_install_it(without_package):
    with pytest.raises(Unavailable, match=r"pip install --no-deps Resemblyzer==0\.1\.4 .* or set features\.weights"):
        SpeakerEncoder().require()


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(Unavailable, match=r"features\.weights is '.*gone\.pt': no such file; put it there"):
        SpeakerEncoder(weights=str(tmp_path / "gone.pt")).require()


def test_other_weights_need_their_digest(tmp_path):
    with pytest.raises(UserError, match=f"expected 39373b86598fa3da.* set features.sha256 to '{DIGEST[:16]}'"):
        SpeakerEncoder(weights=str(SMALL)).require()
    copy = Path(shutil.copy(SMALL, tmp_path / "cut.pt"))
    copy.write_bytes(copy.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"cut\.pt: its SHA-256 starts with .*, expected {DIGEST[:16]}: damaged, or"):
        SpeakerEncoder(weights=str(copy), sha256=DIGEST[:16]).require()


def test_a_damaged_package_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "resemblyzer").mkdir()
    (tmp_path / "resemblyzer" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "resemblyzer" / "pretrained.pt").write_bytes(b"PK")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "resemblyzer", raising=False)
    speaker_encoder._encoder.cache_clear()
    with pytest.raises(UserError, match=r"pretrained\.pt: .* install Resemblyzer==0\.1\.4 again"):
        SpeakerEncoder().require()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_rate_hz": 8000}, r"x: SpeakerEncoder\.sample_rate_hz is 8000, expected 16000"),
        ({"sha256": "39"}, r"sha256 is '39', expected 8 to 64 hexadecimal digits"),
        ({"weigths": "a.pt"}, "did you mean 'weights'"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        build(FEATURES, {"name": "speaker_encoder", **fields}, "x")
