"""New audio as a corpus without labels, in memory, so that everything that learned from a corpus takes it."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import Corpus, Recording, Task
from jaxpara.features.feature import Feature
from jaxpara.progress import Progress

SHORTEST_S = 1.0  # that every feature can be made of; what is shorter is filled up with silence


class Heard:
    """Recordings to predict, all at once.

    Attributes:
      corpus: one partition, `test`, in the order of the waveforms.
    """

    def __init__(self, waveforms: Mapping[str, np.ndarray], task: Task, label_rate_hz: float):
        """Takes waveforms as they are.

        Args:
          waveforms: `[sample]` float32 in [-1, 1] at the task's rate, by a name of their own.
          label_rate_hz: predictions per second; 0: one for all of a recording.
        """
        least = round(SHORTEST_S * task.sample_rate_hz)
        self._waveforms = {n: np.pad(w, (0, max(0, least - len(w)))) for n, w in waveforms.items()}
        self._features: dict[str, dict[str, Any]] = {}
        recordings = [
            Recording(name, Path(name), "test", "", times_s, (hidden := np.full(len(times_s), np.nan)), hidden)
            for name, times_s in (
                (name, grid_s(len(waveform) / task.sample_rate_hz, label_rate_hz))
                for name, waveform in waveforms.items()
            )
        ]
        self.corpus = Corpus(task, Path(), tuple(recordings), label_rate_hz)

    def read(self, feature: Feature, progress: Progress | None = None) -> Mapping[str, Any]:
        """A feature of all recordings; made once, whoever asks.

        Raises:
          UserError: a recording that it cannot be made of.
        """
        key = str(feature.description())
        if key not in self._features:
            with ThreadPoolExecutor() as pool:
                made = pool.map(feature, self._waveforms.values())
                self._features[key] = dict(zip(self._waveforms, made, strict=True))
        return self._features[key]


def grid_s(length_s: float, rate_hz: float) -> np.ndarray:
    """`[row]` the times of the predictions for a recording of this length: those before its end."""
    if not rate_hz:
        return np.zeros(1)
    return np.arange(max(1, int(np.ceil(length_s * rate_hz - 1e-6)))) / rate_hz
