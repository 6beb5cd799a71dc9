"""A time-delay network with statistics pooling, as in x-vectors: small, and with weights of its own for every band."""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxpara.errors import UserError
from jaxpara.models.layers import BatchNorm, Dropout, Linear


class TDNN(nn.Module):
    """Convolutions along time over all bands at once; the mean and deviation of their outputs; a dense layer.

    A convolution over an image has the same weights at all frequencies, although a band at 5 kHz is not one at 500 Hz.
    Bands are normalised first, so that a network with a random start sees all of them on one scale.

    Reference: Snyder et al., "X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018, of which this is
      a smaller form; for the first layer `bn0` of Kong et al., "PANNs", IEEE/ACM TASLP 28 (2020).
    """

    classes: int = 2
    units: tuple[int, ...] = (64,)  # channels of each convolution
    kernels: tuple[int, ...] = (1,)  # its length in frames
    dropout: float = 0.3  # rate before the last layer
    axis_name: str | None = None  # device axis of the normalisation's statistics

    def __post_init__(self):
        super().__post_init__()
        if len(self.units) != len(self.kernels):
            raise UserError(
                f"model.units {self.units} and kernels {self.kernels} differ in length; give each one number per layer"
            )

    def setup(self):
        self.bands = BatchNorm(self.axis_name)
        sizes = zip(self.units, self.kernels, strict=True)
        self.convs = [nn.Conv(units, (kernel,), use_bias=False) for units, kernel in sizes]
        self.norms = [BatchNorm(self.axis_name) for _ in self.units]
        self.drop = Dropout(self.dropout)
        self.head = Linear(self.classes)

    def embed(self, images: Array, train: bool = False) -> Array:
        """Map spectrograms `[batch, band, frame, channel]` to the input of the last layer, `[batch, 2 * channel]`."""
        x = images.swapaxes(1, 2).reshape(len(images), images.shape[2], -1)
        x = self.bands(x, train)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.relu(norm(conv(x), train))
        # The slope of a root at 0 is infinite.
        return jnp.concatenate([x.mean(1), jnp.sqrt(x.var(1) + 1e-5)], -1)

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map spectrograms `[batch, band, frame, channel]` to `[batch, class]`; `train` turns dropout on."""
        return self.head(self.drop(self.embed(images, train), train))
