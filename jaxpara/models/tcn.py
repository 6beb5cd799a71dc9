"""A temporal convolutional network: each output depends on the frames before and after it."""

from typing import Any

from flax import linen as nn
from jax import Array

from jaxpara.models.layers import BatchNorm, Dropout
from jaxpara.models.recurrent import OUTPUTS, glorot
from jaxpara.registry import require_one_of


class TCN(nn.Module):
    """Residual convolutions along time whose dilation doubles from layer to layer, with one output per frame.

    Frames are normalised by channel first. An output depends on `margin` frames on either side, with the defaults 254
    (10 s at 25 Hz), so the network is for recordings that have ended, not for live prediction.

    Reference: Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
    Sequence Modeling", 2018, here with kernels that are centred on their frame, and layer norm before each.
    """

    channels: int = 48
    layers: int = 7  # with dilations of 1, 2, 4, ... frames
    taps: int = 5  # of each kernel
    dropout: float = 0.2  # rate in each layer
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    axis_name: str | None = None  # device axis of the normalisation's statistics

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    @property
    def margin(self) -> int:
        """The outputs at either end of a part that depend on frames beyond it."""
        return (2**self.layers - 1) * (self.taps // 2)

    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """Map `[batch, frame, channel]` to `[batch, frame]`; `train` turns dropout on (rng "dropout")."""
        return self.recur(self.embed(inputs, train), ())[0]

    @nn.compact
    def embed(self, inputs: Array, train: bool = False) -> Array:
        """Map `[batch, frame, channel]` to the input of the last layer, `[batch, frame, channel]`."""
        x = nn.Dense(self.channels, name="input")(BatchNorm(self.axis_name, name="norm")(inputs, train))
        for layer in range(self.layers):
            y = nn.LayerNorm(name=f"norm{layer}")(x)
            y = nn.Conv(self.channels, (self.taps,), kernel_dilation=2**layer, name=f"conv{layer}")(y)
            y = Dropout(self.dropout)(nn.relu(y), train)
            x = x + nn.Dense(self.channels, name=f"mix{layer}")(y)
        return nn.relu(x)

    @nn.compact
    def recur(self, embedded: Array, carries: Any) -> tuple[Array, Any]:
        """Map what `embed` returns to one value per frame; there are no recurrent layers, so nothing is carried."""
        values = nn.Dense(1, kernel_init=glorot, name="head")(embedded)[..., 0]
        return OUTPUTS[self.output](values), carries

    def carry(self, batch: int) -> tuple[Array, ...]:
        """Return the carries of `recur` before the first part."""
        return ()
