"""Spectrograms as pictures, for networks that were trained on photographs (paper §3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal, overload

import librosa
import matplotlib
import numpy as np
from PIL import Image

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples
from jaxpara.features.mel import LogMel
from jaxpara.features.mfcc import MFCC
from jaxpara.features.windows import starts

MATRICES = {"log_mel": LogMel, "mfcc": MFCC}
COLORS = 256  # in matplotlib's colour tables

# The vertical axis of the authors' published pictures is librosa 0.7's "mel" axis at its defaults: band centres spread
# up to 11 025 Hz, whatever the bands really are, on a scale that is linear below 1 kHz and logarithmic above.
AXIS_TOP_HZ = 11_025.0
AXIS_LINEAR_HZ = 1000.0


@dataclass(frozen=True, kw_only=True)
class MelImage(Feature):
    """Pictures of a recording, `[height, width, channel]` each, time from left to right, the first band at the bottom.

    Stored as small matrices of colour numbers; a picture, 40 times as large, is made anew at each request.

    Attributes:
      matrix: a LogMel or an MFCC; a config says `{"name": "log_mel" | "mfcc", ...}`.
      style: `published`, the cells and the uneven axis of the authors' plots, without the plot's dark border line;
        `resize`, the matrix as it is, resized bilinearly; `frames`, no picture but the matrix itself, `[frame, band]`,
        for networks that go along it (without a colour map).
      colormap: matplotlib's name, over the recording's own range: uint8, 3 channels (`magma` is the published choice
        for log-Mel, `coolwarm` for MFCC); or `none`: the matrix's own values, 1 channel.
      size: height and width in pixels; `frames` have their own.
      clip_s: seconds that a picture shows. What is shorter is filled up with silence, what is longer is cut into
        windows, of which the last ends with the recording. 0: one picture, whatever the length.
    """

    version: ClassVar[int] = 2

    matrix: Feature = field(default_factory=LogMel)
    style: Literal["published", "resize", "frames"] = "published"
    colormap: str = "magma"
    size: tuple[int, int] = (288, 288)
    clip_s: float = 0.0

    def __post_init__(self):
        self.check("style", ("published", "resize", "frames"))
        self.check("colormap", ("none", *matplotlib.colormaps))
        if self.style == "frames" and self.colormap != "none":
            raise UserError(f"MelImage.colormap is {self.colormap!r}, but frames have no colours; set it to 'none'")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"MelImage.size is {self.size!r}, expected (height, width) in pixels")
        self._build_matrix(MATRICES)

    @property
    def frame_rate_hz(self) -> float:
        return 0.0

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        """`[sample]` to `[window, frame, band]`."""
        if self.clip_s:
            window = samples(self.clip_s, self.sample_rate_hz, "MelImage.clip_s")
            padded = np.pad(waveform, (0, max(0, window - len(waveform))))
            clips = [padded[start : start + window] for start in starts(len(padded), window, window)]
        else:
            clips = [waveform]
        matrices = [self.matrix(clip) for clip in clips]
        return np.stack(matrices if self.colormap == "none" else [color_numbers(matrix) for matrix in matrices])

    def expand(self, stored: np.ndarray) -> "Pictures":
        return Pictures(self, stored)

    def picture(self, matrix: np.ndarray) -> np.ndarray:
        """`[frame, band]` as stored to `[height, width, channel]`, or as it is."""
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


class Pictures(Sequence[np.ndarray]):
    """The pictures of a recording; each is made when it is asked for."""

    def __init__(self, feature: MelImage, matrices: np.ndarray):
        self._feature, self._matrices = feature, matrices

    def __len__(self) -> int:
        return len(self._matrices)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self._feature.picture(matrix) for matrix in self._matrices[index]]
        return self._feature.picture(self._matrices[index])


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`[height, width, channel]` to another height and width, bilinearly, with Pillow's smoothing where it shrinks."""
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR)).reshape(*size, -1)


def color_numbers(matrix: np.ndarray) -> np.ndarray:
    """Each value's place in a colour table that spans the matrix's own range, uint8.

    Rounds where matplotlib's Normalize does, which takes several times as long.
    """
    matrix = matrix.astype(np.float32)
    low, high = matrix.min(), matrix.max()
    spread = np.float64(high) - np.float64(low)
    shares = ((matrix - low) / (spread or 1)).astype(np.float32)
    return np.minimum(shares * COLORS, COLORS - 1).astype(np.uint8)


@cache
def colors(name: str) -> np.ndarray:
    """`[256, 3]` uint8. matplotlib renders with rounded colours, its own `bytes=True` cuts them off."""
    return np.rint(matplotlib.colormaps[name].resampled(COLORS)(np.arange(COLORS))[:, :3] * 255).astype(np.uint8)


@cache
def published_cells(bands: int, frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which cell of a matrix with its top band first each pixel of the published picture shows.

    Returns:
      `[height]` the row and `[width]` the column of the matrix.
    """
    centers_hz = librosa.mel_frequencies(bands, fmin=0, fmax=AXIS_TOP_HZ)
    edges_hz = np.concatenate([[0], (centers_hz[1:] + centers_hz[:-1]) / 2, [AXIS_TOP_HZ]])
    edges = _axis(edges_hz) / _axis(np.array(AXIS_TOP_HZ))
    band = np.searchsorted(edges, (np.arange(height) + 0.5) / height, side="right") - 1
    return bands - 1 - band[::-1], ((np.arange(width) + 0.5) * frames / width).astype(int)


def _axis(frequencies_hz: np.ndarray) -> np.ndarray:
    """matplotlib's `symlog` scale of base 2."""
    logarithmic = AXIS_LINEAR_HZ * (2 + np.log2(np.maximum(frequencies_hz, AXIS_LINEAR_HZ) / AXIS_LINEAR_HZ))
    return np.where(frequencies_hz <= AXIS_LINEAR_HZ, 2 * frequencies_hz, logarithmic)
