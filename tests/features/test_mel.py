import librosa
import numpy as np
import pytest
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import LogMel
from jaxpara.features.mel import MelStrip
from jaxpara.registry import build

MASK = LogMel()
BREATHING = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True)
OTHERS = (
    LogMel(ref="one", top_db=60.0, fmin_hz=50.0, fmax_hz=7000.0, bands=40),
    LogMel(window_s=0.025, hop_s=0.010, high_first=True),
)

MATRIX = {
    "name": "log_mel",
    "window_s": 0.04,
    "hop_s": 0.02,
    "bands": 128,
    "center": True,
    "levels": "uint8_inverted",
    "high_first": True,
}
PUBLISHED = {name: value for name, value in MATRIX.items() if name != "name"}


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


def test_equal_to_librosa_over_many_blocks():
    waveform = np.concatenate([SIGNALS[name] for name in ("noise", "faint", "sweep", "decay", "silence", "voice")])
    np.testing.assert_allclose(BREATHING(waveform), librosa_db(BREATHING, waveform), atol=1e-3, rtol=0)


def test_shapes_and_rates_are_the_papers():
    assert MASK(np.zeros(16_000, np.float32)).shape == (97, 64)
    assert MASK.frame_rate_hz == 100
    assert BREATHING(np.zeros(240 * 16_000, np.float32)).shape == (12_001, 128)
    assert BREATHING.frame_rate_hz == 50


def test_levels_span_the_recordings_own_range():
    waveform = SIGNALS["voice"]
    decibels = librosa_db(BREATHING, waveform).astype(np.float64)
    fractions = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    levels = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="uint8")(waveform)
    assert levels.dtype == np.uint8
    assert (levels.min(), levels.max()) == (0, 255)
    # Truncated, not rounded; a value within librosa's tolerance of a step may fall on either side.
    assert np.all(np.abs(levels + 0.5 - fractions * 255) <= 0.5 + 255 * 1e-4)
    unit = LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="unit")(waveform)
    np.testing.assert_allclose(unit, 2 * fractions - 1, atol=1e-4)
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


def published_strip(waveform: np.ndarray, mirror_frames: int) -> np.ndarray:
    """Return `[band, frame]` uint8 by the steps of the published scripts."""
    power = librosa.feature.melspectrogram(y=waveform, sr=RATE_HZ, n_fft=640, hop_length=320, pad_mode="reflect")
    decibels = librosa.power_to_db(power, ref=np.max)
    fractions = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    levels = 255 - np.flip((fractions * 255).astype(np.uint8), axis=0)
    before = levels[:, mirror_frames:0:-1]
    after = levels[:, -2 : -2 - mirror_frames : -1]
    return np.concatenate([before, levels, after], axis=1)


@pytest.mark.parametrize("mirror_frames", [24, 49])
@pytest.mark.parametrize("name", ["noise", "sweep", "voice", "decay", "click"])
def test_a_strip_is_equal_to_the_published_steps(name: str, mirror_frames: int):
    ours = MelStrip(mirror_frames=mirror_frames)(SIGNALS[name])
    theirs = published_strip(SIGNALS[name], mirror_frames).T[:-1]
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape == (50 + 2 * mirror_frames, 128)
    # Levels are truncated, so that the last bit of a decibel may move a value by a step.
    moved = ours.astype(int) - theirs
    assert np.abs(moved).max() <= 1
    assert np.count_nonzero(moved) <= 2


def test_two_frames_a_label_and_the_context():
    feature = MelStrip()
    assert feature.frame_rate_hz == 50
    assert feature(np.tile(SIGNALS["noise"], 4)).shape == (2 * 25 * 4 + 48, 128)
    assert MelStrip(mirror_frames=49)(SIGNALS["noise"]).shape == (2 * 25 + 98, 128)


def test_loud_is_dark_and_low_is_at_the_bottom():
    strip = MelStrip(mirror_frames=0)(SIGNALS["sweep"])  # 0 to 8 kHz
    assert strip.min() == 0
    darkest = strip.argmin(axis=1)
    assert darkest[2] > 110
    assert darkest[-3] < 10
    light = MelStrip(mirror_frames=0, matrix=LogMel(**{**PUBLISHED, "levels": "uint8"}))(SIGNALS["sweep"])
    assert np.array_equal(light, 255 - strip)


def test_a_strips_config_builds_the_matrix_too():
    assert build({"mel_strip": MelStrip}, {"name": "mel_strip", "matrix": MATRIX}, "x") == MelStrip()
    with pytest.raises(UserError, match="did you mean 'bands'"):
        MelStrip(matrix={**MATRIX, "band": 3})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"features\.matrix\.name is 'mfcc'"):
        MelStrip(matrix={"name": "mfcc"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"matrix": LogMel(**{**PUBLISHED, "center": False})}, "center False"),
        ({"matrix": LogMel(**{**PUBLISHED, "high_first": False})}, "high_first False"),
        ({"matrix": LogMel(**{**PUBLISHED, "levels": "db"})}, "levels 'db', expected"),
        ({"sample_rate_hz": 32_000}, "its matrix for 16000 Hz"),
        ({"mirror_frames": -1}, "mirror_frames is -1"),
    ],
)
def test_impossible_fields_of_a_strip_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        MelStrip(**fields)


def test_recording_too_short_to_mirror_is_refused():
    assert MelStrip()(SIGNALS["noise"][: 24 * 320]).shape == (24 + 48, 128)
    with pytest.raises(UserError, match="24 frames, but mirroring 24 needs one more"):
        MelStrip()(SIGNALS["noise"][: 24 * 320 - 1])
