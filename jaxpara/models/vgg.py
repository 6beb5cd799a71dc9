"""VGG16, layer for layer and name for name that of torchvision."""

import flax.linen as nn
from jax import Array

from jaxpara.models import ops2d
from jaxpara.models.heads import Classifier, make_head
from jaxpara.models.resnet import he_fan_out

# Features of every 3x3 convolution; None is a max-pooling by 2.
_LAYERS = (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512, None)


class Features(nn.Module):
    """The convolutions, each named by its place in torchvision's `features`."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        place = 0
        for features in _LAYERS:
            if features is None:
                x = ops2d.max_pool(x, 2, 2)
                place += 1
                continue
            x = nn.Conv(
                features,
                (3, 3),
                padding=((1, 1), (1, 1)),
                kernel_init=he_fan_out,
                conv_general_dilated=ops2d.conv,
                name=str(place),
            )(x)
            x = nn.relu(x)
            place += 2
        return x


class VGG16(nn.Module):
    """The 16-layer network of Simonyan and Zisserman.

    Attributes:
      classes: how many logits.
      head: "v1" or "v2" instead of the whole classifier, as the authors did, or "torchvision" (two dense layers of
        4096 before the last).
      head_dropout: of head "v1".

    Reference: Simonyan & Zisserman, ICLR 2015; torchvision.models.vgg; paper §3.1.2.
    """

    classes: int = 2
    head: str = "v2"
    head_dropout: float = 0.6

    def setup(self):
        self.features = Features()
        layers = (("0", 4096), ("3", 4096), ("6", self.classes))
        own = Classifier(
            layers,
            0.5,
            kernel_init=nn.initializers.normal(0.01),
            bias_init=lambda fan_in: nn.initializers.zeros,
        )
        self.classifier = make_head(self.head, self.classes, own, self.head_dropout)

    def embed(self, images: Array, train: bool = False) -> Array:
        """Images `[batch, height, width, channel]` to features `[batch, 25088]`, the input of the head."""
        maps = ops2d.mean_pool_to(self.features(images), 7)
        return maps.transpose(0, 3, 1, 2).reshape(maps.shape[0], -1)  # channels first, as the published weights expect

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Images `[batch, height, width, channel]` to logits `[batch, class]`."""
        return self.classifier(self.embed(images, train), train)
