"""A temporal convolutional network: one output per frame, from the frames before and after it."""

import jax.numpy as jnp
from flax import linen as nn

from jaxpara.models.layers import BatchNorm, Dropout
from jaxpara.models.recurrent import OUTPUTS, glorot
from jaxpara.registry import require_one_of


class TCN(nn.Module):
    """Residual convolutions over time whose dilation doubles from layer to layer, for features `[frame, channel]`.

    Frames are normalised by channel first. With the defaults an output sees 255 frames on either side (10 s at 25 Hz),
    so the network is for recordings that have ended, not for live prediction.

    Reference: Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", here with kernels that are centred on their frame.
    """

    channels: int = 64
    layers: int = 7  # the dilations are 1, 2, 4, ... frames
    taps: int = 5
    dropout: float = 0.2  # rate in each layer
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    frames_per_output: int = 1  # averaged before the output
    axis_name: str | None = None  # device axis of the normalisation's statistics

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    @property
    def samples_per_output(self) -> int:
        return self.frames_per_output

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        """Map `[batch, frame, channel]` to `[batch, output]`; `train` turns dropout on (rng "dropout")."""
        x = BatchNorm(self.axis_name, name="norm")(inputs.astype(jnp.float32), train)
        x = nn.Dense(self.channels, name="input")(x)
        if self.frames_per_output > 1:
            x = nn.relu(nn.Conv(self.channels, (5,), name="stem")(x))
            x = x.reshape(len(x), -1, self.frames_per_output, self.channels).mean(2)
        for layer in range(self.layers):
            y = nn.LayerNorm(name=f"norm{layer}")(x)
            y = nn.relu(nn.Conv(self.channels, (self.taps,), kernel_dilation=2**layer, name=f"conv{layer}")(y))
            x = x + nn.Dense(self.channels, name=f"mix{layer}")(Dropout(self.dropout)(y, train))
        x = nn.Dense(1, kernel_init=glorot, name="head")(nn.relu(x))[..., 0]
        return OUTPUTS[self.output](x)
