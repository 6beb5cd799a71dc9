"""Spectrograms as images: for networks trained on photographs (paper §3.1), and a long one for system 4 (§3.2.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

import librosa
import matplotlib
import numpy as np
from matplotlib.scale import SymmetricalLogTransform
from PIL import Image

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples
from jaxpara.features.mel import MFCC, LogMel
from jaxpara.features.windows import starts
from jaxpara.registry import build, require_one_of

COLORS = 256  # in matplotlib's colour tables

# The vertical axis of the authors' published images is librosa 0.7's "mel" axis at its defaults: band centres spread
# up to 11 025 Hz, whatever the bands really are, on a scale that is linear below 1 kHz and logarithmic above.
AXIS_TOP_HZ = 11_025.0
AXIS = SymmetricalLogTransform(base=2, linthresh=1000.0, linscale=1)


@dataclass(frozen=True, kw_only=True)
class MelImage(Feature):
    """Images of a recording, `[height, width, channel]` each, time from left to right, the first band at the bottom.

    Stored as small matrices of colour indices; an image is 40 times as large and is drawn at each access.

    Attributes:
      matrix: a LogMel or an MFCC; in a config `{"name": "log_mel" | "mfcc", ...}`.
      style: `published`, the cells and the uneven axis of the authors' plots, without the plot's dark border line;
        `resize`, the matrix resized bilinearly; `frames`, the matrix itself, `[frame, band]`, for networks that
        process it along time (without a colour map).
      colormap: matplotlib's name, spanning the recording's own range: uint8, 3 channels (`magma` is the published
        choice for log-Mel, `coolwarm` for MFCC); or `none`: the matrix's own values, 1 channel.
      size: height and width in pixels; `frames` keep their own.
      clip_s: seconds per image. Shorter recordings are padded with silence, longer ones are cut into windows, the last
        of which ends with the recording. 0: one image, whatever the length.
    """

    version: ClassVar[int] = 2

    matrix: Any = field(default_factory=lambda: {"name": "log_mel"})
    style: Literal["published", "resize", "frames"] = "published"
    colormap: str = "magma"
    size: tuple[int, int] = (288, 288)
    clip_s: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require_one_of("MelImage.colormap", self.colormap, ("none", *matplotlib.colormaps))
        if self.style == "frames" and self.colormap != "none":
            raise UserError(f"MelImage.colormap is {self.colormap!r}, but frames have no colours; set it to 'none'")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"MelImage.size is {self.size!r}, expected (height, width) in pixels")
        _build_matrix(self, log_mel=LogMel, mfcc=MFCC)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the matrices of a waveform, `[sample]` to `[window, frame, band]`."""
        window = samples(self.clip_s, self.sample_rate_hz, "MelImage.clip_s") if self.clip_s else len(waveform)
        padded = np.pad(waveform, (0, max(0, window - len(waveform))))
        matrices = [self.matrix(padded[start : start + window]) for start in starts(len(padded), window, window)]
        return np.stack(matrices if self.colormap == "none" else [color_indices(matrix) for matrix in matrices])

    def expand(self, stored: np.ndarray) -> "Images":
        return Images(self, stored)

    def image(self, matrix: np.ndarray) -> np.ndarray:
        """Draw a stored matrix, `[frame, band]` to `[height, width, channel]`; `frames` are returned unchanged."""
        if self.style == "frames":
            return matrix
        upright, colored = matrix.T[::-1], self.colormap != "none"
        pixels = colors(self.colormap).take(upright, axis=0) if colored else np.ascontiguousarray(upright)[..., None]
        if self.style == "published":
            rows, columns = _published_cells(*upright.shape, *self.size)
            return pixels.take(columns, axis=1).take(rows, axis=0)
        if pixels.shape[:2] == self.size:
            return pixels
        # Bilinear, with Pillow's antialiasing when it shrinks.
        image = Image.fromarray(pixels if colored else pixels[..., 0])
        return np.asarray(image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)).reshape(*self.size, -1)


@dataclass(frozen=True)
class Images:
    """The images of a recording, each drawn at access from its matrix in `[window, frame, band]`."""

    feature: MelImage
    matrices: np.ndarray

    def __len__(self) -> int:
        return len(self.matrices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.feature.image(self.matrices[index])


def color_indices(matrix: np.ndarray) -> np.ndarray:
    """Map each value to its index in a colour table that spans the matrix's own range, uint8.

    Rounds like matplotlib's Normalize, which is several times slower.
    """
    matrix = matrix.astype(np.float32)
    low, high = matrix.min(), matrix.max()
    spread = np.float64(high) - np.float64(low)
    fractions = ((matrix - low) / (spread or 1)).astype(np.float32)
    return np.minimum(fractions * COLORS, COLORS - 1).astype(np.uint8)


@cache
def colors(name: str) -> np.ndarray:
    """Return a colour table, `[256, 3]` uint8."""
    # Rounded, as matplotlib renders; its own `bytes=True` truncates.
    return np.rint(matplotlib.colormaps[name].resampled(COLORS)(np.arange(COLORS))[:, :3] * 255).astype(np.uint8)


@cache
def _published_cells(bands: int, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row, `[height]`, and the column, `[width]`, of the matrix (top band first) for each pixel."""
    centers_hz = librosa.mel_frequencies(bands, fmin=0, fmax=AXIS_TOP_HZ)
    edges = AXIS.transform(np.concatenate([[0], (centers_hz[1:] + centers_hz[:-1]) / 2, [AXIS_TOP_HZ]]))
    band = np.searchsorted(edges / edges[-1], (np.arange(height) + 0.5) / height, side="right") - 1
    return bands - 1 - band[::-1], ((np.arange(width) + 0.5) * frames / width).astype(int)


@dataclass(frozen=True, kw_only=True)
class MelStrip(Feature):
    """A recording as one long grey image, `[frame, band]` uint8; system 4 cuts a piece per label from it (§3.2.2).

    There is one frame per whole hop of the recording, centred on its start, and `mirror_frames` more at each end: the
    frames inside in reverse order, without the edge frame. (The frame centred on the end of the recording, which no
    label follows, counts as a mirrored one.) The lowest band is last, the bottom row of the image.

    Reference: the authors' published scripts mirror 49 frames for pieces of, in all likelihood, 100 (2 s); they keep
    one frame more at the end, which no piece contains. The paper mirrors 0.5 s of the waveform for pieces of 1 s.

    Attributes:
      matrix: a LogMel; in a config `{"name": "log_mel", ...}`. It must be centred, in levels and from high to low.
        `uint8_inverted` (loud 0, quiet 255) is the published choice of levels.
      mirror_frames: at each end. The network's context must be twice as many: 24 for pieces of 50 frames, 49 for
        pieces of 100.
    """

    matrix: Any
    mirror_frames: int = 24

    def __post_init__(self):
        _build_matrix(self, log_mel=LogMel)
        if not self.matrix.center or not self.matrix.high_first or self.matrix.levels == "db":
            raise UserError(
                f"MelStrip.matrix has center {self.matrix.center}, high_first {self.matrix.high_first} and levels"
                f" {self.matrix.levels!r}, expected True, True and 'uint8_inverted' (or 'uint8')"
            )

    @property
    def frame_rate_hz(self) -> float:
        return self.matrix.frame_rate_hz

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        frames = self.matrix(waveform)
        if len(frames) <= self.mirror_frames:
            raise UserError(
                f"{len(frames)} frames, but mirroring {self.mirror_frames} needs one more; pad or leave out the"
                " recording, or set fewer mirror_frames"
            )
        return np.pad(frames, ((self.mirror_frames, self.mirror_frames), (0, 0)), mode="reflect")[:-1]


def _build_matrix(image: MelImage | MelStrip, **registry: Callable[..., Feature]) -> None:
    """Build the field `matrix` if it is a config, for the same sample rate."""
    if isinstance(image.matrix, Mapping):
        matrix = build(registry, image.matrix, "features.matrix", sample_rate_hz=image.sample_rate_hz)
        object.__setattr__(image, "matrix", matrix)  # the dataclass is frozen
