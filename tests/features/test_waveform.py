import numpy as np
import pytest
import soundfile

from jaxpara.corpora import audio
from jaxpara.errors import UserError
from jaxpara.features import Waveform


def test_integer_scale_is_the_amplitudes_of_the_file(tmp_path):
    amplitudes = np.array([0, 1, -1, 32767, -32768, 1234], np.int16)
    soundfile.write(tmp_path / "a.wav", amplitudes, 16_000)
    sequence = Waveform(scale="integer")(audio.read(tmp_path / "a.wav", 16_000))
    assert sequence.dtype == np.float32
    assert sequence.tolist() == [[a] for a in amplitudes]


def test_unit_scale_keeps_the_waveform():
    waveform = np.linspace(-1, 1, 9, dtype=np.float32)
    sequence = Waveform()(waveform)
    assert sequence.shape == (9, 1)
    assert sequence[:, 0].tolist() == waveform.tolist()


def test_zscore_has_mean_0_and_variance_1_even_on_a_long_offset_recording():
    waveform = (0.9 + 1e-3 * np.random.default_rng(0).standard_normal(1_000_000)).astype(np.float32)
    sequence = Waveform(scale="zscore")(waveform).astype(np.float64)
    assert abs(sequence.mean()) < 1e-6
    assert abs(sequence.std() - 1) < 1e-6
    assert not Waveform(scale="zscore")(np.zeros(10, np.float32)).any()


def test_frame_rate_is_the_sample_rate():
    assert Waveform(sample_rate_hz=8000).frame_rate_hz == 8000


def test_unknown_scale_is_refused():
    with pytest.raises(UserError, match=r"expected one of .*did you mean 'integer'"):
        Waveform(scale="integr")  # type: ignore[arg-type]
