"""Dropout from a counter hash: the mask is a function of (key, position) alone."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class Dropout(nn.Module):
    """Drops each element with probability `rate` and scales the others, when training (rng "dropout")."""

    rate: float

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        """Returns `inputs` of any shape, with dropout if `train`."""
        if not train or self.rate == 0:
            return inputs
        return dropout(inputs, seed_of(self.make_rng("dropout")), self.rate)


def seed_of(key):
    """Condenses a JAX PRNG key to the hash's seed, uint32 `[2]`."""
    return jax.random.bits(key, (2,), jnp.uint32)


def dropout(inputs, seed, rate: float):
    """Sets each element of `inputs` to zero with probability `rate`, and divides the others by `1 - rate`.

    Args:
      inputs: an array of any shape.
      seed: uint32 `[2]`, from `seed_of`.
      rate: probability of a zero, 0 <= rate < 1.
    """
    position = jnp.arange(inputs.size, dtype=jnp.uint32).reshape(inputs.shape)
    return jnp.where(keep(seed, position, rate), inputs / (1 - rate), 0)


def keep(seed, position, rate: float):
    """Draws whether the element at each position is kept.

    On a CPU the default generator (threefry) takes much of a training step. This hash is a handful of operations
    an element that fuse with what surrounds them, and it can draw any piece of a mask by itself.

    Args:
      seed: uint32 `[2]`, from `seed_of`.
      position: uint32 of any shape; equal positions draw equally.
      rate: probability of False.

    Returns:
      bool, of the shape of `position`.

    Reference: "lowbias32" (C. Wellons, *Prospecting for Hash Functions*) of an affine map that the seed sets.
    """
    x = position * (seed[1] | 1) + seed[0]
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    # The last shift of the hash is left out: it changes only the lower half, which decides nothing here.
    return x >= jnp.uint32(round(rate * 2**32))
