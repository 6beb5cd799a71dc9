import jax
import librosa
import numpy as np
import pytest
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import LogMel
from jaxpara.features.mel_jax import log_mel

MASK = LogMel()
BREATHING = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True)
OTHERS = (
    LogMel(ref="one", top_db=60.0, fmin_hz=50.0, fmax_hz=7000.0, bands=40),
    LogMel(window_s=0.025, hop_s=0.010, high_first=True),
)


def librosa_db(feature: LogMel, waveform: np.ndarray) -> np.ndarray:
    """`[frame, band]`, through librosa's own entry points."""
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=RATE_HZ,
        n_fft=round(feature.window_s * RATE_HZ),
        hop_length=round(feature.hop_s * RATE_HZ),
        n_mels=feature.bands,
        fmin=feature.fmin_hz,
        fmax=feature.fmax_hz,
        center=feature.center,
        pad_mode="reflect",
    )
    ref = np.max if feature.ref == "max" else 1.0
    decibels = librosa.power_to_db(power, ref=ref, top_db=feature.top_db)
    return (decibels[::-1] if feature.high_first else decibels).T


@pytest.mark.parametrize("feature", [MASK, BREATHING, *OTHERS], ids=["mask", "breathing", "one", "flipped"])
@pytest.mark.parametrize("name", SIGNALS)
def test_equal_to_librosa(feature: LogMel, name: str):
    ours = feature(SIGNALS[name])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, librosa_db(feature, SIGNALS[name]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [512, 513, 671, 672, 5000, 16_001])
def test_equal_to_librosa_at_any_length(count: int):
    waveform = np.tile(SIGNALS["voice"], 2)[:count]
    for feature in (MASK, LogMel(center=True)):
        np.testing.assert_allclose(feature(waveform), librosa_db(feature, waveform), atol=1e-3, rtol=0)


def test_equal_to_librosa_over_many_blocks():
    waveform = np.concatenate([SIGNALS[name] for name in ("noise", "faint", "sweep", "decay", "silence", "voice")])
    np.testing.assert_allclose(BREATHING(waveform), librosa_db(BREATHING, waveform), atol=1e-3, rtol=0)


@pytest.mark.parametrize("feature", [MASK, BREATHING, *OTHERS], ids=["mask", "breathing", "one", "flipped"])
def test_jax_function_is_equal_to_librosa(feature: LogMel):
    ours = np.asarray(log_mel(feature, np.stack(list(SIGNALS.values()))))
    assert ours.dtype == np.float32
    for decibels, waveform in zip(ours, SIGNALS.values(), strict=True):
        np.testing.assert_allclose(decibels, librosa_db(feature, waveform), atol=1e-3, rtol=0)


def test_jax_function_works_inside_pmap():
    waveforms = np.stack(list(SIGNALS.values())).reshape(4, 2, -1)
    ours = jax.pmap(lambda w: log_mel(MASK, w))(waveforms)
    np.testing.assert_allclose(ours[3, 0], librosa_db(MASK, waveforms[3, 0]), atol=1e-3, rtol=0)


def test_shapes_and_rates_are_the_papers():
    assert MASK(np.zeros(16_000, np.float32)).shape == (97, 64)
    assert MASK.frame_rate_hz == 100
    assert BREATHING(np.zeros(240 * 16_000, np.float32)).shape == (12_001, 128)
    assert BREATHING.frame_rate_hz == 50


def test_levels_span_the_recordings_own_range():
    waveform = SIGNALS["voice"]
    decibels = librosa_db(BREATHING, waveform).astype(np.float64)
    share = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    levels = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="uint8")(waveform)
    assert levels.dtype == np.uint8
    assert (levels.min(), levels.max()) == (0, 255)
    # Cut off, not rounded; a value within librosa's tolerance of a step may fall on either side.
    assert np.all(np.abs(levels + 0.5 - share * 255) <= 0.5 + 255 * 1e-4)
    unit = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="unit")(waveform)
    np.testing.assert_allclose(unit, 2 * share - 1, atol=1e-4)
    assert (unit.min(), unit.max()) == (-1, 1)
    inverted = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="uint8_inverted")(waveform)
    assert np.array_equal(inverted, 255 - levels)
    assert not LogMel(levels="uint8")(SIGNALS["silence"]).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fmax_hz": 9000.0}, "fmax_hz <= 8000"),
        ({"fmin_hz": 9000.0}, "fmin_hz < fmax_hz"),
        ({"bands": 0}, "bands 0"),
        ({"top_db": 0.0}, "top_db 0"),
        ({"window_s": 1e-6}, "window_s is 1e-06 s, less than one sample"),
        ({"hop_s": 0.0}, "hop_s is 0 s"),
        ({"ref": "min"}, "LogMel.ref is 'min', expected one of"),
        ({"levels": "uint16"}, "did you mean 'uint8'"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        LogMel(**fields)


@pytest.mark.parametrize("center", [False, True])
def test_recording_shorter_than_a_window_is_refused(center: bool):
    feature = LogMel(center=center)
    with pytest.raises(UserError, match=r"511 samples, but one window of 0\.032 s needs 512"):
        feature(np.zeros(511, np.float32))
    with pytest.raises(UserError, match="511 samples"):
        log_mel(feature, np.zeros((2, 511), np.float32))
