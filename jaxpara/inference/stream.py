"""Streaming prediction of a signal as it arrives, with systems that are a 1D CNN + LSTM on the waveform."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.features.speech_encoder import EncoderStates
from jaxpara.features.waveform import Waveform
from jaxpara.inference.system import System
from jaxpara.models.cnn1d import CNN1DLSTM, Carry
from jaxpara.training.steps import computed_in, with_products

WARM_UP_S = 1.0  # before the first scaled sample: the mean and deviation of fewer samples are not stable
MIN_DEVIATION = 1e-3  # of full scale, -60 dB: the noise of a silent microphone is not scaled to the level of speech
HOPS = (25, 1)  # hops computed at once, the largest that has arrived; each size is compiled once


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of one architecture whose outputs are averaged.

    Attributes:
      networks: the variables of each trained model.
      weights: `[network]` of each in the average; they sum to 1.
      feature: input of the network.
      task: its unit is that of the values.
      precision: of the network's computations, see `jaxpara.training.steps.PRECISIONS`.
    """

    model: CNN1DLSTM
    networks: tuple[Any, ...]
    weights: np.ndarray
    feature: Waveform
    task: Task
    precision: str = "float32"

    @classmethod
    def of(cls, system: System) -> "Ensemble":
        """Return the networks of a trained system.

        Raises:
          UserError: the system has several members, or another kind of network.
        """
        (name, weights), *others = system.weights.items()
        member = system.members[name]
        model, feature = getattr(member.learner, "model", None), member.feature
        if others or not isinstance(model, CNN1DLSTM) or not isinstance(feature, Waveform):
            encoded = any(isinstance(m.feature, EncoderStates) for m in system.members.values())
            of = ", ".join(system.weights)
            of += ", and a speech encoder needs the end of a recording before its first frame" if encoded else ""
            raise UserError(
                f"{system.about['experiment']} cannot run live: its predictions come from {of};"
                " expected a single cnn1d_lstm on the waveform with any number of folds, as in Breathing systems 1 and"
                " 2 (configs/breathing_s1.py and breathing_s2.py), or as a run with --config.only=NAME trains"
            )
        if member.learner.examples.subtract_mean:
            raise UserError(
                f"{system.about['experiment']} cannot run live: members.{name}.learner.examples.subtract_mean needs the"
                " end of a recording before its first value; set it to False and train again"
            )
        runs = system.fold_runs(name)
        networks = tuple(jax.device_get(member.load(runs[key]).variables) for key in weights)
        return cls(model, networks, np.array(list(weights.values())), feature, system.task, member.learner.precision)

    @property
    def hop(self) -> int:
        """Samples from one value to the next."""
        return self.model.samples_per_output

    @property
    def warm_up(self) -> int:
        """Samples that have to arrive before the first one is scaled."""
        return round(WARM_UP_S * self.feature.sample_rate_hz) if self.feature.scale == "zscore" else 0

    def step(self, samples: np.ndarray, carries: list[Carry]) -> tuple[np.ndarray, list[Carry]]:
        """Map the next scaled samples, `[sample, 1]`, to `[label]` and the new carries, see `CNN1DLSTM.step`."""
        outputs, carries = _step(self.model, self.precision, self.networks, samples[None], carries)
        values = [np.asarray(output[0], np.float64) for output in outputs]
        return self.task.unscaled(np.average(values, axis=0, weights=self.weights)), carries


# The program computes the networks one after the other: a convolution batched over networks, each with its own kernels,
# is several times slower on a CPU.
@partial(jax.jit, static_argnums=(0, 1))
def _step(
    model: CNN1DLSTM, precision: str, networks: Any, samples: jax.Array, carries: list[Carry]
) -> tuple[list[jax.Array], list[Carry]]:
    pairs = []
    for variables, carry in zip(networks, carries, strict=True):
        variables = variables | {"params": computed_in(precision, variables["params"])}
        carry = carry._replace(seen=computed_in(precision, carry.seen))
        step = with_products(precision, partial(model.apply, method="step"))
        pairs.append(step(variables, computed_in(precision, samples), carry))
    return [values.astype(jnp.float32) for values, _ in pairs], [carry for _, carry in pairs]


class RunningScale:
    """The scaling of a `Waveform` feature with past samples only; it does not depend on how the signal is split.

    `unit` and `integer` do not depend on other samples. `zscore` uses the running mean and deviation, up to and
    including the scaled sample; the samples of the warm-up are scaled together, by their mean and deviation.
    """

    def __init__(self, ensemble: Ensemble):
        self._feature, self._warm_up = ensemble.feature, ensemble.warm_up
        self._waiting = np.empty(0, np.float32)
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def push(self, waveform: np.ndarray, end: bool = False) -> np.ndarray:
        """Scale `[sample]` float32 to `[sample, 1]` float32; the samples of the warm-up are returned at its end."""
        if not self._warm_up:
            return self._feature.extract(waveform)
        if self._count:
            return self._scaled(waveform)
        self._waiting = np.concatenate([self._waiting, waveform])
        if len(self._waiting) < (1 if end else self._warm_up):
            return np.empty((0, 1), np.float32)
        first, rest = np.split(self._waiting, [self._warm_up])
        return np.concatenate([self._scaled(first, together=True), self._scaled(rest)])

    def _scaled(self, waveform: np.ndarray, together: bool = False) -> np.ndarray:
        squared = np.square(waveform, dtype=np.float64)
        count = self._count + np.arange(1, len(waveform) + 1)
        total, squares = self._sum + np.cumsum(waveform, dtype=np.float64), self._squares + np.cumsum(squared)
        self._count += len(waveform)
        self._sum += float(waveform.sum(dtype=np.float64))
        self._squares += float(squared.sum())
        if together:
            count, total, squares = self._count, self._sum, self._squares
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - np.square(mean), MIN_DEVIATION**2))
        return ((waveform - mean) / deviation).astype(np.float32)[:, None]


class Stream:
    """Predictions for a signal that arrives in parts of any size; each value is returned with its last sample.

    The values equal those of `--mode=predict` for networks that predict recordings `whole`, see
    `jaxpara.training.examples.Windows`; but `zscore` uses running statistics. The signal is followed by silence.
    """

    def __init__(self, ensemble: Ensemble):
        self._ensemble, self._scale = ensemble, RunningScale(ensemble)
        self._pending = np.empty((0, 1), np.float32)  # scaled samples that the networks have not seen
        self._carries = [ensemble.model.start()] * len(ensemble.networks)
        self._started, self._received = False, 0

    def push(self, waveform: np.ndarray) -> np.ndarray:
        """Return the next values, `[label]`, that can be computed with these samples, `[sample]` in [-1, 1]."""
        return self._advance(self._scale.push(waveform))

    def finish(self) -> np.ndarray:
        """Return the last values, `[label]`."""
        values = [self._advance(self._scale.push(np.empty(0, np.float32), end=True))]
        silence = -self._received % self._ensemble.hop + self._ensemble.model.lookahead
        values.append(self._advance(np.zeros((silence, 1), np.float32)))
        return np.concatenate(values)

    def _advance(self, scaled: np.ndarray) -> np.ndarray:
        hop, lookahead = self._ensemble.hop, self._ensemble.model.lookahead
        self._received += len(scaled)
        self._pending = np.concatenate([self._pending, scaled])
        values = [np.empty(0)]
        if not self._started and len(self._pending) >= lookahead:
            self._started = True
            values.append(self._step(lookahead))
        for hops in HOPS if self._started else ():
            while len(self._pending) >= hops * hop:
                values.append(self._step(hops * hop))
        return np.concatenate(values)

    def _step(self, samples: int) -> np.ndarray:
        part, self._pending = self._pending[:samples], self._pending[samples:]
        values, self._carries = self._ensemble.step(part, self._carries)
        return values


def precompile(ensemble: Ensemble) -> None:
    """Compile all programs of a stream, so that no sample waits for them."""
    stream = Stream(ensemble)
    stream._advance(np.zeros((ensemble.model.lookahead + sum(HOPS) * ensemble.hop, 1), np.float32))
