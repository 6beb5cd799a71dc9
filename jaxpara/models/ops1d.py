"""Convolution, ReLU, dropout and pooling along time, without activations stored at full rate more than once.

Max-pooling over ReLU and dropout has a single rule: the winner of a pool is its first greatest element among
those that are kept and above zero. Its index is all that the backward pass needs: the gradient goes to the winner,
and nowhere if there is none (a valid subgradient in every tie: below zero and where dropped, it is zero anyhow).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.models.dropout import dropout, keep


def same_padding(taps: int) -> tuple[int, int]:
    """Zeros before and after a signal with which a convolution keeps its length; even kernels pad one less before."""
    return (taps - 1) // 2, taps // 2


def conv1d(inputs, kernel, bias, padding: tuple[int, int] | None = None):
    """Convolves along time at stride 1.

    Args:
      inputs: `[batch, time, channel]`.
      kernel: `[tap, channel, filter]`.
      bias: `[filter]`.
      padding: zeros before and after; by default those that keep the length.

    Returns:
      `[batch, time, filter]`.
    """
    padding = same_padding(len(kernel)) if padding is None else padding
    return bias + jax.lax.conv_general_dilated(
        inputs, kernel, window_strides=(1,), padding=(padding,), dimension_numbers=("NWC", "WIO", "NWC")
    )


def relu_dropout_mean_pool(inputs, pool: int, seed=None, rate: float = 0.0):
    """Takes the mean of every `pool` steps of dropout(ReLU(inputs)); see `relu_dropout_max_pool`."""
    x = jax.nn.relu(inputs)
    if seed is not None:
        x = dropout(x, seed, rate)
    return _pools(x, pool).mean(axis=1).reshape(_pooled_shape(inputs, pool))


def relu_dropout_max_pool(inputs, pool: int, seed=None, rate: float = 0.0):
    """Takes the maximum of every `pool` steps of dropout(ReLU(inputs)).

    Args:
      inputs: `[batch, time, channel]`, time a multiple of `pool`.
      pool: steps a pool, at most 255.
      seed: uint32 `[2]` that keys the dropout mask, None for no dropout.
      rate: dropout rate.

    Returns:
      `[batch, time / pool, channel]`.
    """
    seed, rate = (_NO_SEED, 0.0) if seed is None else (seed, rate)
    pooled: jax.Array = _max_pool(_pools(inputs, pool), seed, pool, rate)
    return pooled.reshape(_pooled_shape(inputs, pool))


def conv_relu_dropout_max_pool(signal, kernel, bias, pool: int, seed=None, rate: float = 0.0, padding=None):
    """Fuses `conv1d` of one channel with `relu_dropout_max_pool`; the full-rate output is never stored.

    The samples that a pool sees are one row, each phase of the pool a product of some of its columns with the
    kernel. This is done in chunks of rows that stay in the cache; the backward pass needs the winners alone.

    Args:
      signal: `[batch, sample]`; convolved, it is a multiple of `pool` samples.
      kernel: `[tap, filter]`.
      bias: `[filter]`.
      pool: samples a pool, at most 255.
      seed: uint32 `[2]` that keys the dropout mask, None for no dropout.
      rate: dropout rate.
      padding: zeros before and after; by default those that keep the length.

    Returns:
      `[batch, convolved sample / pool, filter]`, that of the plain form with the same mask.
    """
    seed, rate = (_NO_SEED, 0.0) if seed is None else (seed, rate)
    batch, samples = signal.shape
    taps, filters = kernel.shape
    left, right = same_padding(taps) if padding is None else padding
    steps = (left + samples + right - (taps - 1)) // pool
    blocks = 1 + -(-(taps - 1) // pool)  # the outputs of one pool see this many pools of samples
    fill = (steps + blocks - 1) * pool - left - samples  # what is beyond `right` only fills up a row
    padded = jnp.pad(signal, ((0, 0), (left, fill))).reshape(batch, -1, pool)
    rows = jnp.concatenate([padded[:, i : i + steps] for i in range(blocks)], axis=-1)
    rows = rows.reshape(batch * steps, blocks * pool)
    pooled: jax.Array = _rows_max_pool(rows, kernel, bias, seed, pool, rate)
    return pooled.reshape(batch, steps, filters)


def moments(signal, taps: int) -> tuple[jax.Array, jax.Array]:
    """Returns mean `[tap]` and biased covariance `[tap, tap]` of what a kernel of so many taps sees of a signal.

    They tell mean and variance of any convolution of it: those of `conv1d` by a kernel `[tap]` are kernel @ mean and
    kernel @ covariance @ kernel.

    Args:
      signal: `[batch, sample]`, padded as `conv1d` does.
      taps: length of the kernel.
    """
    padded = jnp.pad(signal, ((0, 0), same_padding(taps)))
    seen = jnp.stack([padded[:, tap : tap + signal.shape[1]] for tap in range(taps)]).reshape(taps, -1)
    mean = seen.mean(axis=1)
    # Sums of sums: a filter may cancel nearly all of a signal, and shows what a long sum has rounded away.
    apart = seen - mean[:, None]
    apart = jnp.pad(apart, ((0, 0), (0, -apart.shape[1] % 4096))).reshape(taps, -1, 4096)
    return mean, jnp.einsum("ipn,jpn->pij", apart, apart).sum(axis=0) / seen.shape[1]


_NO_SEED = np.zeros(2, np.uint32)


def _pools(inputs, pool):
    return inputs.reshape(-1, pool, inputs.shape[-1])


def _pooled_shape(inputs, pool):
    return inputs.shape[0], inputs.shape[1] // pool, inputs.shape[2]


def _winners(phases, seed, rate, first_row=0):
    """Returns the greatest of the phases of a pool after ReLU and dropout, and which one it is.

    Args:
      phases: a list of `[row, channel]`, one a step of the pool.
      seed: uint32 `[2]`.
      rate: dropout rate.
      first_row: rows in the chunks before, so that the mask does not depend on the chunks.

    Returns:
      the greatest value and the index of its phase (the number of phases if none is above zero).
    """
    rows, channels = phases[0].shape
    row = jnp.uint32(first_row) + jnp.arange(rows, dtype=jnp.uint32)[:, None]
    best = jnp.zeros((rows, channels), phases[0].dtype)
    winner = jnp.full((rows, channels), len(phases), jnp.uint8)
    for phase, value in enumerate(phases):
        if rate:
            position = (row * len(phases) + phase) * channels + jnp.arange(channels, dtype=jnp.uint32)
            value = jnp.where(keep(seed, position, rate), value, 0)
        winner = jnp.where(value > best, jnp.uint8(phase), winner)
        best = jnp.maximum(best, value)  # and not a second `where`: it hands NaN on
    return best / (1 - rate), winner


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _max_pool(x, seed, pool, rate):
    """Pools x `[row, pool, channel]` over its middle axis, after ReLU and dropout."""
    return _max_pool_forward(x, seed, pool, rate)[0]


def _max_pool_forward(x, seed, pool, rate):
    return _winners([x[:, phase] for phase in range(pool)], seed, rate)


def _max_pool_backward(pool, rate, winner, gradient):
    phases = jnp.arange(pool, dtype=jnp.uint8)[:, None]
    return jnp.where(winner[:, None] == phases, gradient[:, None] / (1 - rate), 0), None


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _rows_max_pool(rows, kernel, bias, seed, pool, rate):
    """Convolves and pools, rows `[row, >= pool + tap - 1]` -> `[row, filter]`."""
    return _rows_max_pool_forward(rows, kernel, bias, seed, pool, rate)[0]


def _rows_max_pool_forward(rows, kernel, bias, seed, pool, rate):
    taps, filters = kernel.shape
    chunks = _chunks(rows)

    def pooled(chunk):
        index, rows = chunk
        phases = [rows[:, phase : phase + taps] @ kernel + bias for phase in range(pool)]
        return _winners(phases, seed, rate, index * rows.shape[0])

    best, winner = jax.lax.map(pooled, (jnp.arange(len(chunks), dtype=jnp.uint32), chunks))
    best, winner = (x.reshape(-1, filters)[: rows.shape[0]] for x in (best, winner))
    return best, (rows, kernel, winner)


def _rows_max_pool_backward(pool, rate, residuals, gradient):
    rows, kernel, winner = residuals
    taps = len(kernel)
    gradient = jnp.where(winner < pool, gradient / (1 - rate), 0)
    chunks = tuple(map(_chunks, (rows, winner, gradient)))

    def add_to_kernel(total, chunk):
        rows, winner, gradient = chunk
        parts = [
            jnp.matmul(
                rows[:, phase : phase + taps].T,
                jnp.where(winner == phase, gradient, 0),
                preferred_element_type=total.dtype,
            )
            for phase in range(pool)
        ]
        return total + sum(parts), None

    def of_rows(chunk):
        rows, winner, gradient = chunk
        total = jnp.zeros_like(rows)
        for phase in range(pool):
            part = jnp.where(winner == phase, gradient, 0) @ kernel.T
            total = total.at[:, phase : phase + taps].add(part)
        return total

    # In float32 at least, as there are many chunks to add up.
    nothing = jnp.zeros(kernel.shape, jnp.promote_types(kernel.dtype, jnp.float32))
    d_kernel, _ = jax.lax.scan(add_to_kernel, nothing, chunks)
    # A loop of its own: where nothing asks for the gradient of the signal, it is dropped as dead code.
    d_rows = jax.lax.map(of_rows, chunks).reshape(-1, rows.shape[1])[: len(rows)]
    return d_rows, d_kernel.astype(kernel.dtype), gradient.sum(axis=0), None


_rows_max_pool.defvjp(_rows_max_pool_forward, _rows_max_pool_backward)


def _chunks(rows):
    """Splits `[row, column]` into `[chunk, row, column]`, the last chunk filled up with zeros.

    The activations of a chunk fit the cache of a CPU; a GPU wants few and large chunks. A program that is exported for
    any number of rows has them all in one.
    """
    count: Any = rows.shape[0]
    size = min(count, 1024 if jax.default_backend() == "cpu" else 65536) if isinstance(count, int) else count
    return jnp.pad(rows, ((0, -count % size), (0, 0))).reshape(-1, size, rows.shape[1])
