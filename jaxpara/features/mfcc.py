"""Mel-frequency cepstral coefficients and their derivatives (paper §3.1)."""

from dataclasses import dataclass
from functools import cached_property

import librosa
import numpy as np
import scipy.fft

from jaxpara.errors import UserError
from jaxpara.features.feature import Feature
from jaxpara.features.mel import LogMel

DELTA_WIDTH = 9  # frames of the Savitzky-Golay filter, librosa's default


@dataclass(frozen=True, kw_only=True)
class MFCC(Feature):
    """Cepstral coefficients, `[frame, coefficient]` float32; several orders are concatenated.

    Reference: librosa 0.11 `feature.mfcc` and `feature.delta`, to within 1e-3. The defaults are those of the authors'
    published scripts for Mask.

    Attributes:
      coefficients: the number of coefficients, from the 0th.
      orders: any of 0 (the coefficients themselves), 1 (delta) and 2 (delta-delta).
      window_s, hop_s, bands, fmin_hz, fmax_hz, center: of the log-Mel spectrogram, see LogMel.
    """

    coefficients: int = 30
    orders: tuple[int, ...] = (0,)
    window_s: float = 0.032
    hop_s: float = 0.010
    bands: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    center: bool = False

    def __post_init__(self):
        if not self.orders or not set(self.orders) <= {0, 1, 2}:
            raise UserError(f"MFCC.orders is {self.orders!r}, expected some of (0, 1, 2)")
        if not 1 <= self.coefficients <= self.bands:
            raise UserError(f"MFCC.coefficients is {self.coefficients}, expected 1 to {self.bands}, as many as bands")
        _ = self.mel  # raises if its fields are impossible

    @cached_property
    def mel(self) -> LogMel:
        """The spectrogram that is transformed."""
        return LogMel(
            sample_rate_hz=self.sample_rate_hz,
            window_s=self.window_s,
            hop_s=self.hop_s,
            bands=self.bands,
            fmin_hz=self.fmin_hz,
            fmax_hz=self.fmax_hz,
            center=self.center,
            ref="one",
        )

    @property
    def frame_rate_hz(self) -> float:
        return self.mel.frame_rate_hz

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        cepstrum = np.asarray(scipy.fft.dct(self.mel.extract(waveform), norm="ortho"))[:, : self.coefficients]
        if max(self.orders) and len(cepstrum) < DELTA_WIDTH:
            raise UserError(
                f"{len(waveform)} samples are {len(cepstrum)} frames, but derivatives need {DELTA_WIDTH};"
                " pad or leave out the recording, or set orders to (0,)"
            )
        return np.hstack([_derivative(cepstrum, order) for order in self.orders])


def _derivative(cepstrum: np.ndarray, order: int) -> np.ndarray:
    if order == 0:
        return cepstrum
    return librosa.feature.delta(cepstrum, width=DELTA_WIDTH, order=order, axis=0).astype(np.float32)
