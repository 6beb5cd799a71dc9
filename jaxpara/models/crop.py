"""Random crops and resizing of images on the device, inside the jitted step.

The geometry is that of PIL, and so of torchvision on PIL images: the crop is cut out first and then resized with a
triangle filter that widens with the reduction ("bilinear" with antialiasing). The only difference is that grey values
are not rounded between the two passes. `jax.image.scale_and_translate` is another function: its filter also sees the
pixels around the crop.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array

TRIES = 10
AREA = (0.08, 1.0)  # smallest and largest, as fractions of the image
ASPECT = (3 / 4, 4 / 3)  # smallest and largest width over height


def sample(key: Array, batch: int, height: int, width: int, area: tuple[float, float] = AREA) -> Array:
    """Draw crops of images, int32 `[batch, 4]`: top, left, height and width in pixels.

    Area and logarithm of the aspect ratio are uniform, then the position. The first of ten draws that fits is used; if
    none fits, the largest central crop with an allowed aspect ratio. `area` is the smallest and the largest fraction.

    Reference: torchvision.transforms.RandomResizedCrop.
    """
    key_area, key_ratio, key_top, key_left = jax.random.split(key, 4)
    shape = (batch, TRIES)
    pixels = height * width * jax.random.uniform(key_area, shape, minval=area[0], maxval=area[1])
    logs = (math.log(ASPECT[0]), math.log(ASPECT[1]))
    aspect = jnp.exp(jax.random.uniform(key_ratio, shape, minval=logs[0], maxval=logs[1]))
    widths = jnp.round(jnp.sqrt(pixels * aspect)).astype(jnp.int32)
    heights = jnp.round(jnp.sqrt(pixels / aspect)).astype(jnp.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = jnp.argmax(fits, axis=1)[:, None]
    h = jnp.take_along_axis(heights, first, 1)[:, 0]
    w = jnp.take_along_axis(widths, first, 1)[:, 0]
    top = jax.random.randint(key_top, (batch,), 0, jnp.maximum(height - h, 0) + 1)
    left = jax.random.randint(key_left, (batch,), 0, jnp.maximum(width - w, 0) + 1)
    drawn = jnp.stack([top, left, h, w], axis=1)
    # The largest central crop; at most one of the two sides is cut.
    h, w = min(height, round(width / ASPECT[0])), min(width, round(height * ASPECT[1]))
    central = jnp.array([(height - h) // 2, (width - w) // 2, h, w], jnp.int32)
    return jnp.where(fits.any(1)[:, None], drawn, central)


def crop_resize(images: Array, boxes: Array, size: tuple[int, int]) -> Array:
    """Cut boxes, as `sample` draws them, out of `[batch, height, width, channel]` floats; resize to this height, width.

    Reference: torchvision.transforms.functional.resized_crop with bilinear interpolation, on PIL images.
    """
    boxes = boxes.astype(images.dtype)
    rows = _weights(boxes[:, 0], boxes[:, 2], images.shape[1], size[0])
    columns = _weights(boxes[:, 1], boxes[:, 3], images.shape[2], size[1])
    narrow = jnp.einsum("btw,bhwc->bhtc", columns, images)
    return jnp.einsum("bsh,bhtc->bstc", rows, narrow)


def resize(images: Array, size: tuple[int, int]) -> Array:
    """Resize whole images `[batch, height, width, channel]`, as `crop_resize` does."""
    whole = jnp.array([[0, 0, *images.shape[1:3]]], jnp.int32)
    return crop_resize(images, jnp.broadcast_to(whole, (len(images), 4)), size)


def _weights(start: Array, length: Array, pixels: int, size: int) -> Array:
    """Return the weight of each pixel of an axis in each output, `[batch, size, pixels]`; rows sum to 1."""
    step = (length / size)[:, None, None]
    reach = jnp.maximum(step, 1)  # half the width of the filter: it widens only when the image shrinks
    out = jnp.arange(size)[None, :, None]
    pixel = jnp.arange(pixels)[None, None, :]
    start, end = start[:, None, None], (start + length)[:, None, None]
    centre = start + (out + 0.5) * step
    weights = jnp.maximum(1 - jnp.abs(pixel + 0.5 - centre) / reach, 0)
    weights = jnp.where((pixel >= start) & (pixel < end), weights, 0)
    return weights / weights.sum(-1, keepdims=True)
