"""AlexNet, layer for layer and name for name that of torchvision."""

import flax.linen as nn
from jax import Array

from jaxpara.models import ops2d
from jaxpara.models.heads import Classifier, make_head, torch_bias, torch_kernel

# Place in torchvision's `features`, features, kernel size, stride, pad, whether a max-pooling 3x3/2 follows.
_LAYERS = (
    ("0", 64, 11, 4, 2, True),
    ("3", 192, 5, 1, 2, True),
    ("6", 384, 3, 1, 1, False),
    ("8", 256, 3, 1, 1, False),
    ("10", 256, 3, 1, 1, True),
)


class Features(nn.Module):
    """The convolutions, each named by its place in torchvision's `features`."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for place, features, size, stride, pad, pool in _LAYERS:
            x = nn.Conv(
                features,
                (size, size),
                (stride, stride),
                ((pad, pad), (pad, pad)),
                kernel_init=torch_kernel,
                bias_init=torch_bias(size * size * x.shape[-1]),
                conv_general_dilated=ops2d.conv,
                name=place,
            )(x)
            x = nn.relu(x)
            if pool:
                x = ops2d.max_pool(x, 3, 2)
        return x


class AlexNet(nn.Module):
    """The network of Krizhevsky in its one-column form; pictures of at least 63 x 63.

    Attributes:
      classes: how many logits.
      head: "torchvision" (two dense layers of 4096 before the last), or "v1" or "v2" instead of the whole classifier.
      head_dropout: of head "v1".

    Reference: Krizhevsky, arXiv:1404.5997; torchvision.models.alexnet; paper §3.1.2.
    """

    classes: int = 2
    head: str = "torchvision"
    head_dropout: float = 0.6

    def setup(self):
        self.features = Features()
        layers = (("1", 4096), ("4", 4096), ("6", self.classes))
        own = Classifier(layers, 0.5, dropout_first=True)
        self.classifier = make_head(self.head, self.classes, own, self.head_dropout)

    def embed(self, images: Array, train: bool = False) -> Array:
        """Images `[batch, height, width, channel]` to features `[batch, 9216]`, the input of the head."""
        maps = ops2d.mean_pool_to(self.features(images), 6)
        return maps.transpose(0, 3, 1, 2).reshape(maps.shape[0], -1)  # channels first, as the published weights expect

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Images `[batch, height, width, channel]` to logits `[batch, class]`."""
        return self.classifier(self.embed(images, train), train)
