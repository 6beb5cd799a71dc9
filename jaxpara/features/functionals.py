"""Functionals: a vector per recording that describes its spectrogram, whatever its length."""

from dataclasses import dataclass

import numpy as np

from jaxpara.features.mel import LogMel

PERCENTILES = (10, 50, 90)


@dataclass(frozen=True, kw_only=True)
class LogMelFunctionals(LogMel):
    """Mean, standard deviation and percentiles over time of a log-Mel spectrogram and of its delta, `[functional]`.

    The functionals of the simple baseline in every report; a few hundred numbers, float32. Recordings that are shorter
    than two windows are padded with silence.
    """

    @property
    def frame_rate_hz(self) -> float:
        return 0.0

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        missing = self.window + self.hop - len(waveform)  # two frames, of which there is a difference
        frames = super().extract(np.pad(waveform, (0, max(missing, 0))))
        series = np.concatenate([frames, np.gradient(frames, axis=0)], 1)
        statistics = [series.mean(0), series.std(0), *np.percentile(series, PERCENTILES, axis=0)]
        return np.concatenate(statistics).astype(np.float32)
