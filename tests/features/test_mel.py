from dataclasses import replace

import librosa
import numpy as np
import pytest
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import FEATURES, MFCC, LogMel
from jaxpara.registry import build

MASK = LogMel()
BREATHING = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True)
OTHERS = (
    LogMel(ref="one", top_db=60.0, fmin_hz=50.0, fmax_hz=7000.0, bands=40),
    LogMel(window_s=0.025, hop_s=0.010, high_first=True),
)


def librosa_db(feature: LogMel, waveform: np.ndarray) -> np.ndarray:
    """Return `[frame, band]` from librosa itself."""
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


def torchaudio_triangles(bands: int, fmin_hz: float, fmax_hz: float, bins: int) -> np.ndarray:
    """Return `[frequency, band]` after torchaudio.functional.linear_fbanks, whose formula differs from ours."""
    hz, points_hz = np.linspace(0, RATE_HZ // 2, bins), np.linspace(fmin_hz, fmax_hz, bands + 2)
    widths_hz, slopes = np.diff(points_hz), points_hz[None] - hz[:, None]
    return np.maximum(0, np.minimum(-slopes[:, :-2] / widths_hz[:-1], slopes[:, 2:] / widths_hz[1:]))


@pytest.mark.parametrize(("bands", "fmin_hz", "fmax_hz"), [(128, 0.0, 8000.0), (40, 300.0, 6000.0)])
@pytest.mark.parametrize("name", SIGNALS)
def test_linear_bands_are_the_triangles_of_torchaudio(name: str, bands: int, fmin_hz: float, fmax_hz: float):
    power = np.abs(librosa.stft(SIGNALS[name], n_fft=512, hop_length=160, center=False)) ** 2
    expected = librosa.power_to_db(torchaudio_triangles(bands, fmin_hz, fmax_hz, 257).T @ power, ref=np.max).T
    feature = LogMel(scale="linear", bands=bands, fmin_hz=fmin_hz, fmax_hz=fmax_hz)
    np.testing.assert_allclose(feature(SIGNALS[name]), expected, atol=1e-3, rtol=0)
    relative = replace(feature, ref="mean")(SIGNALS[name])
    np.testing.assert_allclose(relative, expected - expected.mean(), atol=2e-3, rtol=0)


def test_linear_bands_narrower_than_the_resolution_are_refused():
    with pytest.raises(
        UserError, match=r"LogMel\.bands is 256, one every 31\.1 Hz, but windows of 0\.032 s only resolve"
    ):
        LogMel(scale="linear", bands=256)
    assert LogMel(scale="linear", bands=255)(SIGNALS["noise"]).shape == (97, 255)


def test_equal_to_librosa_over_many_blocks():
    waveform = np.concatenate([SIGNALS[name] for name in ("noise", "faint", "sweep", "decay", "silence", "voice")])
    np.testing.assert_allclose(BREATHING(waveform), librosa_db(BREATHING, waveform), atol=1e-3, rtol=0)


def test_shapes_and_rates_are_the_papers():
    assert MASK(np.zeros(16_000, np.float32)).shape == (97, 64)
    assert MASK.frame_rate_hz == 100
    assert BREATHING(np.zeros(240 * 16_000, np.float32)).shape == (12_001, 128)
    assert BREATHING.frame_rate_hz == 50
    assert MFCC(hop_s=0.005).frame_rate_hz == 200


def test_levels_span_the_recordings_own_range():
    waveform = SIGNALS["voice"]
    decibels = librosa_db(BREATHING, waveform).astype(np.float64)
    fractions = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    levels = replace(BREATHING, levels="uint8")(waveform)
    assert levels.dtype == np.uint8
    assert (levels.min(), levels.max()) == (0, 255)
    # Truncated, not rounded; a value within librosa's tolerance of a step may fall on either side.
    assert np.all(np.abs(levels + 0.5 - fractions * 255) <= 0.5 + 255 * 1e-4)
    unit = replace(BREATHING, levels="unit")(waveform)
    np.testing.assert_allclose(unit, 2 * fractions - 1, atol=1e-4)
    assert (unit.min(), unit.max()) == (-1, 1)
    inverted = replace(BREATHING, levels="uint8_inverted")(waveform)
    assert np.array_equal(inverted, 255 - levels)
    assert not LogMel(levels="uint8")(SIGNALS["silence"]).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fmax_hz": 9000.0}, "fmax_hz <= 8000"),
        ({"fmin_hz": 9000.0}, "fmin_hz < fmax_hz"),
        ({"bands": 0}, "x.bands is 0, expected a whole number, at least 1"),
        ({"top_db": 0.0}, "x.top_db is 0.0, expected a finite number, more than 0"),
        ({"window_s": 1e-6}, "window_s is 1e-06 s, less than one sample"),
        ({"hop_s": 0.0}, "hop_s is 0 s"),
        ({"ref": "min"}, "LogMel.ref is 'min', expected one of"),
        ({"levels": "uint16"}, "did you mean 'uint8'"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        build(FEATURES, {"name": "log_mel", **fields}, "x")


def test_no_bands_are_refused_without_a_config_too():
    with pytest.raises(UserError, match=r"^LogMel\.bands is 0, expected at least 1"):
        LogMel(bands=0)


@pytest.mark.parametrize("center", [False, True])
def test_recording_shorter_than_a_window_is_refused(center: bool):
    feature = LogMel(center=center)
    with pytest.raises(UserError, match=r"511 samples, but one window of 0\.032 s needs 512"):
        feature(np.zeros(511, np.float32))


def librosa_mfcc(waveform: np.ndarray, orders: tuple[int, ...]) -> np.ndarray:
    """Return `[frame, coefficient]` from librosa itself."""
    still = librosa.feature.mfcc(y=waveform, sr=RATE_HZ, n_mfcc=30, n_fft=512, hop_length=160, center=False)
    return np.vstack([librosa.feature.delta(still, order=order) if order else still for order in orders]).T


@pytest.mark.parametrize("orders", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("name", SIGNALS)
def test_mfccs_are_equal_to_librosas(orders: tuple[int, ...], name: str):
    ours = MFCC(orders=orders)(SIGNALS[name])
    assert ours.dtype == np.float32
    assert ours.shape == (97, 30 * len(orders))
    np.testing.assert_allclose(ours, librosa_mfcc(SIGNALS[name], orders), atol=1e-3, rtol=0)


def test_nine_frames_are_enough_for_derivatives_and_eight_are_not():
    waveform = SIGNALS["voice"][: 512 + 8 * 160]
    np.testing.assert_allclose(MFCC(orders=(2,))(waveform), librosa_mfcc(waveform, (2,)), atol=1e-3, rtol=0)
    with pytest.raises(UserError, match="are 8 frames, but derivatives need 9"):
        MFCC(orders=(0, 1))(waveform[:-1])
    assert MFCC()(waveform[:-1]).shape == (8, 30)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"orders": (3,)}, r"orders is \(3,\)"),
        ({"orders": ()}, r"orders is \(\)"),
        ({"coefficients": 129}, "coefficients is 129, expected 1 to 128"),
        ({"fmax_hz": 9000.0}, "fmax_hz <= 8000"),
    ],
)
def test_impossible_fields_of_mfccs_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        MFCC(**fields)
