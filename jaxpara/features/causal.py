"""The waveform of a recording that is still going on: scaled by what was heard so far, and by nothing that comes later.

Amplitudes that are not scaled by the recording (`unit`, `integer`) are what they always are. `zscore` needs the whole
recording; its causal form takes the mean and the deviation of all samples up to the one that is scaled, that one
included. The first `WARM_UP_S` seconds wait until they are complete and share the moments of all of them, as few
samples have no steady ones. The deviation is at least `FLOOR`, so that the noise of a silent microphone is not blown
up into a voice.
"""

import numpy as np

from jaxpara.features.waveform import Waveform

WARM_UP_S = 1.0
FLOOR = 1e-3  # of full scale, -60 dB


def warm_up_samples(feature: Waveform) -> int:
    """Samples that are heard before the first one can be scaled."""
    return round(WARM_UP_S * feature.sample_rate_hz) if feature.scale == "zscore" else 0


class Running:
    """The causal form of a feature, part by part; all parts together are the same, however the signal is cut."""

    def __init__(self, feature: Waveform):
        self._feature = feature
        self._warm_up = warm_up_samples(feature)
        self._waiting = np.empty(0, np.float32)
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def push(self, waveform: np.ndarray) -> np.ndarray:
        """`[sample]` float32 to those that can be scaled by now, `[sample, 1]` float32; none in the warm-up."""
        if not self._warm_up:
            return self._feature.extract(waveform)
        if self._count:
            return self._later(waveform)
        self._waiting = np.concatenate([self._waiting, waveform])
        if len(self._waiting) < self._warm_up:
            return np.empty((0, 1), np.float32)
        waiting, self._waiting = self._waiting, self._waiting[:0]
        return np.concatenate([self._first(waiting[: self._warm_up]), self._later(waiting[self._warm_up :])])

    def finish(self) -> np.ndarray:
        """What still waits where the signal ends in the warm-up, `[sample, 1]` float32."""
        return self._first(self._waiting) if len(self._waiting) else np.empty((0, 1), np.float32)

    def _first(self, waveform: np.ndarray) -> np.ndarray:
        """All by the moments of all."""
        self._heard(waveform)
        return _scaled(waveform, self._sum / self._count, self._squares / self._count)

    def _later(self, waveform: np.ndarray) -> np.ndarray:
        """Each by the moments of all up to itself."""
        count = self._count + np.arange(1, len(waveform) + 1)
        mean = (self._sum + np.cumsum(waveform, dtype=np.float64)) / count
        power = (self._squares + np.cumsum(np.square(waveform, dtype=np.float64))) / count
        self._heard(waveform)
        return _scaled(waveform, mean, power)

    def _heard(self, waveform: np.ndarray) -> None:
        self._count += len(waveform)
        self._sum += float(waveform.sum(dtype=np.float64))
        self._squares += float(np.square(waveform, dtype=np.float64).sum())


def _scaled(waveform: np.ndarray, mean: np.ndarray | float, power: np.ndarray | float) -> np.ndarray:
    deviation = np.sqrt(np.maximum(power - np.square(mean), FLOOR**2))
    return ((waveform - mean) / deviation).astype(np.float32)[:, None]
