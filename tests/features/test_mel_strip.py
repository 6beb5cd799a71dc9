import librosa
import numpy as np
import pytest
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import LogMel
from jaxpara.features.mel_strip import MelStrip
from jaxpara.registry import build

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


def published_strip(waveform: np.ndarray, mirror_frames: int) -> np.ndarray:
    """`[band, frame]` uint8: the steps of the published scripts, one after the other."""
    power = librosa.feature.melspectrogram(y=waveform, sr=RATE_HZ, n_fft=640, hop_length=320, pad_mode="reflect")
    decibels = librosa.power_to_db(power, ref=np.max)
    share = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    levels = 255 - np.flip((share * 255).astype(np.uint8), axis=0)
    before = levels[:, mirror_frames:0:-1]
    after = levels[:, -2 : -2 - mirror_frames : -1]
    return np.concatenate([before, levels, after], axis=1)


@pytest.mark.parametrize("mirror_frames", [24, 49])
@pytest.mark.parametrize("name", ["noise", "sweep", "voice", "decay", "click"])
def test_equal_to_the_published_steps(name: str, mirror_frames: int):
    ours = MelStrip(mirror_frames=mirror_frames)(SIGNALS[name])
    theirs = published_strip(SIGNALS[name], mirror_frames).T[:-1]
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape == (50 + 2 * mirror_frames, 128)
    # Levels are cut off, so that the last bit of a decibel may move a value that lies on a step.
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


def test_config_builds_the_matrix_too():
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
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        MelStrip(**fields)


def test_recording_too_short_to_mirror_is_refused():
    assert MelStrip()(SIGNALS["noise"][: 24 * 320]).shape == (24 + 48, 128)
    with pytest.raises(UserError, match="24 frames, but mirroring 24 needs one more"):
        MelStrip()(SIGNALS["noise"][: 24 * 320 - 1])
