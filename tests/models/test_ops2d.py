"""The CPU forms of convolution and pooling against the plain ones: values and gradients, in float64."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxpara.errors import UserError
from jaxpara.models import ops2d

NHWC = ("NHWC", "HWIO", "NHWC")
plain_conv = partial(lax.conv_general_dilated, dimension_numbers=NHWC)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def values_and_gradients(function, *arguments):
    """Return a function's result, and the gradients of its sum with fixed random weights."""

    def loss(*arguments):
        result = function(*arguments)
        return (result * normal(9, result.shape)).sum(), result

    grads = tuple(range(len(arguments)))
    (_, result), gradients = jax.jit(jax.value_and_grad(loss, grads, has_aux=True))(*arguments)
    return result, *gradients


@pytest.mark.parametrize(
    ("height", "width", "channels", "size", "stride", "pad"),
    [
        (9, 8, 5, 3, 1, 1),  # the plain form
        (4, 2, 5, 3, 1, 1),  # outputs smaller than the kernel, by patches
        (3, 4, 5, 3, 2, 1),
        (1, 1, 5, 3, 1, 1),
        (1, 9, 5, 3, 1, 1),  # outer rows or columns of the kernel meet padding only
        (2, 8, 5, 3, 2, 1),
        (9, 2, 5, 5, 2, 2),
        (5, 6, 3, 7, 2, 3),
        (1, 2, 3, 7, 2, 3),
        (13, 18, 3, 5, 4, 2),  # rows and columns at the end that no window reaches
    ],
)
def test_conv(height, width, channels, size, stride, pad):
    images = normal(0, (2, height, width, channels))
    kernel = normal(1, (size, size, channels, 4))
    settings = ((stride, stride), ((pad, pad), (pad, pad)))
    plain = values_and_gradients(lambda x, k: plain_conv(x, k, *settings), images, kernel)
    chosen = partial(ops2d.conv, dimension_numbers=NHWC)
    for function in (chosen, ops2d.conv_by_patches):
        ours = values_and_gradients(lambda x, k, function=function: function(x, k, *settings), images, kernel)
        for mine, theirs in zip(ours, plain, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("image", "size", "stride", "pad", "rows", "columns"),
    [
        ((1, 9), 3, 1, 1, [1], [0, 1, 2]),
        ((2, 8), 3, 2, 1, [1, 2], [0, 1, 2]),
        ((9, 2), 5, 2, 2, [0, 1, 2, 3, 4], [2, 3]),
        ((1, 9), 3, 1, 2, [0, 1, 2], [0, 1, 2]),  # three rows of output: each row of the kernel meets the image in one
    ],
)
def test_kernel_loses_rows_and_columns_that_meet_padding_only(image, size, stride, pad, rows, columns):
    kernel = normal(0, (size, size, 5, 4))
    cropped, _ = ops2d.crop_kernel(image, kernel, (stride, stride), ((pad, pad), (pad, pad)))
    np.testing.assert_array_equal(cropped, kernel[np.ix_(rows, columns)])


@pytest.mark.parametrize(("size", "stride", "pad"), [(3, 2, 1), (3, 2, 0), (2, 2, 0)])
@pytest.mark.parametrize(("height", "width"), [(7, 8), (8, 7), (3, 3)])
def test_max_pool(size, stride, pad, height, width):
    # After a ReLU whole windows are equal: where the gradient then goes is part of the comparison.
    images = jnp.round(nn.relu(normal(0, (2, height, width, 3))))
    ours = values_and_gradients(lambda x: ops2d.max_pool(x, size, stride, pad), images)
    plain = values_and_gradients(
        lambda x: nn.max_pool(x, (size, size), (stride, stride), ((pad, pad), (pad, pad))), images
    )
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_maps_smaller_than_a_pool_are_refused():
    with pytest.raises(UserError, match=r"^maps of 7 x 1 are smaller than a pool of 2 x 2; use larger images"):
        ops2d.max_pool(normal(0, (2, 7, 1, 3)), 2, 2)


@pytest.mark.parametrize("length", [1, 2, 6, 7, 13, 14, 15])
def test_mean_pool(length):
    maps = normal(0, (1, length, 3, 2))
    ours = ops2d.mean_pool_to(maps, 7)
    for i in range(7):
        for j in range(7):
            rows = slice(i * length // 7, -(-(i + 1) * length // 7))
            columns = slice(j * 3 // 7, -(-(j + 1) * 3 // 7))
            np.testing.assert_allclose(ours[:, i, j], maps[:, rows, columns].mean((1, 2)), rtol=1e-12)


def test_flax_calls_it():
    layer = nn.Conv(4, (3, 3), (2, 2), ((1, 1), (1, 1)), conv_general_dilated=ops2d.conv, param_dtype=float)
    plain = nn.Conv(4, (3, 3), (2, 2), ((1, 1), (1, 1)), param_dtype=float)
    images = normal(0, (2, 9, 9, 3))
    variables = plain.init(jax.random.key(0), images)
    np.testing.assert_allclose(layer.apply(variables, images), plain.apply(variables, images), rtol=1e-12)
