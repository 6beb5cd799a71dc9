import io
from dataclasses import replace

import librosa
import librosa.display
import matplotlib
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from signals import RATE_HZ, SIGNALS

from jaxpara.errors import UserError
from jaxpara.features import FEATURES, MFCC, LogMel, MelImage, MelStrip
from jaxpara.features.image import color_indices, colors
from jaxpara.registry import build


def plotted(matrix: np.ndarray, colormap: str) -> np.ndarray:
    """Draw the image that the published scripts saved with matplotlib, `[288, 288, 3]`.

    librosa's specshow with the band edges of its version 0.7, which computed them for 22 050 Hz by default.
    """
    bands, frames = matrix.shape
    edges_hz = librosa.mel_frequencies(bands, fmin=0, fmax=11_025)
    edges_hz[1:] -= 0.5 * np.diff(edges_hz)
    edges_hz = np.append(np.maximum(0, edges_hz), 11_025)
    figure = Figure(figsize=(4, 4), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1))
    coordinates = {"x_coords": np.arange(frames + 1), "y_coords": edges_hz, "y_axis": "mel"}
    librosa.display.specshow(matrix, **coordinates, ax=axes, cmap=colormap)
    axes.set(xlim=(0, frames), ylim=(0, 11_025))
    axes.axis("off")  # the border line
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=72)
    return np.asarray(Image.open(png).convert("RGB"))


@pytest.mark.parametrize("name", SIGNALS)
def test_published_image_is_the_plotted_one(name: str):
    feature = MelImage()
    (image,) = feature(SIGNALS[name])
    assert image.dtype == np.uint8
    assert np.array_equal(image, plotted(feature.matrix(SIGNALS[name]).T, "magma"))


@pytest.mark.parametrize("orders", [(0,), (1,), (2,), (0, 1, 2)])
def test_published_mfcc_image_is_the_plotted_one_in_librosas_own_choice_of_colors(orders: tuple[int, ...]):
    feature = MelImage(matrix=MFCC(orders=orders), colormap="coolwarm")
    matrix = feature.matrix(SIGNALS["voice"]).T
    assert chosen(matrix) == "coolwarm"
    # The colours are given, because librosa from 1.0 on also centres the range if it chooses them itself; 0.7, the
    # authors' version, does not.
    assert np.array_equal(feature(SIGNALS["voice"])[0], plotted(matrix, "coolwarm"))


def test_librosa_chooses_magma_for_log_mel():
    assert chosen(LogMel()(SIGNALS["voice"])) == "magma"


def chosen(matrix):
    """Return the colours that librosa chooses; the function has another name from 1.0 on."""
    display = librosa.display
    return (display.infer_cmap if hasattr(display, "infer_cmap") else display.cmap)(matrix).name


@pytest.mark.parametrize(("bands", "count"), [(128, 16_000), (40, 16_000), (64, 9000), (64, 512), (64, 60_000)])
def test_published_image_of_other_matrices_is_the_plotted_one(bands: int, count: int):
    feature = MelImage(matrix=LogMel(bands=bands))
    waveform = np.tile(SIGNALS["noise"], 4)[:count]
    assert np.array_equal(feature(waveform)[0], plotted(feature.matrix(waveform).T, "magma"))


def test_colors_are_numbered_as_matplotlib_numbers_them():
    rng = np.random.default_rng(2)
    for scale in (1e-3, 1, 300):
        matrix = (scale * rng.standard_normal((400, 500)) - 40).astype(np.float32)
        fractions = matplotlib.colors.Normalize()(matrix).data
        assert np.array_equal(
            colors("magma")[color_indices(matrix)], np.rint(matplotlib.colormaps["magma"](fractions)[..., :3] * 255)
        )


def test_low_bands_are_at_the_bottom_and_time_runs_to_the_right():
    sweep = SIGNALS["sweep"][:8000]  # 0 to 4 kHz
    for style in ("published", "resize"):
        values = MelImage(style=style, colormap="none", size=(288, 288))(sweep)[0][..., 0]
        loudest = values.argmax(axis=0)
        assert loudest[20] > 200
        assert loudest[-1] < 120
        assert np.all(np.diff(loudest[::20]) <= 0)


def test_the_matrix_is_unchanged_at_its_own_size():
    feature = MelImage(style="resize", colormap="none", size=(64, 97))
    (image,) = feature(SIGNALS["voice"])
    assert image.dtype == np.float32
    assert np.array_equal(image[::-1, :, 0], LogMel()(SIGNALS["voice"]).T)
    assert feature.frame_rate_hz == 0


def test_frames_are_the_matrix_itself_window_by_window():
    feature = MelImage(style="frames", colormap="none", clip_s=1.0, matrix=LogMel(levels="unit"))
    waveform = np.tile(SIGNALS["voice"], 2)[:20_000]
    first, last = feature(waveform)
    assert np.array_equal(first, LogMel(levels="unit")(waveform[:16_000]))
    assert np.array_equal(last, LogMel(levels="unit")(waveform[-16_000:]))


@pytest.mark.parametrize("name", ["viridis", "tab10", "hot"])
def test_colors_are_matplotlibs_of_any_map(name: str):
    expected = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    assert np.abs(colors(name) / 255 - expected).max() < 0.02


def test_published_style_without_colors_has_the_same_cells():
    image = MelImage(colormap="none", matrix=LogMel(levels="uint8"))(SIGNALS["voice"])[0]
    colored = MelImage(matrix=LogMel(levels="uint8"))(SIGNALS["voice"])[0]
    magma = np.rint(matplotlib.colormaps["magma"](np.arange(256))[:, :3] * 255)
    assert image.shape == (288, 288, 1)
    # A level n of 255 has the colour of n of 256 or of the one above.
    assert np.array_equal(magma[np.minimum((image[..., 0] / np.float32(255) * 256).astype(int), 255)], colored)


def test_resize_is_bilinear():
    waveform = SIGNALS["voice"]
    small = MelImage(style="resize", size=(64, 97))(waveform)[0]
    large = MelImage(style="resize", size=(128, 194))(waveform)[0].astype(float)
    # In the middle between four pixels of the small image, weighted 9 : 3 : 3 : 1 by their nearness.
    near, below, right, far = (small[i : i + 63, j : j + 96].astype(float) for i in (0, 1) for j in (0, 1))
    expected = (9 * near + 3 * below + 3 * right + far) / 16
    assert np.abs(large[1:-1:2, 1:-1:2] - expected).max() <= 1


def test_stored_form_is_small():
    assert MelImage().extract(SIGNALS["voice"]).nbytes == 64 * 97


def test_longer_recordings_have_an_image_per_window_and_shorter_ones_are_padded():
    feature, whole = MelImage(clip_s=1.0), MelImage()
    waveform = np.tile(SIGNALS["noise"], 3)[:40_000]
    images = feature(waveform)
    # The last window ends with the recording.
    expected = [waveform[start : start + 16_000] for start in (0, 16_000, 24_000)]
    assert len(images) == 3
    for image, clip in zip(images, expected, strict=True):
        assert np.array_equal(image, whole(clip)[0])
    (image,) = feature(waveform[:9000])
    assert np.array_equal(image, whole(np.append(waveform[:9000], np.zeros(7000, np.float32)))[0])


def test_config_builds_the_matrix_too():
    spec = {"name": "mel_image", "colormap": "coolwarm", "matrix": {"name": "mfcc", "orders": (0, 1)}}
    assert build(FEATURES, spec, "x", sample_rate_hz=16_000) == MelImage(
        matrix=MFCC(orders=(0, 1)), colormap="coolwarm"
    )
    with pytest.raises(UserError, match="did you mean 'bands'"):
        MelImage(matrix={"name": "log_mel", "band": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colormap": "virids"}, "did you mean 'viridis'"),
        ({"style": "frames"}, "frames have no colours"),
        ({"style": "publishd"}, "did you mean 'published'"),
        ({"size": (288,)}, "size is"),
        ({"size": (0, 288)}, "size is"),
        ({"sample_rate_hz": 8000}, "fmax_hz <= 4000"),
    ],
)
def test_impossible_fields_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        MelImage(**fields)


# The long image of system 4.

FIELDS = {"window_s": 0.04, "hop_s": 0.02, "bands": 128, "center": True, "levels": "uint8_inverted", "high_first": True}
LEVELS = LogMel(**FIELDS)


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
    ours = MelStrip(matrix=LEVELS, mirror_frames=mirror_frames)(SIGNALS[name])
    theirs = published_strip(SIGNALS[name], mirror_frames).T[:-1]
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape == (50 + 2 * mirror_frames, 128)
    # Levels are truncated, so that the last bit of a decibel may move a value by a step.
    moved = ours.astype(int) - theirs
    assert np.abs(moved).max() <= 1
    assert np.count_nonzero(moved) <= 2


def test_two_frames_a_label_and_the_context():
    feature = MelStrip(matrix=LEVELS)
    assert feature.frame_rate_hz == 50
    assert feature(np.tile(SIGNALS["noise"], 4)).shape == (2 * 25 * 4 + 48, 128)
    assert MelStrip(matrix=LEVELS, mirror_frames=49)(SIGNALS["noise"]).shape == (2 * 25 + 98, 128)


def test_loud_is_dark_and_low_is_at_the_bottom():
    strip = MelStrip(matrix=LEVELS, mirror_frames=0)(SIGNALS["sweep"])  # 0 to 8 kHz
    assert strip.min() == 0
    darkest = strip.argmin(axis=1)
    assert darkest[2] > 110
    assert darkest[-3] < 10
    light = MelStrip(mirror_frames=0, matrix=replace(LEVELS, levels="uint8"))(SIGNALS["sweep"])
    assert np.array_equal(light, 255 - strip)


def test_a_strips_config_builds_the_matrix_too():
    assert build(FEATURES, {"name": "mel_strip", "matrix": {"name": "log_mel", **FIELDS}}, "x") == MelStrip(
        matrix=LEVELS
    )
    with pytest.raises(UserError, match=r"features\.matrix\.name is 'mfcc'"):
        MelStrip(matrix={"name": "mfcc"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"matrix": replace(LEVELS, center=False)}, "center False"),
        ({"matrix": replace(LEVELS, high_first=False)}, "high_first False"),
        ({"matrix": replace(LEVELS, levels="db")}, "levels 'db', expected"),
        ({"mirror_frames": -1}, "mirror_frames is -1, expected a whole number, at least 0"),
    ],
)
def test_impossible_fields_of_a_strip_are_refused(fields: dict, message: str):
    with pytest.raises(UserError, match=message):
        build(FEATURES, {"name": "mel_strip", "matrix": LEVELS, **fields}, "x")


def test_recording_too_short_to_mirror_is_refused():
    assert MelStrip(matrix=LEVELS)(SIGNALS["noise"][: 24 * 320]).shape == (24 + 48, 128)
    with pytest.raises(UserError, match="24 frames, but mirroring 24 needs one more"):
        MelStrip(matrix=LEVELS)(SIGNALS["noise"][: 24 * 320 - 1])
