"""Log-Mel spectrograms and cepstral coefficients (paper §3.1 for Mask, §3.2 for Breathing)."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import librosa
import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature, samples

MIN_POWER = 1e-10  # `amin` of librosa.power_to_db
DELTA_WIDTH = 9  # frames of the Savitzky-Golay filter, librosa's default

# Frames per transform. Their spectra stay in the second-level cache: most of the speed on long recordings.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class MelBands(Feature):
    """Power in bands in decibels, of which LogMel and MFCC are made.

    Reference: librosa 0.11 `feature.melspectrogram` and `power_to_db` (Hann window, Slaney bands), to within 1e-3 dB.

    Attributes:
      window_s: length of the analysis window and of the transform.
      hop_s: from one window to the next. (In the paper Mask's windows overlap by 10 ms; in the authors' published
        scripts they move by 10 ms.)
      bands: their number, from `fmin_hz` to `fmax_hz`.
      scale: `mel`, bands that widen with frequency as hearing does; or `linear`, triangles of equal width in Hz, each
        from the centre of the band below to that of the band above, as in torchaudio's `linear_fbanks`.
      center: centre frame i on sample i * hop, with mirrored ends, instead of starting it there.
    """

    window_s: float = 0.032
    hop_s: float = 0.010
    bands: int = 64
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    scale: Literal["mel", "linear"] = "mel"
    center: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise UserError(
                f"{type(self).__name__} bands from fmin_hz {self.fmin_hz:g} to fmax_hz {self.fmax_hz:g}: expected"
                f" 0 <= fmin_hz < fmax_hz <= {self.sample_rate_hz / 2:g}, half the sample rate"
            )
        if self.bands < 1:
            raise UserError(f"{type(self).__name__}.bands is {self.bands}, expected at least 1")
        _ = self.window, self.hop  # raise if they are less than a sample
        narrowest_hz = (self.fmax_hz - self.fmin_hz) / (self.bands + 1)
        if self.scale == "linear" and narrowest_hz < self.sample_rate_hz / self.window:
            raise UserError(
                f"{type(self).__name__}.bands is {self.bands}, one every {narrowest_hz:.1f} Hz, but windows of"
                f" {self.window_s:g} s only resolve {self.sample_rate_hz / self.window:g} Hz; use fewer bands or longer"
                " windows"
            )

    @property
    def window(self) -> int:
        """Samples in a window."""
        return samples(self.window_s, self.sample_rate_hz, f"{type(self).__name__}.window_s")

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return samples(self.hop_s, self.sample_rate_hz, f"{type(self).__name__}.hop_s")

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    def decibels(self, waveform: np.ndarray, ref: str, top_db: float) -> np.ndarray:
        """Return `[frame, band]` float32, low bands first; `ref` and `top_db` are explained at LogMel."""
        if len(waveform) < self.window:
            raise UserError(
                f"{len(waveform)} samples, but one window of {self.window_s:g} s needs {self.window};"
                " pad or leave out the recording, or shorten window_s"
            )
        if self.center:
            waveform = np.pad(waveform, self.window // 2, mode="reflect")
        frames = sliding_window_view(waveform, self.window)[:: self.hop]
        window = _hann(self.window)
        filters = _filters(self.scale, self.sample_rate_hz, self.window, self.bands, self.fmin_hz, self.fmax_hz)
        power = np.empty((len(frames), self.bands), np.float32)
        for start in range(0, len(frames), BLOCK):
            rows = slice(start, start + BLOCK)
            # In float64 and then rounded, like librosa's: a float32 transform is off by more than 1e-3 dB at the quiet
            # end of pure tones.
            spectrum = np.asarray(scipy.fft.rfft(frames[rows] * window)).astype(np.complex64)
            power[rows] = (filters @ (spectrum.real**2 + spectrum.imag**2).T).T
        decibels = np.log(np.maximum(power, MIN_POWER, out=power), out=power)
        decibels *= np.float32(10 / np.log(10))
        if ref == "max":
            decibels -= decibels.max()
        decibels = np.maximum(decibels, decibels.max() - np.float32(top_db), out=decibels)
        if ref == "mean":
            decibels -= decibels.mean()
        return decibels


_hann = cache(partial(librosa.filters.get_window, "hann"))


@cache
def _filters(scale: str, sample_rate_hz: int, window: int, bands: int, fmin_hz: float, fmax_hz: float) -> csr_array:
    """Return `[band, frequency]` float32; sparse, because at most two bands overlap at a frequency."""
    if scale == "linear":
        edges_hz, hz = np.linspace(fmin_hz, fmax_hz, bands + 2), np.fft.rfftfreq(window, 1 / sample_rate_hz)
        triangles = [np.interp(hz, edges_hz[band : band + 3], (0, 1, 0)) for band in range(bands)]
        return csr_array(np.stack(triangles).astype(np.float32))
    return csr_array(librosa.filters.mel(sr=sample_rate_hz, n_fft=window, n_mels=bands, fmin=fmin_hz, fmax=fmax_hz))


@dataclass(frozen=True, kw_only=True)
class LogMel(MelBands):
    """Power in bands in decibels, `[frame, band]`, low bands first; the defaults are Mask's 97 x 64 for 1 s.

    Attributes:
      ref: the reference of 0 dB: the recording's largest value (`max`), the mean of its values in dB (`mean`), or power
        1 (`one`).
      top_db: values further than this below the recording's largest value are raised to that limit.
      levels: `db`, float32; `unit`, the recording's own range mapped to -1 to 1, float32, as in auDeep; `uint8`, mapped
        to 0 to 255; `uint8_inverted`, loud 0 and quiet 255, as in the authors' published scripts for Breathing
        system 4.
      high_first: the bands from high to low, the row order of an image.
    """

    ref: Literal["max", "mean", "one"] = "max"
    top_db: float = 80.0
    levels: Literal["db", "unit", "uint8", "uint8_inverted"] = "db"
    high_first: bool = False

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        decibels = self.decibels(waveform, self.ref, self.top_db)
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


@dataclass(frozen=True, kw_only=True)
class MFCC(MelBands):
    """Cepstral coefficients, `[frame, coefficient]` float32; several orders are concatenated.

    Reference: librosa 0.11 `feature.mfcc` and `feature.delta`, to within 1e-3. The defaults are those of the authors'
    published scripts for Mask.

    Attributes:
      coefficients: the number of coefficients, from the 0th.
      orders: any of 0 (the coefficients themselves), 1 (delta) and 2 (delta-delta).
    """

    bands: int = 128
    coefficients: int = 30
    orders: tuple[int, ...] = (0,)

    def __post_init__(self):
        super().__post_init__()
        if not self.orders or not set(self.orders) <= {0, 1, 2}:
            raise UserError(f"MFCC.orders is {self.orders!r}, expected some of (0, 1, 2)")
        if not 1 <= self.coefficients <= self.bands:
            raise UserError(f"MFCC.coefficients is {self.coefficients}, expected 1 to {self.bands}, as many as bands")

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        decibels = self.decibels(waveform, ref="one", top_db=80.0)
        cepstrum = np.asarray(scipy.fft.dct(decibels, norm="ortho"))[:, : self.coefficients]
        if max(self.orders) and len(cepstrum) < DELTA_WIDTH:
            raise UserError(
                f"{len(waveform)} samples are {len(cepstrum)} frames, but derivatives need {DELTA_WIDTH};"
                " pad or leave out the recording, or set orders to (0,)"
            )
        delta = partial(librosa.feature.delta, cepstrum, width=DELTA_WIDTH, axis=0)
        return np.hstack([delta(order=order) if order else cepstrum for order in self.orders])
