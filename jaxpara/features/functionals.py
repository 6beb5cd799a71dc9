"""Functionals: a vector per recording that describes its spectrogram, whatever its length."""

from dataclasses import dataclass

import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.mel import LogMel


@dataclass(frozen=True, kw_only=True)
class LogMelFunctionals(LogMel):
    """Mean, standard deviation and percentiles over time of a log-Mel spectrogram, `[functional]`.

    The defaults are the functionals of the simple baseline in every report; a few hundred numbers, float32. Recordings
    that are shorter than two windows are padded with silence.

    Attributes:
      percentiles: those of each band over time, from 0 to 100.
      delta: also describe the slope of each band over time.
    """

    percentiles: tuple[float, ...] = (10, 50, 90)
    delta: bool = True

    def __post_init__(self):
        super().__post_init__()
        if not all(0 <= percentile <= 100 for percentile in self.percentiles):
            raise UserError(f"{type(self).__name__}.percentiles is {self.percentiles}, expected numbers from 0 to 100")

    @property
    def frame_rate_hz(self) -> float:
        return 0.0

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        missing = self.window + self.hop - len(waveform)  # two frames, of which there is a difference
        series = super().extract(np.pad(waveform, (0, max(missing, 0))))
        if self.delta:
            series = np.concatenate([series, np.gradient(series, axis=0)], 1)
        statistics = [series.mean(0), series.std(0), *np.percentile(series, self.percentiles, axis=0)]
        return np.concatenate(statistics).astype(np.float32)
