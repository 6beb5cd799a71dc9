"""A small convolutional network on spectrograms that keeps frequency: for few recordings and a random start."""

import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxpara.models import ops2d
from jaxpara.models.layers import BatchNorm, Dropout, Linear


class SpectrogramCNN(nn.Module):
    """Convolutions of 3 x 3, each with max-pooling, then mean and deviation over time at every frequency.

    Networks for photographs average over the whole image, although a band at 5 kHz is not one at 500 Hz. Here the dense
    layer has its own weights for every frequency. Bands are normalised first, as in PANNs, so that a network with a
    random start sees all of them on one scale.

    Reference: for the first layer Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
      Recognition", IEEE/ACM TASLP 28 (2020), `bn0`.
    """

    classes: int = 2
    filters: tuple[int, ...] = (16, 32, 64)  # channels of each convolution
    dropout: float = 0.3  # rate before the last layer
    axis_name: str | None = None  # device axis of the normalisation's statistics

    def setup(self):
        self.bands = BatchNorm(self.axis_name)
        convolution = {"kernel_size": (3, 3), "padding": 1, "use_bias": False, "conv_general_dilated": ops2d.conv}
        self.convs = [nn.Conv(size, **convolution) for size in self.filters]
        self.norms = [BatchNorm(self.axis_name) for _ in self.filters]
        self.drop = Dropout(self.dropout)
        self.head = Linear(self.classes)

    def embed(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, band, frame, channel]` to the input of the last layer, `[batch, feature]`."""
        bands = images.swapaxes(1, 2)
        x = self.bands(bands.reshape(*bands.shape[:2], -1), train).reshape(bands.shape).swapaxes(1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = ops2d.max_pool(nn.relu(norm(conv(x), train)), 2, 2)
        # The slope of a root at 0 is infinite.
        statistics = [x.mean(2), jnp.sqrt(x.var(2) + 1e-5)]
        return jnp.concatenate(statistics, -1).reshape(len(x), -1)

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, band, frame, channel]` to `[batch, class]`; `train` turns dropout on."""
        return self.head(self.drop(self.embed(images, train), train))
