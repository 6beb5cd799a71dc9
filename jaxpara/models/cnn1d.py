"""The network of Breathing systems 1 and 2: raw waveform -> 1D CNN -> LSTM -> belt signal."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.models import ops1d
from jaxpara.models.layers import dropout_seed
from jaxpara.models.recurrent import OUTPUTS, SequenceLSTM, glorot
from jaxpara.registry import require_one_of

POOLS = {"max": ops1d.relu_dropout_max_pool, "mean": ops1d.relu_dropout_mean_pool}


class Carry(NamedTuple):
    """The state of `CNN1DLSTM.step` between two parts of a signal."""

    seen: tuple[Any, ...]  # the last inputs of each convolution, which its next outputs need, `[batch, time, channel]`
    lstms: tuple[Any, ...]  # the carry of each LSTM layer


class ConvPool(nn.Module):
    """Convolution over time, ReLU, dropout and pooling.

    Attributes:
      filters: output channels.
      kernel: taps of the convolution (stride 1, zero-padded to the same length).
      pool: steps per pool.
      pool_kind: "max" or "mean".
      dropout: rate, before the pool.
    """

    filters: int
    kernel: int
    pool: int
    pool_kind: str = "max"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, inputs, train: bool = False, padding: tuple[int, int] | None = None):
        """Map `[batch, time, channel]` to `[batch, time / pool, filters]`; padding as in `ops1d.conv1d`."""
        channels = inputs.shape[-1]
        kernel = self.param("kernel", glorot, (self.kernel, channels, self.filters))
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        seed = dropout_seed(self.make_rng("dropout")) if train and self.dropout else None
        if channels == 1 and self.pool_kind == "max":
            return ops1d.conv_relu_dropout_max_pool(
                inputs[..., 0], kernel[:, 0], bias, self.pool, seed, self.dropout, padding
            )
        x = ops1d.conv1d(inputs, kernel, bias, padding)
        return POOLS[self.pool_kind](x, self.pool, seed, self.dropout)


class WaveformNet(nn.Module):
    """Convolutions over the raw waveform, then `sequence`, an LSTM; one output every `samples_per_output` samples."""

    @property
    def samples_per_output(self) -> int:
        """Samples from one output to the next."""
        raise NotImplementedError

    def convolved(self, inputs, train: bool) -> jax.Array:
        """Map `[batch, sample, 1]` to `[batch, label, channel]`."""
        raise NotImplementedError

    def embed(self, inputs, train: bool = False) -> jax.Array:
        """Return the input of the recurrent layers.

        Args:
          inputs: `[batch, sample, 1]`, a multiple of `samples_per_output` samples.
          train: turns dropout on (rng "dropout"); BatchNorm uses the statistics of the batch and updates "batch_stats".

        Returns:
          `[batch, label, channel]`.

        Raises:
          UserError: the number of samples is not a multiple of `samples_per_output`.
        """
        if inputs.ndim != 3 or inputs.shape[2] != 1 or inputs.shape[1] % self.samples_per_output:
            raise UserError(
                f"the network got inputs of shape {inputs.shape}, expected [batch, sample, 1] with a multiple of "
                f"{self.samples_per_output} samples: set a window of a whole number of labels"
            )
        return self.convolved(inputs, train)

    def __call__(self, inputs, train: bool = False) -> jax.Array:
        """Map `[batch, sample, 1]` to one value per label, `[batch, label]`; arguments as in `embed`."""
        return self.sequence(self.embed(inputs, train), train)


class CNN1DLSTM(WaveformNet):
    """1D CNN and LSTM over the raw waveform.

    The defaults are Breathing system 2 (1 642 049 parameters). System 1 as submitted: filters (64, 128, 128, 256)
    and output "linear" (1 379 777). Its three-layer sister: filters (64, 128, 256), kernels (8, 6, 6), pools
    (10, 8, 8), last_pool "max", dropout 0.2 and output "linear" (1 297 601).

    Attributes:
      filters: channels of each convolution.
      kernels: taps of each convolution.
      pools: steps per pool, after each convolution.
      last_pool: kind of the last pool, "mean" or "max"; the others are "max".
      dropout: rate after each convolution.
      lstm: size of each LSTM layer.
      output: activation of the last layer, "tanh" or "linear".

    Reference: paper §3.2.2 and figure 3; layers and initialisation of the authors' published scripts (Keras).
    """

    filters: tuple[int, ...] = (64, 128, 256, 256)
    kernels: tuple[int, ...] = (10, 8, 6, 5)
    pools: tuple[int, ...] = (10, 4, 4, 4)
    last_pool: str = "mean"
    dropout: float = 0.3
    lstm: tuple[int, ...] = (256, 256)
    output: str = "tanh"

    def __post_init__(self):
        super().__post_init__()
        if not len(self.filters) == len(self.kernels) == len(self.pools) > 0:
            raise UserError(
                f"model.filters {self.filters}, kernels {self.kernels} and pools {self.pools} differ in"
                " length; give each one number per layer"
            )
        require_one_of("model.last_pool", self.last_pool, POOLS)
        require_one_of("model.output", self.output, OUTPUTS)

    def setup(self):
        kinds = ["max"] * (len(self.pools) - 1) + [self.last_pool]
        layers = zip(self.filters, self.kernels, self.pools, kinds, strict=True)
        self.convs = [ConvPool(*layer, dropout=self.dropout) for layer in layers]
        self.sequence = SequenceLSTM(lstm=self.lstm, dropout=0.0, output=self.output)

    @property
    def samples_per_output(self) -> int:
        return math.prod(self.pools)

    def convolved(self, inputs, train: bool) -> jax.Array:
        for conv in self.convs:
            inputs = conv(inputs, train)
        return inputs

    @property
    def lookahead(self) -> int:
        """Samples after its own that an output depends on: the right halves of the kernels."""
        needed = 0
        for kernel, pool in zip(reversed(self.kernels), reversed(self.pools), strict=True):
            needed = needed * pool + ops1d.same_padding(kernel)[1]
        return needed

    def start(self, batch: int = 1) -> Carry:
        """Return the carry before the first sample: the zeros on the left of every convolution."""
        before = [ops1d.same_padding(kernel)[0] for kernel in self.kernels]
        channels = (1, *self.filters[:-1])
        return Carry(
            tuple(jnp.zeros((batch, n, c)) for n, c in zip(before, channels, strict=True)),
            tuple((jnp.zeros((batch, size)),) * 2 for size in self.lstm),
        )

    def step(self, inputs, carry: Carry, end: bool = False):
        """Predict the next part of a signal; the outputs of all parts are those of `__call__` on the whole signal.

        The first part has `lookahead` samples and no output. The next ones have any multiple of `samples_per_output`
        samples, and the last one completes such a multiple.

        Args:
          inputs: `[batch, sample, 1]`.
          carry: from `start`, or from the previous call.
          end: True for the last part: only there the convolutions are padded on the right.

        Returns:
          `[batch, label]`, and the carry.
        """
        x, seen = inputs, []
        for conv, before in zip(self.convs, carry.seen, strict=True):
            x = jnp.concatenate([before, x], axis=1)
            seen.append(x[:, x.shape[1] - (conv.kernel - 1) :])
            x = conv(x, padding=(0, ops1d.same_padding(conv.kernel)[1] if end else 0))
        if not x.shape[1]:
            return jnp.zeros(x.shape[:2], x.dtype), Carry(tuple(seen), carry.lstms)
        values, lstms = self.sequence.step(x, carry.lstms)
        return values, Carry(tuple(seen), lstms)
