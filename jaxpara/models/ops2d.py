"""Convolution and max-pooling of pictures, in the form that the back end at hand runs fast.

The functions compute what `jax.lax.conv_general_dilated` and `flax.linen.max_pool` compute. They differ only on the
CPU, where XLA takes slow paths that the networks of this project would live on: filter gradients (2 to 5 times slower
than one matrix product), convolutions whose output is smaller than their kernel (100 times slower), few input
channels at stride 2, and the gradient of `reduce_window`.
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

Pads = tuple[tuple[int, int], tuple[int, int]]
_NHWC = ("NHWC", "HWIO", "NHWC")
_NONE: Pads = ((0, 0), (0, 0))


def conv(images: Array, kernel: Array, strides: Sequence[int], padding: Any, **flax_arguments: Any) -> Array:
    """Convolves pictures; goes into `flax.linen.Conv(conv_general_dilated=conv)`.

    Args:
      images: `[batch, height, width, channel]`.
      kernel: `[rows, columns, channel, feature]`.
      strides: along height and width.
      padding: pairs (before, after) along height and width.
      **flax_arguments: what flax passes besides; used as they are off the CPU and must be the defaults on it.

    Returns:
      Maps `[batch, height, width, feature]`.
    """
    if jax.default_backend() != "cpu":
        return lax.conv_general_dilated(images, kernel, strides, padding, **flax_arguments)
    down, right = padding
    return conv_on_cpu(images, kernel, (strides[0], strides[1]), (tuple(down), tuple(right)))


def conv_on_cpu(images: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    """The form of `conv` for the CPU: chosen by the shapes alone."""
    size = kernel.shape[:2]
    if strides == (2, 2) and size[0] == size[1] == 7 and images.shape[-1] <= 4:
        images, kernel, pads = space_to_depth(images, kernel, pads)
        strides, size = (1, 1), (4, 4)
    if min(output_size(images.shape[1:3], size, strides, pads)) < min(size):
        return _as_products(images, kernel, strides, pads)
    return _conv(images, kernel, strides, pads)


def output_size(image: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Pads) -> list[int]:
    """Height and width of the output of a convolution or a pooling, rounded down."""
    return [(n + sum(p) - k) // s + 1 for n, k, s, p in zip(image, kernel, strides, pads, strict=True)]


def _pad(images: Array, pads: Pads) -> Array:
    return jnp.pad(images, ((0, 0), *pads, (0, 0)))


def _rows(padded: Array, size: Sequence[int], strides: Sequence[int]) -> list[Array]:
    """What each row of a kernel sees under every output point: `[batch, height, width, columns * channel]` each."""
    height, width = output_size(padded.shape[1:3], size, strides, _NONE)
    down, right = (height - 1) * strides[0] + 1, (width - 1) * strides[1] + 1
    seen = jnp.concatenate([padded[:, :, j : j + right : strides[1]] for j in range(size[1])], axis=-1)
    return [seen[:, i : i + down : strides[0]] for i in range(size[0])]


def _as_products(images: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    rows = _rows(_pad(images, pads), kernel.shape[:2], strides)
    product = partial(jnp.matmul, preferred_element_type=jnp.promote_types(kernel.dtype, jnp.float32))
    products = [product(row, taps.reshape(-1, kernel.shape[-1])) for row, taps in zip(rows, kernel, strict=True)]
    return reduce(jnp.add, products).astype(images.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(images: Array, kernel: Array, strides: tuple[int, int], pads: Pads) -> Array:
    """XLA's convolution of what was padded before, and its gradients as convolution and as matrix products."""
    return lax.conv_general_dilated(_pad(images, pads), kernel, strides, _NONE, dimension_numbers=_NHWC)


def _conv_forward(images, kernel, strides, pads):
    return _conv(images, kernel, strides, pads), (images, kernel)


def _conv_backward(strides, pads, saved, gradient):
    images, kernel = saved
    size = kernel.shape[:2]
    if strides == (1, 1):
        turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
        (top, bottom), (left, right) = pads
        back = ((size[0] - 1 - top, size[0] - 1 - bottom), (size[1] - 1 - left, size[1] - 1 - right))
        to_images = _conv(gradient, turned, strides, back)
    else:
        plain = partial(lax.conv_general_dilated, dimension_numbers=_NHWC)
        (to_images,) = jax.linear_transpose(lambda x: plain(x, kernel, strides, pads), images)(gradient)
    rows = _rows(_pad(images, pads), size, strides)
    # The gradient on the left, because the left one is transposed in memory: once, and not the rows every time.
    to_kernel = jnp.stack([jnp.einsum("bhwo,bhwi->oi", gradient, row) for row in rows])
    return to_images, to_kernel.transpose(0, 2, 1).reshape(kernel.shape)


_conv.defvjp(_conv_forward, _conv_backward)


def space_to_depth(images: Array, kernel: Array, pads: Pads) -> tuple[Array, Array, Pads]:
    """Turns a 7x7 convolution at stride 2 into the same 4x4 convolution at stride 1 over four times the channels.

    Returns:
      Images `[batch, ~height / 2, ~width / 2, 4 * channel]`, kernel `[4, 4, 4 * channel, feature]`, pads (none).
    """
    channels, features = kernel.shape[2:]
    height, width = output_size(images.shape[1:3], (7, 7), (2, 2), pads)
    rows, columns = height + 3, width + 3
    # Pads (or cuts) at the far ends so that exactly the pixels that an output sees are left, and one of zero weight.
    ends = [
        2 * n - size - before for n, size, (before, _) in zip((rows, columns), images.shape[1:3], pads, strict=True)
    ]
    zero = jnp.zeros((), images.dtype)
    config = [(0, 0, 0), (pads[0][0], ends[0], 0), (pads[1][0], ends[1], 0), (0, 0, 0)]
    padded = lax.pad(images, zero, config).reshape(-1, rows, 2, columns, 2, channels)
    folded = padded.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows, columns, 4 * channels)
    even = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))).reshape(4, 2, 4, 2, channels, features)
    return folded, even.transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, 4 * channels, features), _NONE


def max_pool(maps: Array, size: int, stride: int, pad: int = 0) -> Array:
    """Largest value of every square window; padding never wins.

    Separable, from comparisons alone: the gradient goes to the first maximum of a window in reading order, as in
    PyTorch and XLA.

    Args:
      maps: `[batch, height, width, channel]`.
      size: rows and columns of a window.
      stride: step between windows.
      pad: points added on every side.

    Returns:
      `[batch, height, width, channel]`, sizes rounded down.
    """
    pads = ((pad, pad), (pad, pad))
    heights = output_size(maps.shape[1:3], (size, size), (stride, stride), pads)
    padded = jnp.pad(maps, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf) if pad else maps
    for axis, count in ((2, heights[1]), (1, heights[0])):
        last = (count - 1) * stride + 1
        shifted = [lax.slice_in_dim(padded, i, i + last, stride, axis) for i in range(size)]
        padded = shifted[0]
        for other in shifted[1:]:
            padded = jnp.where(padded >= other, padded, other)
    return padded


def mean_pool_to(maps: Array, size: int) -> Array:
    """Means over a grid of `size` x `size` windows that cover the maps and may overlap.

    Args:
      maps: `[batch, height, width, channel]`.
      size: rows and columns of the result.

    Returns:
      `[batch, size, size, channel]`.

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
