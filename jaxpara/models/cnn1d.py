"""The network of Breathing systems 1 and 2: raw waveform -> 1D CNN -> LSTM -> belt signal."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.models import ops1d
from jaxpara.models.layers import dropout_seed
from jaxpara.models.recurrent import OUTPUTS, SequenceLSTM, glorot, lstm_carries
from jaxpara.registry import require_one_of

POOLS = {"max": ops1d.relu_dropout_max_pool, "mean": ops1d.relu_dropout_mean_pool}


class Carry(NamedTuple):
    """The state of `CNN1DLSTM.step` between two parts of a signal."""

    seen: tuple[Any, ...]  # the last inputs of each convolution, which its next outputs need, `[batch, time, channel]`
    lstms: tuple[Any, ...]  # the carry of each LSTM layer


class ConvPool(nn.Module):
    """Convolution over time, ReLU, dropout and pooling."""

    filters: int
    kernel: int  # taps
    pool: int  # steps
    pool_kind: str  # one of POOLS
    dropout: float  # rate, before the pool

    @nn.compact
    def __call__(self, inputs, train: bool = False, padding: tuple[int, int] | None = None):
        """Map `[batch, time, channel]` to `[batch, time / pool, filters]`; padding as in `ops1d.conv1d`."""
        kernel = self.param("kernel", glorot, (self.kernel, inputs.shape[-1], self.filters))
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        seed = dropout_seed(self.make_rng("dropout")) if train and self.dropout else None
        if inputs.shape[-1] == 1 and self.pool_kind == "max":
            return ops1d.conv_relu_dropout_max_pool(
                inputs[..., 0], kernel[:, 0], bias, self.pool, seed, self.dropout, padding
            )
        x = ops1d.conv1d(inputs, kernel, bias, padding)
        return POOLS[self.pool_kind](x, self.pool, seed, self.dropout)


class WaveformNet(nn.Module):
    """Convolutions and `pools` over the raw waveform (`trunk`), then LSTM layers (`sequence`)."""

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    @property
    def samples_per_output(self) -> int:
        """Samples from one output to the next."""
        return math.prod(self.pools)

    @property
    def margin(self) -> int:
        """Labels at either end of a part of a signal whose `embed` depends on samples beyond it."""
        return -(-max(self.reach) // self.samples_per_output)

    def embed(self, inputs, train: bool = False) -> jax.Array:
        """Map `[batch, sample, 1]` to the input of the LSTM layers, `[batch, label, channel]`.

        `train` turns dropout on (rng "dropout"); BatchNorm uses the statistics of the batch and updates "batch_stats".

        Raises:
          UserError: the number of samples is not a multiple of `samples_per_output`.
        """
        if inputs.ndim != 3 or inputs.shape[2] != 1 or inputs.shape[1] % self.samples_per_output:
            raise UserError(
                f"the network got inputs of shape {inputs.shape}, expected [batch, sample, 1] with a multiple of "
                f"{self.samples_per_output} samples: set a window of a whole number of labels"
            )
        return self.trunk(inputs, train)

    def __call__(self, inputs, train: bool = False) -> jax.Array:
        """Map `[batch, sample, 1]` to one value per label, `[batch, label]`; `train` as in `embed`."""
        return self.sequence(self.embed(inputs, train), train)

    def recur(self, embedded, carries):
        """Map the next part of what `embed` returns to one value per label and the carries, as `SequenceLSTM.recur`."""
        return self.sequence.recur(embedded, carries)

    def carry(self, batch: int):
        """Return the carries of `recur` before the first part."""
        return lstm_carries(self.lstm, batch)


class CNN1DLSTM(WaveformNet):
    """1D CNN and LSTM over the raw waveform.

    The defaults are Breathing system 2 (1 642 049 parameters). System 1 as submitted: filters (64, 128, 128, 256)
    and output "linear" (1 379 777). Its three-layer sister: filters (64, 128, 256), kernels (8, 6, 6), pools
    (10, 8, 8), last_pool "max", dropout 0.2 and output "linear" (1 297 601).

    Reference: paper §3.2.2 and figure 3; layers and initialisation of the authors' published scripts (Keras).
    """

    filters: tuple[int, ...] = (64, 128, 256, 256)  # channels of each convolution
    kernels: tuple[int, ...] = (10, 8, 6, 5)  # taps of each convolution
    pools: tuple[int, ...] = (10, 4, 4, 4)  # steps per pool, after each convolution
    last_pool: str = "mean"  # kind of the last pool, "mean" or "max"; the others are "max"
    dropout: float = 0.3  # rate after each convolution
    lstm: tuple[int, ...] = (256, 256)  # size of each LSTM layer
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    # In memory at once on a CPU, where a larger part of a batch only costs memory; not a field: it has no annotation.
    samples_at_once = 240 * 16_000

    def __post_init__(self):
        super().__post_init__()
        if not len(self.filters) == len(self.kernels) == len(self.pools) > 0:
            raise UserError(
                f"model.filters {self.filters}, kernels {self.kernels} and pools {self.pools} differ in"
                " length; give each one number per layer"
            )
        require_one_of("model.last_pool", self.last_pool, POOLS)

    def setup(self):
        kinds = ["max"] * (len(self.pools) - 1) + [self.last_pool]
        layers = zip(self.filters, self.kernels, self.pools, kinds, strict=True)
        self.convs = [ConvPool(*layer, dropout=self.dropout) for layer in layers]
        self.sequence = SequenceLSTM(lstm=self.lstm, dropout=0.0, output=self.output)

    def trunk(self, inputs, train: bool) -> jax.Array:
        for conv in self.convs:
            inputs = conv(inputs, train)
        return inputs

    @property
    def reach(self) -> tuple[int, int]:
        """Samples before and after its own that an embedding depends on: the halves of the kernels."""
        before = after = 0
        for kernel, pool in zip(reversed(self.kernels), reversed(self.pools), strict=True):
            left, right = ops1d.same_padding(kernel)
            before, after = before * pool + left, after * pool + right
        return before, after

    @property
    def lookahead(self) -> int:
        """Samples after its own that an output depends on."""
        return self.reach[1]

    def start(self) -> Carry:
        """Return the carry of one signal before its first sample: the zeros on the left of every convolution."""
        channels = (1, *self.filters[:-1])
        return Carry(
            tuple(jnp.zeros((1, ops1d.same_padding(k)[0], c)) for k, c in zip(self.kernels, channels, strict=True)),
            self.carry(1),
        )

    def step(self, inputs, carry: Carry):
        """Map the next part of a signal, `[batch, sample, 1]`, to `[batch, label]`, as `__call__` would, and the carry.

        The first part has `lookahead` samples and no output. The next ones have any multiple of `samples_per_output`
        samples.
        """
        x, seen = inputs, []
        for conv, before in zip(self.convs, carry.seen, strict=True):
            x = jnp.concatenate([before, x], axis=1)
            seen.append(x[:, x.shape[1] - (conv.kernel - 1) :])
            x = conv(x, padding=(0, 0))
        if not x.shape[1]:
            return jnp.zeros(x.shape[:2], x.dtype), Carry(tuple(seen), carry.lstms)
        values, lstms = self.sequence.recur(x, carry.lstms)
        return values, Carry(tuple(seen), lstms)
