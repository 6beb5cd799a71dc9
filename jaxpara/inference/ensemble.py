"""The systems that can predict live: one kind of 1D CNN + LSTM on the waveform, fitted on one or more folds."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.errors import UserError
from jaxpara.features.waveform import Waveform
from jaxpara.inference.system import System
from jaxpara.models.cnn1d import CNN1DLSTM
from jaxpara.training.steps import computed_in


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of one kind whose outputs are mixed.

    Attributes:
      model: the network.
      networks: its variables, one tree a fold.
      shares: `[network]` how much each counts; the sum is 1.
      feature: what the network hears.
      precision: that the network is computed in, see `jaxpara.training.steps.PRECISIONS`.
    """

    model: CNN1DLSTM
    networks: tuple[Any, ...]
    shares: np.ndarray
    feature: Waveform
    precision: str = "float32"

    @property
    def hop(self) -> int:
        """Samples from one value to the next."""
        return self.model.samples_per_output

    @property
    def hop_s(self) -> float:
        """Seconds from one value to the next."""
        return self.hop / self.feature.sample_rate_hz

    @property
    def lookahead_s(self) -> float:
        """Seconds of sound after its own hop that a value depends on."""
        return self.model.lookahead / self.feature.sample_rate_hz

    def mixed(self, outputs: Any) -> np.ndarray:
        """`[label]` from the outputs of all networks, `[1, label]` each."""
        return np.average([np.asarray(values[0], np.float64) for values in outputs], axis=0, weights=self.shares)

    def start(self) -> list[Any]:
        """The carries before the first sample, one a network."""
        return [self.model.start() for _ in self.networks]

    def go_on(self, samples: np.ndarray, carries: list[Any], end: bool = False) -> tuple[np.ndarray, list[Any]]:
        """The next part of a signal, see `CNN1DLSTM.step`.

        Args:
          samples: `[sample, 1]` scaled.
          carries: of `start`, or of the call before.
          end: whether nothing comes after.

        Returns:
          `[label]`, and the carries.
        """
        outputs, carries = _go_on(self.model, self.precision, self.networks, samples[None], carries, end)
        return self.mixed(outputs), carries


def of(system: System) -> Ensemble:
    """The ensemble that a trained system is.

    Raises:
      UserError: it is more, or another kind of network.
    """
    (name, shares), *others = system.shares.items()
    member = system.members[name]
    model, feature = getattr(member.learner, "model", None), member.feature
    if others or not isinstance(model, CNN1DLSTM) or not isinstance(feature, Waveform):
        raise UserError(
            f"{system.about['experiment']} cannot run live: its predictions come from {', '.join(system.shares)};"
            " what can is a single cnn1d_lstm on the waveform with any number of folds, as Breathing systems 1 and 2"
            " (configs/breathing_s1.py and breathing_s2.py)"
        )
    fits = system.fits(name)
    networks = tuple(jax.device_get(member.weights(fits[fold]).variables) for fold in shares)
    return Ensemble(model, networks, np.array(list(shares.values())), feature, member.learner.precision)


@partial(jax.jit, static_argnums=(0, 1, 5))
def _go_on(
    model: CNN1DLSTM, precision: str, networks: Any, samples: jax.Array, carries: list[Any], end: bool
) -> tuple[list[Any], list[Any]]:
    """All networks in one program, one after the other: batched convolutions, each row with kernels of its own, are
    several times slower on a CPU.
    """
    pairs = []
    for variables, carry in zip(networks, carries, strict=True):
        variables = variables | {"params": computed_in(precision, variables["params"])}
        carry = carry._replace(seen=computed_in(precision, carry.seen))
        pairs.append(model.apply(variables, computed_in(precision, samples), carry, end, method="step"))
    return [values.astype(jnp.float32) for values, _ in pairs], [carry for _, carry in pairs]
