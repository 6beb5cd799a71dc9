from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxpara.errors import UserError
from jaxpara.features import audio

WAVE = np.array([0, 0.25, -0.5, 0.999, -1], np.float32)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_every_sample_format_reads_as_the_same_numbers(tmp_path: Path, subtype: str, step: float):
    soundfile.write(tmp_path / "a.wav", WAVE, 16_000, subtype=subtype)
    waveform = audio.read(tmp_path / "a.wav", 16_000)
    assert waveform.dtype == np.float32
    assert waveform.shape == (5,)
    np.testing.assert_allclose(waveform, WAVE, atol=step, rtol=0)


def test_16_bit_amplitudes_are_divided_by_32768(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.array([1, -32768, 32767], np.int16), 16_000)
    assert audio.read(tmp_path / "a.wav", 16_000).tolist() == [2**-15, -1, 1 - 2**-15]


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.zeros((8, 2)), 16_000, "2 channels, expected 1"),
        (np.zeros(8), 44_100, "sampled at 44100 Hz, expected 16000 Hz"),
        (np.zeros(0), 16_000, "holds no samples"),
        (np.array([0.0, 3.5]), 16_000, r"samples reach 3\.5"),
        (np.array([0.0, np.nan]), 16_000, "samples reach nan"),
    ],
)
def test_what_is_not_mono_speech_at_the_right_rate_is_refused(tmp_path: Path, samples, rate_hz, message):
    soundfile.write(tmp_path / "odd.wav", samples, rate_hz, subtype="FLOAT")
    with pytest.raises(UserError, match=rf"odd\.wav: .*{message}"):
        audio.read(tmp_path / "odd.wav", 16_000)


def test_what_is_no_audio_is_refused(tmp_path: Path):
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(UserError, match=r"text\.wav: not readable as audio"):
        audio.read(tmp_path / "text.wav", 16_000)
    with pytest.raises(UserError, match=r"none\.wav: no such file"):
        audio.read(tmp_path / "none.wav", 16_000)
