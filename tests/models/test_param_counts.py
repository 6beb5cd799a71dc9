"""The number of parameters of every image network."""

import jax
import jax.numpy as jnp
import pytest

from jaxpara.models.convnets import VGG16, AlexNet
from jaxpara.models.resnet import PreActResNet18, ResNet18, ResNet34, ResNet50, ResNet101


def shapes(net, channels=3):
    """Return the variables of `net` as shapes, without computing anything."""
    return jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 224, 224, channels)))


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (ResNet18(head="v1"), 11_311_986),  # the authors' ResNet18v1
        (ResNet18(head="v2"), 11_177_538),  # the authors' ResNet18v2
        # The published sizes of torchvision's networks with the 1000 classes of ImageNet.
        (ResNet18(classes=1000), 11_689_512),
        (ResNet34(classes=1000), 21_797_672),
        (ResNet50(classes=1000), 25_557_032),
        (ResNet101(classes=1000), 44_549_160),
        (VGG16(classes=1000, head="torchvision"), 138_357_544),
        (AlexNet(classes=1000, head="torchvision"), 61_100_840),
        # Torchvision's features and the authors' heads.
        (VGG16(head="v1"), 14_714_688 + 25088 * 256 + 256 + 256 * 16 + 16 + 16 * 2 + 2),
        (VGG16(head="v2"), 14_714_688 + 25088 * 2 + 2),
    ],
)
def test_parameters(net, expected):
    assert count(shapes(net)["params"]) == expected


def test_preactivation_resnet18():
    variables = shapes(PreActResNet18())
    # Keras counts the running statistics too; those of the first BatchNorm (3 channels) are among them.
    assert count(variables) == 11_186_889
    assert count(variables["params"]) == 11_178_947


def test_embedding_sizes():
    def size(net):
        variables = shapes(net)
        images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
        return jax.eval_shape(lambda v, x: net.apply(v, x, method="embed"), variables, images).shape

    sizes = [size(net) for net in (ResNet18(), ResNet50(), VGG16(), AlexNet(), PreActResNet18())]
    assert sizes == [(2, 512), (2, 2048), (2, 25088), (2, 9216), (2, 512)]
