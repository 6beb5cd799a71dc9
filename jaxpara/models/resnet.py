"""ResNet18, 34, 50 and 101 with torchvision's layers and names, and the pre-activation ResNet18 of a Keras package."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.models import ops2d
from jaxpara.models.layers import BatchNorm, make_head

Norm = Callable[..., nn.Module]
StageFunction = Callable[[Array, bool], Array]
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(features: int, size: int, stride: int = 1, init=he_fan_out, name: str | None = None) -> nn.Conv:
    """Return a square convolution without bias, padded by half its size on every side."""
    return nn.Conv(
        features,
        (size, size),
        stride,
        size // 2,
        use_bias=False,
        kernel_init=init,
        conv_general_dilated=ops2d.conv,
        name=name,
    )


he_uniform_conv = partial(conv, init=nn.initializers.he_uniform())


class StagedNet(nn.Module):
    """A network of named `stages`, functions of maps and `train`, of which the first few can be frozen.

    A frozen stage gets no gradient, and its BatchNorm uses the running statistics in training too.
    """

    frozen: Sequence[str] = ()  # names of the first few stages, which are not trained

    def prefix(self, images: Array) -> Array:
        """Apply the frozen stages to images `[batch, height, width, channel]`; the identity if none is frozen."""
        stages = self.stages()
        if list(self.frozen) != list(stages)[: len(self.frozen)]:
            raise UserError(
                f"model.frozen is {list(self.frozen)}, expected the first few of {list(stages)}, in this order"
            )
        for name in self.frozen:
            images = stages[name](images, False)
        return lax.stop_gradient(images) if self.frozen else images

    def rest(self, maps: Array, train: bool = False) -> Array:
        """Apply the other stages to the output of `prefix`; average the maps to features `[batch, feature]`."""
        for name, stage in self.stages().items():
            if name not in self.frozen:
                maps = stage(maps, train)
        return jnp.mean(maps, (1, 2))

    def embed(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to the input of the head, `[batch, feature]`."""
        return self.rest(self.prefix(images), train)


class Shortcut(nn.Module):
    """The projection of the input of a block whose output has another size."""

    features: int
    stride: int
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return self.norm(name="1")(conv(self.features, 1, self.stride, name="0")(x), train)


class Block(nn.Module):
    """Two 3x3 convolutions (ResNet18, 34), or 1x1, 3x3, 1x1 around a four times narrower middle (ResNet50, 101)."""

    features: int
    stride: int
    bottleneck: bool
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        f, s = self.features, self.stride
        layers = [(f, 1, 1), (f, 3, s), (4 * f, 1, 1)] if self.bottleneck else [(f, 3, s), (f, 3, 1)]
        y = x
        for i, (features, size, stride) in enumerate(layers, 1):
            y = conv(features, size, stride, name=f"conv{i}")(y)
            y = self.norm(name=f"bn{i}")(y, train)
            if i < len(layers):
                y = nn.relu(y)
        if x.shape != y.shape:
            x = Shortcut(y.shape[-1], s, self.norm, name="downsample")(x, train)
        return nn.relu(x + y)


class Layer(nn.Module):
    """A sequence of blocks; the first one may halve the maps."""

    features: int
    blocks: int
    stride: int
    bottleneck: bool
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i in range(self.blocks):
            stride = self.stride if i == 0 else 1
            x = Block(self.features, stride, self.bottleneck, self.norm, name=str(i))(x, train)
        return x


class ResNet(StagedNet):
    """The residual network in torchvision's form; its stages are "conv1", "bn1", "layer1" ... "layer4".

    Reference: He et al., CVPR 2016; torchvision.models.resnet; paper §3.1.2.
    """

    blocks: Sequence[int] = (2, 2, 2, 2)  # in each of the four layers
    bottleneck: bool = False  # the blocks of ResNet50 and 101 instead of those of ResNet18 and 34
    classes: int = 2
    head: str = "v2"  # or "torchvision", one dense layer; "v1", three dense layers with dropout
    head_dropout: float = 0.6  # rate of head "v1"
    width: int = 64  # channels of the first layer; fewer for small corpora and a random start
    axis_name: str | None = None  # device axis of synchronised BatchNorm

    def setup(self):
        norm, width = partial(BatchNorm, self.axis_name), self.width
        layer = partial(Layer, bottleneck=self.bottleneck, norm=norm)
        self.conv1, self.bn1 = conv(width, 7, 2), norm()
        self.layer1, self.layer2 = layer(width, self.blocks[0], 1), layer(2 * width, self.blocks[1], 2)
        self.layer3, self.layer4 = layer(4 * width, self.blocks[2], 2), layer(8 * width, self.blocks[3], 2)
        self.fc = make_head(self.head, self.classes, dropout=self.head_dropout)

    def stages(self) -> dict[str, StageFunction]:
        return {
            "conv1": lambda x, train: self.conv1(x),
            "bn1": lambda x, train: ops2d.max_pool(nn.relu(self.bn1(x, train)), 3, 2, pad=1),
            **{f"layer{i}": getattr(self, f"layer{i}") for i in range(1, 5)},
        }

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to logits `[batch, class]`."""
        return self.fc(self.embed(images, train), train)


ResNet18 = partial(ResNet, blocks=(2, 2, 2, 2))
ResNet34 = partial(ResNet, blocks=(3, 4, 6, 3))
ResNet50 = partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True)
ResNet101 = partial(ResNet, blocks=(3, 4, 23, 3), bottleneck=True)


class PreActBlock(nn.Module):
    """BatchNorm, ReLU and a 3x3 convolution, twice; maps get smaller by `stride`."""

    features: int
    stride: int
    project: bool  # the shortcut is a convolution instead of the identity
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        y = nn.relu(self.norm(name="bn1")(x, train))
        shortcut = he_uniform_conv(self.features, 1, self.stride, name="sc")(y) if self.project else x
        y = he_uniform_conv(self.features, 3, self.stride, name="conv1")(y)
        y = nn.relu(self.norm(name="bn2")(y, train))
        return shortcut + he_uniform_conv(self.features, 3, name="conv2")(y)


class PreActLayer(nn.Module):
    """Two blocks; the first one projects its shortcut."""

    features: int
    stride: int
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = PreActBlock(self.features, self.stride, True, self.norm, name="unit1")(x, train)
        return PreActBlock(self.features, 1, False, self.norm, name="unit2")(x, train)


class PreActResNet18(StagedNet):
    """The backbone of Breathing 4 as published, without a head, for raw values of 0 to 255.

    Reference: the ResNet18 of the Keras package image-classifiers 1.0.0 (names, epsilon 2e-5, momentum 0.99), which
    the authors' published scripts use; He et al., ECCV 2016.
    """

    axis_name: str | None = None

    def setup(self):
        norm = partial(BatchNorm, self.axis_name, 0.99, 2e-5)
        self.bn_data, self.bn0, self.bn1 = norm(use_scale=False), norm(), norm()
        self.conv0 = he_uniform_conv(64, 7, 2)
        self.stage1, self.stage2 = PreActLayer(64, 1, norm), PreActLayer(128, 2, norm)
        self.stage3, self.stage4 = PreActLayer(256, 2, norm), PreActLayer(512, 2, norm)

    def stages(self) -> dict[str, StageFunction]:
        return {
            "bn_data": self.bn_data,
            "conv0": lambda x, train: self.conv0(x),
            "bn0": lambda x, train: ops2d.max_pool(nn.relu(self.bn0(x, train)), 3, 2, pad=1),
            **{f"stage{i}": getattr(self, f"stage{i}") for i in range(1, 5)},
            "bn1": lambda x, train: nn.relu(self.bn1(x, train)),
        }

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to pooled features `[batch, 512]`."""
        return self.embed(images, train)
