"""Weights and images for our networks and their PyTorch twins: every array is seeded by its name."""

import zlib
from collections.abc import Mapping

import numpy as np

# Odd sizes, so that every rounding shows; the last maps of a ResNet are 3 x 2.
_SIZES = {"vgg16": (2, 37, 45), "alexnet": (2, 71, 95)}


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return standard normal values in float64."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32).astype(np.float64)


def image(arch: str) -> np.ndarray:
    """Return images `[batch, height, width, 3]`."""
    return drawn(arch, (*_SIZES.get(arch, (3, 65, 49)), 3))


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return random weights and running statistics by PyTorch name, in PyTorch's layout; activations stay in range."""
    return {name: _weight(name, shape) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = drawn(name, shape)
    if len(shape) > 1:
        return values * np.sqrt(2 / np.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + 0.5 * np.tanh(values)
    if name.endswith("weight"):
        return 0.6 + 0.2 * np.tanh(values)
    return 0.1 * values
