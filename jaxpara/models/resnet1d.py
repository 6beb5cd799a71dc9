"""The network of Breathing system 3: raw waveform -> 1D ResNet -> LSTM -> belt signal."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.models.cnn1d import WaveformNet
from jaxpara.models.layers import BatchNorm, follow, running_statistics
from jaxpara.models.ops1d import conv_relu_dropout_max_pool, same_padding
from jaxpara.models.recurrent import SequenceLSTM, glorot

MOMENTUM, EPSILON = 0.99, 1e-3  # of every BatchNorm, as in Keras
Conv = partial(nn.Conv, kernel_init=glorot)
Norm = partial(BatchNorm, momentum=MOMENTUM, epsilon=EPSILON, unbiased=False)


class Bottleneck(nn.Module):
    """Convolutions of 1, 5 and 1 taps, the last one four times as wide (`4 * filters`), added to a shortcut."""

    filters: int
    project: bool  # the shortcut is a convolution of 1 tap with BatchNorm instead of the identity
    axis_name: str | None = None

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        x = inputs
        for index, (filters, kernel) in enumerate(((self.filters, 1), (self.filters, 5), (4 * self.filters, 1))):
            if index:
                x = nn.relu(x)
            x = Conv(filters, (kernel,), use_bias=False, name=f"conv{index}")(x)
            x = Norm(self.axis_name, name=f"norm{index}")(x, train)
        if self.project:
            inputs = Conv(4 * self.filters, (1,), use_bias=False, name="shortcut")(inputs)
            inputs = Norm(self.axis_name, name="shortcut_norm")(inputs, train)
        return nn.relu(x + inputs)


class StemConv(nn.Module):
    """The weights of the convolution of the waveform: its kernel `[tap, filter]` and its bias `[filter]`."""

    filters: int
    kernel: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", glorot, (self.kernel, 1, self.filters))
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        return jnp.asarray(kernel)[:, 0], jnp.asarray(bias)


class StemNorm(nn.Module):
    """BatchNorm of a convolution of the waveform, folded into that convolution.

    Mean and variance of a convolution of one channel follow from the moments of the waveform. So its outputs, a hundred
    times as many numbers, need not be stored.

    Why not BatchNorm after the convolution: a training step of Breathing 3 then takes 1.3 times as long and 2.4 instead
    of 1.1 to 1.5 GiB for 16 s (JAX 0.10.2 and 0.12, 2 cores, November 2026; `python -m benchmarks.forms breathing3`).
    """

    axis_name: str | None = None

    @nn.compact
    def __call__(self, signal, kernel, bias, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Return kernel and bias of the convolution of `signal`, `[batch, sample]`, with its BatchNorm."""
        running_mean, running_var = running_statistics(self, len(bias))
        scale = self.param("scale", nn.initializers.ones, bias.shape)
        offset = self.param("bias", nn.initializers.zeros, bias.shape)
        mean, var = running_mean.value, running_var.value
        if train:
            wide = jnp.promote_types(signal.dtype, jnp.float32)
            mean, covariance = moments(signal.astype(wide), len(kernel))
            if self.axis_name is not None and not self.is_initializing():
                own, mean = mean, jax.lax.pmean(mean, self.axis_name)
                # Covariance within the devices plus covariance of their means.
                covariance = jax.lax.pmean(covariance + jnp.outer(own - mean, own - mean), self.axis_name)
            taps = kernel.astype(wide)
            mean, var = mean @ taps + bias.astype(wide), ((covariance @ taps) * taps).sum(axis=0)
            if not self.is_initializing():
                follow(running_mean, mean, MOMENTUM)
                follow(running_var, var, MOMENTUM)
        factor = scale * jax.lax.rsqrt(var + EPSILON)
        return (kernel * factor).astype(kernel.dtype), ((bias - mean) * factor + offset).astype(bias.dtype)


def moments(signal, taps: int) -> tuple[jax.Array, jax.Array]:
    """Return mean `[tap]` and biased covariance `[tap, tap]` of the windows of `[batch, sample]` under a kernel.

    The convolution of the signal with a kernel `[tap]` (`ops1d.conv1d`) has the mean kernel @ mean and the variance
    kernel @ covariance @ kernel.
    """
    padded = jnp.pad(signal, ((0, 0), same_padding(taps)))
    windows = jnp.stack([padded[:, tap : tap + signal.shape[1]] for tap in range(taps)]).reshape(taps, -1)
    mean = windows.mean(axis=1)
    # Summed in blocks: where a filter cancels nearly all of a signal, the rounding errors of one long sum would remain.
    centred = windows - mean[:, None]
    blocks = jnp.pad(centred, ((0, 0), (0, -centred.shape[1] % 4096))).reshape(taps, -1, 4096)
    return mean, jnp.einsum("ipn,jpn->pij", blocks, blocks).sum(axis=0) / windows.shape[1]


class ResNet1D(nn.Module):
    """The convolutional part of `ResNet1DLSTM`, with its fields."""

    stem: int
    stem_kernel: int
    stages: tuple[int, ...]
    blocks: int
    pools: tuple[int, ...]
    axis_name: str | None = None

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        """Map `[batch, sample, 1]` to `[batch, label, channel]`."""
        signal = inputs[..., 0]
        kernel, bias = StemConv(self.stem, self.stem_kernel, name="stem")()
        kernel, bias = StemNorm(self.axis_name, name="stem_norm")(signal, kernel, bias, train)
        x = conv_relu_dropout_max_pool(signal, kernel, bias, self.pools[0])
        for stage, (filters, pool) in enumerate(zip(self.stages, self.pools[1:], strict=True)):
            for block in range(self.blocks):
                x = Bottleneck(filters, block == 0, self.axis_name, name=f"stage{stage}_block{block}")(x, train)
            x = x.reshape(x.shape[0], -1, pool, x.shape[2]).mean(axis=2)
        return x


class ResNet1DLSTM(WaveformNet):
    """1D ResNet and LSTM over the raw waveform.

    The defaults are Breathing system 3: 3 827 073 parameters, 8 704 of them BatchNorm statistics.

    Reference: paper §3.2.2; layers and initialisation of the authors' published scripts (Keras).
    """

    stem: int = 128  # channels of the first convolution
    stem_kernel: int = 8  # taps of the first convolution
    stages: tuple[int, ...] = (64, 128)  # narrow channels of each stage's blocks; its output has four times as many
    blocks: int = 3  # bottleneck blocks in a stage
    pools: tuple[int, ...] = (10, 8, 8)  # steps of the max-pool after the stem, and of the mean-pool after each stage
    lstm: tuple[int, ...] = (512, 256)  # size of each LSTM layer
    dropout: float = 0.3  # rate between two LSTM layers
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    axis_name: str | None = None  # device axis of synchronised BatchNorm

    def __post_init__(self):
        super().__post_init__()
        if len(self.pools) != len(self.stages) + 1:
            raise UserError(
                f"model.stages {self.stages} and pools {self.pools}: expected one pool more than stages, the first"
                " for the stem"
            )

    @property
    def reach(self) -> tuple[int, int]:
        """Samples before and after its own that an embedding depends on: those of the kernels, whose halves differ."""
        steps = 0
        for pool in reversed(self.pools[1:]):
            steps = steps * pool + 2 * self.blocks  # each block has a convolution of 5 taps
        left, right = same_padding(self.stem_kernel)
        return steps * self.pools[0] + left, steps * self.pools[0] + right

    def setup(self):
        self.trunk = ResNet1D(self.stem, self.stem_kernel, self.stages, self.blocks, self.pools, self.axis_name)
        self.sequence = SequenceLSTM(lstm=self.lstm, dropout=self.dropout, output=self.output)
