"""Log-Mel spectrograms (paper §3.1 for Mask, §3.2 for Breathing)."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import librosa
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples

AMIN = 1e-10  # the least power of librosa.power_to_db

# Frames per transform: their spectra stay in the second-level cache, which is most of the speed on long recordings.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class LogMel(Feature):
    """Power in Mel bands, in decibels, `[frame, band]`, low bands first; the defaults are Mask's 97 x 64 for 1 s.

    Reference: librosa 0.11 `feature.melspectrogram` and `power_to_db` (Hann window, Slaney bands), to within 1e-3 dB.

    Attributes:
      window_s: length of the analysis window and of the transform.
      hop_s: from one window to the next. (The paper says that Mask's windows overlap by 10 ms, the authors' published
        scripts move them by 10 ms.)
      bands: Mel bands, from `fmin_hz` to `fmax_hz`.
      center: frame i is centred on sample i * hop, the ends of the recording being mirrored, and not begun there.
      ref: what 0 dB is: the recording's largest value (`max`) or power 1 (`one`).
      top_db: nothing lies more than this below the recording's largest value.
      levels: `db`, float32; `unit`, the recording's own range over -1 to 1, float32, as auDeep has it; `uint8`, over 0
        to 255; `uint8_inverted`, loud 0 and quiet 255, as the authors' published scripts make them for Breathing
        system 4.
      high_first: the bands from high to low, the rows of an upright picture.
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
        self.check("ref", ("max", "one"))
        self.check("levels", ("db", "unit", "uint8", "uint8_inverted"))
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise UserError(
                f"LogMel bands from fmin_hz {self.fmin_hz:g} to fmax_hz {self.fmax_hz:g}: expected"
                f" 0 <= fmin_hz < fmax_hz <= {self.sample_rate_hz / 2:g}, half the sample rate"
            )
        if self.bands < 1 or self.top_db <= 0:
            raise UserError(f"LogMel has bands {self.bands} and top_db {self.top_db:g}: expected both above 0")
        _ = self.window, self.hop

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
        shares = (decibels - low) / ((high - low) or 1)
        if self.levels == "unit":
            return 2 * shares - 1
        levels = (shares * 255).astype(np.uint8)
        return 255 - levels if self.levels == "uint8_inverted" else levels

    def require_window(self, length: int) -> None:
        """Raises a UserError unless one window fits into a recording of `length` samples."""
        if length < self.window:
            raise UserError(
                f"{length} samples, but one window of {self.window_s:g} s needs {self.window};"
                " pad or leave out the recording, or shorten window_s"
            )

    def _power(self, waveform: np.ndarray) -> np.ndarray:
        """`[frame, band]` float32."""
        self.require_window(len(waveform))
        if self.center:
            waveform = np.pad(waveform, self.window // 2, mode="reflect")
        frames = sliding_window_view(waveform, self.window)[:: self.hop]
        window, filters = hann(self.window), self.filters
        power = np.empty((len(frames), self.bands), np.float32)
        for start in range(0, len(frames), BLOCK):
            rows = slice(start, start + BLOCK)
            # In float64 and then rounded, like librosa's: a float32 transform is off by more than 1e-3 dB at the quiet
            # end of pure tones.
            spectrum = np.asarray(scipy.fft.rfft(frames[rows] * window)).astype(np.complex64)
            power[rows] = (filters @ (spectrum.real**2 + spectrum.imag**2).T).T
        return power

    @property
    def filters(self) -> csr_array:
        """`[band, frequency]` float32, librosa's; two bands share a frequency, so that most weights are 0."""
        return _filters(self.sample_rate_hz, self.window, self.bands, self.fmin_hz, self.fmax_hz)

    def _decibels(self, power: np.ndarray) -> np.ndarray:
        decibels = np.log(np.maximum(power, AMIN, out=power), out=power)
        decibels *= np.float32(10 / np.log(10))
        if self.ref == "max":
            decibels -= decibels.max()
        return np.maximum(decibels, decibels.max() - np.float32(self.top_db), out=decibels)


@cache
def hann(length: int) -> np.ndarray:
    """`[length]` float64, periodic."""
    return librosa.filters.get_window("hann", length, fftbins=True)


@cache
def _filters(sample_rate_hz: int, window: int, bands: int, fmin_hz: float, fmax_hz: float) -> csr_array:
    return csr_array(librosa.filters.mel(sr=sample_rate_hz, n_fft=window, n_mels=bands, fmin=fmin_hz, fmax=fmax_hz))
