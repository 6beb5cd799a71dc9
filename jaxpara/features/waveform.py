"""The raw waveform, for the networks that learn from samples."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxpara.features.feature import Feature


@dataclass(frozen=True, kw_only=True)
class Waveform(Feature):
    """The samples as a one-channel sequence, `[sample, 1]` float32.

    Attributes:
      scale: `unit`, [-1, 1]; `integer`, 16-bit amplitudes, which the authors' published scripts feed to their
        networks unscaled; `zscore`, mean 0 and variance 1 over the recording.
    """

    scale: Literal["unit", "integer", "zscore"] = "unit"

    @property
    def frame_rate_hz(self) -> float:
        return float(self.sample_rate_hz)

    def extract(self, waveform: np.ndarray) -> np.ndarray:
        if self.scale == "integer":
            waveform = np.rint(waveform * np.float32(32768))
        elif self.scale == "zscore":
            # In float64: a float32 mean over minutes of samples drifts. Silence has no variance and stays zero.
            deviation = waveform - waveform.mean(dtype=np.float64)
            waveform = deviation / (deviation.std() or 1)
        return waveform.astype(np.float32)[:, None]
