"""A signal in parts of any size, and a value for each hop of it as soon as its last sample is there."""

import numpy as np

from jaxpara.features.causal import Running
from jaxpara.inference.ensemble import Ensemble

AT_ONCE = (25, 1)  # hops that go through together, the most that have come; each is compiled once


class Stream:
    """One signal, from its beginning to its end, however it is cut.

    What it gives is the ordinary network over the whole recording at once, on samples that are scaled causally. So it
    is the prediction from one window as long as the recording, and not the mean of shorter ones, each with an LSTM
    that begins anew. What is missing to a whole number of values is silence.
    """

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._scaled = Running(ensemble.feature)
        self._pending = np.empty((0, 1), np.float32)  # scaled samples that have not gone through the networks
        self._carries = ensemble.start()
        self._begun, self._heard, self._given = False, 0, 0

    def push(self, waveform: np.ndarray) -> np.ndarray:
        """The values that are complete with these samples.

        Args:
          waveform: `[sample]` float32 in [-1, 1].

        Returns:
          `[label]`, going on where the last call ended.
        """
        return self._advance(self._scaled.push(waveform))

    def finish(self) -> np.ndarray:
        """The last values, `[label]`; where a hop is not complete, silence fills it up."""
        values = [self._advance(self._scaled.finish())]
        values.append(self._advance(np.zeros((-self._heard % self._ensemble.hop, 1), np.float32)))
        if self._given * self._ensemble.hop < self._heard:
            values.append(self._through(len(self._pending), end=True))
        return np.concatenate(values)

    def _advance(self, scaled: np.ndarray) -> np.ndarray:
        hop, lookahead = self._ensemble.hop, self._ensemble.model.lookahead
        self._heard += len(scaled)
        self._pending = np.concatenate([self._pending, scaled])
        values = [np.empty(0)]
        if not self._begun and len(self._pending) >= lookahead:
            self._begun = True
            values.append(self._through(lookahead))
        for hops in AT_ONCE if self._begun else ():
            while len(self._pending) >= hops * hop:
                values.append(self._through(hops * hop))
        return np.concatenate(values)

    def _through(self, samples: int, end: bool = False) -> np.ndarray:
        part, self._pending = self._pending[:samples], self._pending[samples:]
        values, self._carries = self._ensemble.go_on(part, self._carries, end)
        self._given += len(values)
        return values


def warm_up(ensemble: Ensemble) -> None:
    """Compiles everything that a stream needs, on silence, so that no sound waits for it."""
    stream = Stream(ensemble)
    samples = ensemble.model.lookahead + (sum(AT_ONCE) + 1) * ensemble.hop
    stream._advance(np.zeros((samples, 1), np.float32))
    stream.finish()
