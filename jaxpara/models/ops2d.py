"""Convolution and pooling of images: JAX's own, except for two that XLA runs slowly on a CPU.

Why not `lax.conv_general_dilated` alone: where the output is smaller than the kernel (3x3 on maps of 4 x 2), a training
step of ResNet18 on 16 images of 64 x 97 takes 2400 ms with it, 175 ms with `conv_by_patches` (2 cores, November 2026).
Where maps are one row high (the last layer of Breathing 4 on 32 bands), two thirds of a 3x3 kernel meet padding only.
Why not `flax.linen.max_pool`: its gradient (select-and-scatter) makes the same step 5 to 10 % slower; alone, on maps
of 16 x 32 x 49 x 64, it takes 46 ms of CPU time and 49 MiB instead of 2 ms and 17 MiB (JAX 0.10.2 and 0.12, same date).
`python -m benchmarks.forms mask` measures both again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxpara.errors import UserError

Pads = Sequence[tuple[int, int]]


def conv(images: Array, kernel: Array, strides: Sequence[int], padding: Pads, **flax_arguments: Any) -> Array:
    """Convolve images `[batch, height, width, channel]` with a kernel `[row, column, channel, feature]`.

    Pass it to Flax as `flax.linen.Conv(conv_general_dilated=conv)`, which leaves `flax_arguments` at their defaults.
    """
    if jax.default_backend() == "cpu":
        kernel, padding = crop_kernel(images.shape[1:3], kernel, strides, padding)
        if min(output_size(images.shape[1:3], kernel.shape[:2], strides, padding)) < min(kernel.shape[:2]):
            return conv_by_patches(images, kernel, strides, padding)
    return lax.conv_general_dilated(images, kernel, strides, padding, **flax_arguments)


def crop_kernel(image: Sequence[int], kernel: Array, strides: Sequence[int], padding: Pads) -> tuple[Array, Pads]:
    """Return a kernel without its outer rows and columns that meet padding only, and the padding that it needs."""
    output, pads = output_size(image, kernel.shape[:2], strides, padding), []
    for axis, (length, count, stride, (before, after)) in enumerate(zip(image, output, strides, padding, strict=True)):
        size = kernel.shape[axis]
        # In the last window the first rows, and in the first window the last rows, are nearest to the image.
        start, stop = max(0, before - (count - 1) * stride), min(size, before + length)
        kernel = lax.slice_in_dim(kernel, start, stop, axis=axis)
        pads.append((before - start, after - (size - stop)))
    return kernel, pads


def conv_by_patches(images: Array, kernel: Array, strides: Sequence[int], padding: Pads) -> Array:
    """Compute `conv` as one matrix product of the patches under the kernel; cheap for small outputs only."""
    height, width = output_size(images.shape[1:3], kernel.shape[:2], strides, padding)
    rows, columns = (height - 1) * strides[0] + 1, (width - 1) * strides[1] + 1
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    patches = [
        padded[:, i : i + rows : strides[0], j : j + columns : strides[1]]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    ]
    # The patches are in the order of the kernel's rows and columns. Sums are in float32 at least, as in XLA.
    wide = jnp.promote_types(kernel.dtype, jnp.float32)
    weights = kernel.reshape(-1, kernel.shape[-1])
    return jnp.matmul(jnp.concatenate(patches, -1), weights, preferred_element_type=wide).astype(images.dtype)


def output_size(image: Sequence[int], kernel: Sequence[int], strides: Sequence[int], padding: Pads) -> list[int]:
    """Return height and width of the output of a convolution or a pooling, rounded down."""
    return [(n + sum(p) - k) // s + 1 for n, k, s, p in zip(image, kernel, strides, padding, strict=True)]


def max_pool(maps: Array, size: int, stride: int, pad: int = 0) -> Array:
    """Return the largest value of every square window of `[batch, height, width, channel]`, ignoring the padding.

    The gradient goes to the first maximum of a window in reading order, as in PyTorch and XLA.

    Raises:
      UserError: the maps are smaller than a window.
    """
    pads = ((pad, pad), (pad, pad))
    heights = output_size(maps.shape[1:3], (size, size), (stride, stride), pads)
    if min(heights) < 1:
        raise UserError(
            f"maps of {maps.shape[1]} x {maps.shape[2]} are smaller than a pool of {size} x {size}; use larger images"
            " (features.size, examples.size)"
        )
    padded = jnp.pad(maps, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf) if pad else maps
    for axis, count in ((2, heights[1]), (1, heights[0])):
        last = (count - 1) * stride + 1
        shifted = [lax.slice_in_dim(padded, i, i + last, stride, axis) for i in range(size)]
        padded = shifted[0]
        for other in shifted[1:]:
            padded = jnp.where(padded >= other, padded, other)  # `>=` keeps the first of equal values
    return padded


def mean_pool_to(maps: Array, size: int) -> Array:
    """Average maps over a grid of windows that cover them and may overlap, to `[batch, size, size, channel]`.

    Reference: torch.nn.AdaptiveAvgPool2d.
    """
    for axis in (1, 2):
        length = maps.shape[axis]
        if length != size:
            start, end = np.arange(size) * length // size, -(-(np.arange(size) + 1) * length // size)
            inside = (np.arange(length) >= start[:, None]) & (np.arange(length) < end[:, None])
            means = jnp.asarray(inside / (end - start)[:, None], maps.dtype)
            maps = jnp.moveaxis(jnp.tensordot(maps, means, (axis, 1)), -1, axis)
    return maps
