"""ResNet18, 34, 50 and 101 with torchvision's layers and names."""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax

from jaxpara.errors import UserError
from jaxpara.models import ops2d
from jaxpara.models.heads import make_head
from jaxpara.models.layers import BatchNorm

Norm = Callable[..., nn.Module]
StageFunction = Callable[[Array, bool], Array]
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(features: int, size: int, stride: int = 1, init=he_fan_out, name: str | None = None) -> nn.Conv:
    """Return a square convolution without bias, padded by half its size on every side."""
    pad = size // 2
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        ((pad, pad), (pad, pad)),
        use_bias=False,
        kernel_init=init,
        conv_general_dilated=ops2d.conv,
        name=name,
    )


class StagedNet(nn.Module):
    """A network whose first stages can be frozen.

    Subclasses list their stages in `stages`. A frozen stage gets no gradient, and its BatchNorm uses the running
    statistics in training too.
    """

    frozen: Sequence[str] = ()

    def stages(self) -> dict[str, StageFunction]:
        """Return the stages in order, by their name in `frozen`."""
        raise NotImplementedError

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
        """Map `[batch, height, width, channel]` to maps smaller by `stride`; a bottleneck has `4 * features`."""
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
    """The residual network of He et al., in torchvision's form.

    Attributes:
      blocks: residual blocks in each of the four stages.
      bottleneck: use the blocks of ResNet50 and 101 instead of those of ResNet18 and 34.
      classes: number of logits.
      head: "v1", three dense layers with dropout; "v2" or "torchvision", one dense layer.
      head_dropout: dropout rate of head "v1".
      frozen: stages that are not trained: the first few of "conv1", "bn1", "layer1" ... "layer4".
      axis_name: device axis of synchronised BatchNorm.

    Reference: He et al., CVPR 2016; torchvision.models.resnet; paper §3.1.2.
    """

    blocks: Sequence[int] = (2, 2, 2, 2)
    bottleneck: bool = False
    classes: int = 2
    head: str = "v2"
    head_dropout: float = 0.6
    axis_name: str | None = None

    def setup(self):
        norm = partial(BatchNorm, self.axis_name)
        layer = partial(Layer, bottleneck=self.bottleneck, norm=norm)
        self.conv1, self.bn1 = conv(64, 7, 2), norm()
        self.layer1 = layer(64, self.blocks[0], 1)
        self.layer2 = layer(128, self.blocks[1], 2)
        self.layer3 = layer(256, self.blocks[2], 2)
        self.layer4 = layer(512, self.blocks[3], 2)
        self.fc = make_head(self.head, self.classes, dropout=self.head_dropout)

    def stages(self) -> dict[str, StageFunction]:
        return {
            "conv1": lambda x, train: self.conv1(x),
            "bn1": lambda x, train: ops2d.max_pool(nn.relu(self.bn1(x, train)), 3, 2, pad=1),
            "layer1": self.layer1,
            "layer2": self.layer2,
            "layer3": self.layer3,
            "layer4": self.layer4,
        }

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to logits `[batch, class]`."""
        return self.fc(self.embed(images, train), train)


ResNet18 = partial(ResNet, blocks=(2, 2, 2, 2))
ResNet34 = partial(ResNet, blocks=(3, 4, 6, 3))
ResNet50 = partial(ResNet, blocks=(3, 4, 6, 3), bottleneck=True)
ResNet101 = partial(ResNet, blocks=(3, 4, 23, 3), bottleneck=True)
