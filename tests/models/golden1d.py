"""Reproducible weights and inputs for the 1D golden arrays and their tests, so that none has to be stored."""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = Path(__file__).parent / "golden"
SCALES = {"kernel": 0.3, "recurrent_kernel": 0.3, "bias": 0.2, "scale": 0.2, "mean": 0.2, "var": 0.2}


def fixed(name, shape, scale):
    """Return normal float64 numbers that depend only on the name (NumPy guarantees RandomState never to change)."""
    return scale * np.random.RandomState(zlib.crc32(name.encode())).normal(size=shape)


def fixed_weight(name, shape):
    """Return a weight by its path ("conv/kernel"): BatchNorm scales and variances around 1, the rest around 0.

    Kernels shrink with their fan-in, so that activations stay of the order of 1 in a deep network.
    """
    kind = name.rsplit("/")[-1]
    if kind == "kernel":
        return fixed(name, shape, 1.5 / np.sqrt(np.prod(shape[:-1])))
    value = fixed(name, shape, SCALES[kind])
    return np.exp(value) if kind in ("scale", "var") else value


def path_name(path):
    return "/".join(key.key for key in path)


def fixed_like(shapes):
    """Fill a tree of shapes with `fixed_weight`s."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: fixed_weight(path_name(path), leaf.shape), shapes)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def summary(array):
    """Return a few dozen numbers that identify an array: Euclidean norm, mean, and every n-th element."""
    flat = np.asarray(array, np.float64).ravel()
    return np.concatenate([[np.linalg.norm(flat), flat.mean()], flat[:: max(1, flat.size // 40)]])


def check_summaries(golden, prefix, tree, rtol=1e-8):
    """Compare every leaf of a tree with the summary that the golden file has under `prefix/path`."""
    leaves = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    assert {f"{prefix}/{name}" for name in leaves} == {name for name in golden if name.startswith(prefix + "/")}
    for name, leaf in leaves.items():
        expected = golden[f"{prefix}/{name}"]
        np.testing.assert_allclose(
            summary(leaf), expected, rtol=0, atol=rtol * max(abs(expected).max(), 1e-6), err_msg=name
        )


def check_gradients(golden, gradients, rtol=1e-8):
    """Compare gradients with the golden ones, relative to the largest number of each summary."""
    check_summaries(golden, "gradient", gradients, rtol)


def one_minus_pearson(outputs, target):
    """Return the loss of the gradient tests: the mean of 1 - r of every window `[batch, label]`, without eps."""
    outputs = outputs - outputs.mean(1, keepdims=True)
    target = target - target.mean(1, keepdims=True)
    norms = jnp.linalg.norm(outputs, axis=1) * jnp.linalg.norm(target, axis=1)
    return (1 - (outputs * target).sum(1) / norms).mean()
