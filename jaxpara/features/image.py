"""Spectrograms as images, for networks that were trained on photographs (paper §3.1)."""

from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal

import librosa
import matplotlib
import numpy as np
from PIL import Image

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples
from jaxpara.features.mel import LogMel
from jaxpara.features.mfcc import MFCC
from jaxpara.features.windows import starts
from jaxpara.registry import require_one_of

MATRICES = {"log_mel": LogMel, "mfcc": MFCC}
COLORS = 256  # in matplotlib's colour tables

# The vertical axis of the authors' published images is librosa 0.7's "mel" axis at its defaults: band centres spread
# up to 11 025 Hz, whatever the bands really are, on a scale that is linear below 1 kHz and logarithmic above.
AXIS_TOP_HZ = 11_025.0
AXIS_LINEAR_HZ = 1000.0


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

    matrix: Feature = field(default_factory=LogMel)
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
        self.build_matrix(MATRICES)

    @property
    def frame_rate_hz(self) -> float:
        return 0.0

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """Compute the matrices of a waveform, `[sample]` to `[window, frame, band]`."""
        if self.clip_s:
            window = samples(self.clip_s, self.sample_rate_hz, "MelImage.clip_s")
            padded = np.pad(waveform, (0, max(0, window - len(waveform))))
            clips = [padded[start : start + window] for start in starts(len(padded), window, window)]
        else:
            clips = [waveform]
        matrices = [self.matrix(clip) for clip in clips]
        return np.stack(matrices if self.colormap == "none" else [color_indices(matrix) for matrix in matrices])

    def expand(self, stored: np.ndarray) -> "Images":
        return Images(self, stored)

    def image(self, matrix: np.ndarray) -> np.ndarray:
        """Draw a stored matrix, `[frame, band]` to `[height, width, channel]`; `frames` are returned unchanged."""
        if self.style == "frames":
            return matrix
        upright = matrix.T[::-1]
        if self.colormap == "none":
            pixels = np.ascontiguousarray(upright)[..., None]
        else:
            pixels = colors(self.colormap).take(upright, axis=0)
        if self.style == "published":
            rows, columns = published_cells(*upright.shape, *self.size)
            return pixels.take(columns, axis=1).take(rows, axis=0)
        return pixels if pixels.shape[:2] == self.size else resize(pixels, self.size)


class Images:
    """The images of a recording, each drawn at access."""

    def __init__(self, feature: MelImage, matrices: np.ndarray):
        self._feature, self._matrices = feature, matrices

    def __len__(self) -> int:
        return len(self._matrices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._feature.image(self._matrices[index])


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize `[height, width, channel]` bilinearly, with Pillow's antialiasing when it shrinks."""
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)).reshape(*size, -1)


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
def published_cells(bands: int, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row, `[height]`, and the column, `[width]`, of the matrix (top band first) for each pixel."""
    centers_hz = librosa.mel_frequencies(bands, fmin=0, fmax=AXIS_TOP_HZ)
    edges_hz = np.concatenate([[0], (centers_hz[1:] + centers_hz[:-1]) / 2, [AXIS_TOP_HZ]])
    edges = _axis(edges_hz) / _axis(np.array(AXIS_TOP_HZ))
    band = np.searchsorted(edges, (np.arange(height) + 0.5) / height, side="right") - 1
    return bands - 1 - band[::-1], ((np.arange(width) + 0.5) * frames / width).astype(int)


def _axis(frequencies_hz: np.ndarray) -> np.ndarray:
    """Apply matplotlib's `symlog` scale of base 2."""
    logarithmic = AXIS_LINEAR_HZ * (2 + np.log2(np.maximum(frequencies_hz, AXIS_LINEAR_HZ) / AXIS_LINEAR_HZ))
    return np.where(frequencies_hz <= AXIS_LINEAR_HZ, 2 * frequencies_hz, logarithmic)
