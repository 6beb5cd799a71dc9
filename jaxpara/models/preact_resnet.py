"""Pre-activation ResNet18 (BatchNorm and ReLU before each convolution): the backbone of Breathing 4 as published."""

from functools import partial

import flax.linen as nn
from jax import Array

from jaxpara.models import ops2d
from jaxpara.models.layers import BatchNorm
from jaxpara.models.resnet import Norm, StagedNet, StageFunction
from jaxpara.models.resnet import conv as he_conv

conv = partial(he_conv, init=nn.initializers.he_uniform())


class Unit(nn.Module):
    """Two pre-activated 3x3 convolutions; maps get smaller by `stride`."""

    features: int
    stride: int
    project: bool
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        y = nn.relu(self.norm(name="bn1")(x, train))
        shortcut = conv(self.features, 1, self.stride, name="sc")(y) if self.project else x
        y = conv(self.features, 3, self.stride, name="conv1")(y)
        y = nn.relu(self.norm(name="bn2")(y, train))
        return shortcut + conv(self.features, 3, name="conv2")(y)


class Stage(nn.Module):
    """Two units; the first one projects its shortcut."""

    features: int
    stride: int
    norm: Norm

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = Unit(self.features, self.stride, True, self.norm, name="unit1")(x, train)
        return Unit(self.features, 1, False, self.norm, name="unit2")(x, train)


class PreActResNet18(StagedNet):
    """The pre-activation ResNet18 of a Keras package. Its inputs are raw values of 0 to 255, and it has no head.

    Attributes:
      frozen: stages that are not trained: the first few of "bn_data", "conv0", "bn0", "stage1" ... "stage4".
      axis_name: device axis of synchronised BatchNorm.

    Reference: the ResNet18 of the Keras package image-classifiers 1.0.0 (names, epsilon 2e-5, momentum 0.99), which
    the authors' published scripts use; He et al., ECCV 2016.
    """

    axis_name: str | None = None

    def setup(self):
        norm = partial(BatchNorm, self.axis_name, 0.99, 2e-5)
        self.bn_data = norm(use_scale=False)
        self.conv0, self.bn0 = conv(64, 7, 2), norm()
        self.stage1, self.stage2 = Stage(64, 1, norm), Stage(128, 2, norm)
        self.stage3, self.stage4 = Stage(256, 2, norm), Stage(512, 2, norm)
        self.bn1 = norm()

    def stages(self) -> dict[str, StageFunction]:
        return {
            "bn_data": self.bn_data,
            "conv0": lambda x, train: self.conv0(x),
            "bn0": lambda x, train: ops2d.max_pool(nn.relu(self.bn0(x, train)), 3, 2, pad=1),
            "stage1": self.stage1,
            "stage2": self.stage2,
            "stage3": self.stage3,
            "stage4": self.stage4,
            "bn1": lambda x, train: nn.relu(self.bn1(x, train)),
        }

    def __call__(self, images: Array, train: bool = False) -> Array:
        """Map images `[batch, height, width, channel]` to pooled features `[batch, 512]`."""
        return self.embed(images, train)
