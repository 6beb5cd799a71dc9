"""Log-Mel spectrograms (paper §3.1 for Mask, §3.2 for Breathing), and their long image for system 4."""

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import librosa
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples

MIN_POWER = 1e-10  # `amin` of librosa.power_to_db

# Frames per transform. Their spectra stay in the second-level cache: most of the speed on long recordings.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class LogMel(Feature):
    """Power in Mel bands in decibels, `[frame, band]`, low bands first; the defaults are Mask's 97 x 64 for 1 s.

    Reference: librosa 0.11 `feature.melspectrogram` and `power_to_db` (Hann window, Slaney bands), to within 1e-3 dB.

    Attributes:
      window_s: length of the analysis window and of the transform.
      hop_s: from one window to the next. (In the paper Mask's windows overlap by 10 ms; in the authors' published
        scripts they move by 10 ms.)
      bands: Mel bands, from `fmin_hz` to `fmax_hz`.
      center: centre frame i on sample i * hop, with mirrored ends, instead of starting it there.
      ref: the reference of 0 dB: the recording's largest value (`max`) or power 1 (`one`).
      top_db: values further than this below the recording's largest value are raised to that limit.
      levels: `db`, float32; `unit`, the recording's own range mapped to -1 to 1, float32, as in auDeep; `uint8`, mapped
        to 0 to 255; `uint8_inverted`, loud 0 and quiet 255, as in the authors' published scripts for Breathing
        system 4.
      high_first: the bands from high to low, the row order of an image.
    """

    window_s: float = 0.032
    hop_s: float = 0.010
    bands: int = 64
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    center: bool = False
    ref: Literal["max", "one"] = "max"
    top_db: float = 80.0
    levels: Literal["db", "unit", "uint8", "uint8_inverted"] = "db"
    high_first: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise UserError(
                f"LogMel bands from fmin_hz {self.fmin_hz:g} to fmax_hz {self.fmax_hz:g}: expected"
                f" 0 <= fmin_hz < fmax_hz <= {self.sample_rate_hz / 2:g}, half the sample rate"
            )
        if self.bands < 1 or self.top_db <= 0:
            raise UserError(f"LogMel has bands {self.bands} and top_db {self.top_db:g}: expected both above 0")
        _ = self.window, self.hop  # raise if they are less than a sample

    @property
    def window(self) -> int:
        """Samples in a window."""
        return samples(self.window_s, self.sample_rate_hz, "LogMel.window_s")

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return samples(self.hop_s, self.sample_rate_hz, "LogMel.hop_s")

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        decibels = self._decibels(self._power(waveform))
        if self.high_first:
            decibels = decibels[:, ::-1]
        if self.levels == "db":
            return decibels
        low, high = decibels.min(), decibels.max()
        fractions = (decibels - low) / ((high - low) or 1)  # silence has no range
        if self.levels == "unit":
            return 2 * fractions - 1
        levels = (fractions * 255).astype(np.uint8)
        return 255 - levels if self.levels == "uint8_inverted" else levels

    def _power(self, waveform: np.ndarray) -> np.ndarray:
        """Return `[frame, band]` float32."""
        if len(waveform) < self.window:
            raise UserError(
                f"{len(waveform)} samples, but one window of {self.window_s:g} s needs {self.window};"
                " pad or leave out the recording, or shorten window_s"
            )
        if self.center:
            waveform = np.pad(waveform, self.window // 2, mode="reflect")
        frames = sliding_window_view(waveform, self.window)[:: self.hop]
        window = _hann(self.window)
        filters = _filters(self.sample_rate_hz, self.window, self.bands, self.fmin_hz, self.fmax_hz)
        power = np.empty((len(frames), self.bands), np.float32)
        for start in range(0, len(frames), BLOCK):
            rows = slice(start, start + BLOCK)
            # In float64 and then rounded, like librosa's: a float32 transform is off by more than 1e-3 dB at the quiet
            # end of pure tones.
            spectrum = np.asarray(scipy.fft.rfft(frames[rows] * window)).astype(np.complex64)
            power[rows] = (filters @ (spectrum.real**2 + spectrum.imag**2).T).T
        return power

    def _decibels(self, power: np.ndarray) -> np.ndarray:
        decibels = np.log(np.maximum(power, MIN_POWER, out=power), out=power)
        decibels *= np.float32(10 / np.log(10))
        if self.ref == "max":
            decibels -= decibels.max()
        return np.maximum(decibels, decibels.max() - np.float32(self.top_db), out=decibels)


@cache
def _hann(length: int) -> np.ndarray:
    """Return a periodic window, `[length]` float64."""
    return librosa.filters.get_window("hann", length, fftbins=True)


@cache
def _filters(sample_rate_hz: int, window: int, bands: int, fmin_hz: float, fmax_hz: float) -> csr_array:
    """Return `[band, frequency]` float32; sparse, because at most two bands overlap at a frequency."""
    return csr_array(librosa.filters.mel(sr=sample_rate_hz, n_fft=window, n_mels=bands, fmin=fmin_hz, fmax=fmax_hz))


def _published() -> LogMel:
    return LogMel(window_s=0.040, hop_s=0.020, bands=128, center=True, levels="uint8_inverted", high_first=True)


@dataclass(frozen=True, kw_only=True)
class MelStrip(Feature):
    """A recording as one long grey image, `[frame, band]` uint8; system 4 cuts a piece per label from it (§3.2.2).

    There is one frame per whole hop of the recording, frame i centred on its start, and `mirror_frames` more at each
    end: the frames inside in reverse order, without the edge frame. (No label follows the frame centred on the very end
    of the recording; it counts as a mirrored one.) The lowest band is last, the bottom row of the image.

    Reference: the authors' published scripts mirror 49 frames for pieces of, in all likelihood, 100 (2 s); they keep
    one frame more at the end, which no piece contains. The paper mirrors 0.5 s of the waveform for pieces of 1 s.

    Attributes:
      matrix: a LogMel; in a config `{"name": "log_mel", ...}`. It must be centred, in levels and from high to low.
        `uint8_inverted` (loud 0, quiet 255) is the published choice of levels.
      mirror_frames: at each end. The network's context must be twice as many: 24 for pieces of 50 frames, 49 for
        pieces of 100.
    """

    matrix: LogMel = field(default_factory=_published)
    mirror_frames: int = 24

    def __post_init__(self):
        self.build_matrix({"log_mel": LogMel})
        if not self.matrix.center or not self.matrix.high_first or self.matrix.levels == "db":
            raise UserError(
                f"MelStrip.matrix has center {self.matrix.center}, high_first {self.matrix.high_first} and levels"
                f" {self.matrix.levels!r}, expected True, True and 'uint8_inverted' (or 'uint8')"
            )
        if self.mirror_frames < 0:
            raise UserError(f"MelStrip.mirror_frames is {self.mirror_frames}, expected 0 or more")

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
        ends = (self.mirror_frames, self.mirror_frames)
        return np.pad(frames, (ends, (0, 0)), mode="reflect")[:-1]
