"""AlexNet and VGG16 with torchvision's layers and names."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import flax.linen as nn
from jax import Array

from jaxpara.models import ops2d
from jaxpara.models.layers import Classifier, Initializer, make_head, torch_bias, torch_kernel
from jaxpara.models.resnet import he_fan_out


class ConvLayer(NamedTuple):
    """A convolution with ReLU, and the max-pooling after it."""

    name: str  # of the parameters: the index in torchvision's `features`
    features: int
    size: int = 3
    stride: int = 1
    pad: int = 1
    pool: tuple[int, int] | None = None  # size and stride


ALEXNET = (
    ConvLayer("0", 64, 11, 4, 2, pool=(3, 2)),
    ConvLayer("3", 192, 5, 1, 2, pool=(3, 2)),
    ConvLayer("6", 384),
    ConvLayer("8", 256),
    ConvLayer("10", 256, pool=(3, 2)),
)
VGG = (
    *(ConvLayer("0", 64), ConvLayer("2", 64, pool=(2, 2))),
    *(ConvLayer("5", 128), ConvLayer("7", 128, pool=(2, 2))),
    *(ConvLayer("10", 256), ConvLayer("12", 256), ConvLayer("14", 256, pool=(2, 2))),
    *(ConvLayer("17", 512), ConvLayer("19", 512), ConvLayer("21", 512, pool=(2, 2))),
    *(ConvLayer("24", 512), ConvLayer("26", 512), ConvLayer("28", 512, pool=(2, 2))),
)


class Features(nn.Module):
    """The convolutional part of a network, from images to maps."""

    layers: Sequence[ConvLayer]
    kernel_init: Initializer
    bias_init: Callable[[int], Initializer]  # from fan-in

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = nn.Conv(
                layer.features,
                (layer.size, layer.size),
                layer.stride,
                layer.pad,
                kernel_init=self.kernel_init,
                bias_init=self.bias_init(layer.size**2 * x.shape[-1]),
                conv_general_dilated=ops2d.conv,
                name=layer.name,
            )(x)
            x = nn.relu(x)
            x = ops2d.max_pool(x, *layer.pool) if layer.pool else x
        return x


class ConvNet(nn.Module):
    """Convolutions and a head."""

    classes: int = 2
    head: str = "torchvision"  # the network's own classifier, with two layers of 4096; "v1" or "v2" instead of it
    head_dropout: float = 0.6  # rate of head "v1"

    grid: ClassVar[int]  # the maps are averaged over a grid of this size

    def embed(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to the input of the head, `[batch, feature]`."""
        maps = ops2d.mean_pool_to(self.features(images), self.grid)
        # The published weights of the dense layers expect the maps flattened channels first.
        return maps.transpose(0, 3, 1, 2).reshape(maps.shape[0], -1)

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to logits `[batch, class]`."""
        return self.classifier(self.embed(images, train), train)


class AlexNet(ConvNet):
    """The network of Krizhevsky in its one-column form (9216 features), for images of at least 63 x 63.

    Reference: Krizhevsky, arXiv:1404.5997; torchvision.models.alexnet; paper §3.1.2.
    """

    grid = 6

    def setup(self):
        self.features = Features(ALEXNET, torch_kernel, torch_bias)
        own = Classifier((("1", 4096), ("4", 4096), ("6", self.classes)), 0.5, dropout_first=True)
        self.classifier = make_head(self.head, self.classes, own, self.head_dropout)


class VGG16(ConvNet):
    """The 16-layer network of Simonyan and Zisserman (25088 features); by default with head "v2", as the authors did.

    Reference: Simonyan & Zisserman, ICLR 2015; torchvision.models.vgg; paper §3.1.2.
    """

    head: str = "v2"
    grid = 7

    def setup(self):
        no_bias = lambda fan_in: nn.initializers.zeros  # noqa: E731
        self.features = Features(VGG, he_fan_out, no_bias)
        layers = (("0", 4096), ("3", 4096), ("6", self.classes))
        own = Classifier(layers, 0.5, kernel_init=nn.initializers.normal(0.01), bias_init=no_bias)
        self.classifier = make_head(self.head, self.classes, own, self.head_dropout)
