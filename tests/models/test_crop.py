"""Crops against torchvision on PIL images: geometry for given boxes, distribution of the boxes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ks_2samp
from seeded import drawn

from jaxpara.models import crop

GOLDEN = np.load(Path(__file__).parent / "golden" / "crop.npz")
sample = jax.jit(crop.sample, static_argnums=(1, 2, 3))
crop_resize = jax.jit(crop.crop_resize, static_argnums=2)
resize = jax.jit(crop.resize, static_argnums=1)


def test_crops_match_pil():
    boxes = GOLDEN["boxes"]
    image = drawn("picture", (40, 56)).astype(np.float32)
    images = jnp.broadcast_to(image[None, :, :, None], (len(boxes), 40, 56, 3))
    ours = crop_resize(images, jnp.asarray(boxes), (24, 24))
    for channel in range(3):
        np.testing.assert_allclose(ours[..., channel], GOLDEN["crops"], atol=1e-5)


def test_resize_matches_pil_except_for_its_rounding_to_bytes():
    ours = resize(jnp.asarray(GOLDEN["colour"][None], jnp.float32), (24, 24))
    difference = np.abs(np.asarray(ours[0]) - GOLDEN["squeezed"])
    assert difference.max() <= 1.01  # two roundings by at most a half
    assert difference.mean() < 0.4


def test_constant_image_stays_constant():
    np.testing.assert_allclose(resize(jnp.full((1, 9, 7, 1), 3.0), (5, 4)), np.full((1, 5, 4, 1), 3.0), rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(288, 288), (40, 80), (10, 100)])
def test_boxes_have_the_distribution_of_torchvision(height, width):
    boxes = np.asarray(sample(jax.random.key(0), 20000, height, width))
    assert boxes.min() >= 0
    assert (boxes[:, 0] + boxes[:, 2]).max() <= height
    assert (boxes[:, 1] + boxes[:, 3]).max() <= width
    theirs = GOLDEN[f"boxes_{height}x{width}"].astype(float)
    for quantity in (lambda b: b[:, 0], lambda b: b[:, 1], lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2]):
        assert ks_2samp(quantity(boxes), quantity(theirs)).pvalue > 1e-3


def test_central_crop_where_no_draw_fits():
    boxes = sample(jax.random.key(0), 200, 10, 1000)
    assert np.all(boxes == np.array([0, (1000 - 13) // 2, 10, 13]))
    tall = sample(jax.random.key(0), 200, 1000, 10)
    assert np.all(tall == np.array([(1000 - 13) // 2, 0, 13, 10]))


def test_every_image_has_its_own_box():
    boxes = np.asarray(sample(jax.random.key(3), 64, 288, 288))
    assert len(np.unique(boxes, axis=0)) > 60
