"""Networks of ours with the weights of `seeded.py`, for the tests that compare with the goldens."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from seeded import drawn, weights

from jaxpara.models.pretrained import torch_name

HERE = Path(__file__).parent
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


def golden(arch):
    return np.load(HERE / f"{arch}.npz")


def seeded_variables(net, images, dtype):
    """Return variables of `net` with the weights that `make_2d.py` gave its PyTorch twin."""
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.asarray(images, dtype))

    def draw(path, leaf):
        name = torch_name(tuple(key.key for key in path))
        axes = _TO_TORCH[len(leaf.shape)]
        values = weights({name: tuple(leaf.shape[i] for i in axes)})[name]
        return jnp.asarray(values.transpose(np.argsort(axes)), dtype)

    return jax.tree_util.tree_map_with_path(draw, variables)


def fingerprints(tree):
    """Return one number for every variable, in the order of their PyTorch names, as `make_2d.py` does."""
    numbers = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = torch_name(tuple(key.key for key in path))
        axes = _TO_TORCH[leaf.ndim]
        values = np.asarray(leaf, np.float64).transpose(axes)
        numbers[name] = float((values * drawn(name + "?", values.shape)).sum())
    return np.array([numbers[name] for name in sorted(numbers)])


def relative(ours, theirs):
    """Return the largest difference over the largest value."""
    return float(np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max())
