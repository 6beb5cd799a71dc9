"""Convolution, ReLU, dropout and pooling along time, in forms that never store a full-rate activation twice.

Max-pooling over ReLU and dropout has a single rule: the winner of a pool is its first greatest element among those
that are kept and above zero. Its index is all that the backward pass needs: the gradient goes to the winner, and
nowhere if there is none (a valid subgradient in every tie, since below zero and where dropped it is zero anyhow).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.models.dropout import dropout, keep


def conv1d(inputs, kernel, bias):
    """Convolves along time at stride 1, zero-padded to the same length (an even kernel pads one less on the left).

    Args:
      inputs: `[batch, time, channel]`.
      kernel: `[tap, channel, filter]`.
      bias: `[filter]`.

    Returns:
      `[batch, time, filter]`.
    """
    return bias + jax.lax.conv_general_dilated(
        inputs, kernel, window_strides=(1,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )


def relu_dropout_mean_pool(inputs, pool: int, seed=None, rate: float = 0.0):
    """Takes the mean of every `pool` steps of dropout(ReLU(inputs)); arguments as in `relu_dropout_max_pool`."""
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
    return _max_pool(_pools(inputs, pool), seed, pool, rate).reshape(_pooled_shape(inputs, pool))


def conv_relu_dropout_max_pool(signal, kernel, bias, pool: int, seed=None, rate: float = 0.0):
    """Fuses `conv1d` of one channel with `relu_dropout_max_pool`, so that its full-rate output is never stored.

    Each pool of outputs is the product of the samples that it sees with a Toeplitz matrix of the kernel. This is done
    in chunks of pools that stay in the cache, and what the backward pass needs of them is the winners alone.

    Args:
      signal: `[batch, sample]`, a multiple of `pool` samples.
      kernel: `[tap, filter]`.
      bias: `[filter]`.
      pool: samples a pool, at most 255.
      seed: uint32 `[2]` that keys the dropout mask, None for no dropout.
      rate: dropout rate.

    Returns:
      `[batch, sample / pool, filter]`, that of the plain form with the same mask.
    """
    seed, rate = (_NO_SEED, 0.0) if seed is None else (seed, rate)
    batch, samples = signal.shape
    taps, filters = kernel.shape
    left, steps = (taps - 1) // 2, samples // pool
    blocks = 1 + -(-(taps - 1) // pool)  # the outputs of one pool see this many pools of samples
    padded = jnp.pad(signal, ((0, 0), (left, (blocks - 1) * pool - left))).reshape(batch, -1, pool)
    frames = jnp.concatenate([padded[:, i : i + steps] for i in range(blocks)], axis=-1)
    toeplitz = jnp.stack(
        [jnp.pad(kernel, ((i, blocks * pool - taps - i), (0, 0))) for i in range(pool)], axis=1
    )
    pooled = _frames_max_pool(frames.reshape(-1, blocks * pool), toeplitz, bias, seed, rate)
    return pooled.reshape(batch, steps, filters)


_NO_SEED = np.zeros(2, np.uint32)


def _pools(inputs, pool):
    return inputs.reshape(-1, pool, inputs.shape[-1])


def _pooled_shape(inputs, pool):
    return inputs.shape[0], inputs.shape[1] // pool, inputs.shape[2]


def _winners(x, seed, rate, first_row=0):
    """Returns the maximum over phases of dropout(ReLU(x)), x `[row, phase, channel]`, and the phase that has it.

    `first_row` counts on from the rows of the chunks before, so that the mask does not depend on the chunks.
    """
    rows, pool, channels = x.shape
    row = jnp.uint32(first_row) + jnp.arange(rows, dtype=jnp.uint32)[:, None]
    best = jnp.zeros((rows, channels), x.dtype)
    winner = jnp.full((rows, channels), pool, jnp.uint8)
    for phase in range(pool):
        value = x[:, phase]
        if rate:
            position = (row * pool + phase) * channels + jnp.arange(channels, dtype=jnp.uint32)
            value = jnp.where(keep(seed, position, rate), value, 0)
        winner = jnp.where(value > best, jnp.uint8(phase), winner)
        best = jnp.maximum(best, value)  # and not a second `where`: it hands NaN on
    return best / (1 - rate), winner


def _unpool(winner, gradient, pool, rate):
    """Returns the gradient `[row, phase, channel]`: the pool's at its winner, zero elsewhere."""
    phases = jnp.arange(pool, dtype=jnp.uint8)[:, None]
    return jnp.where(winner[:, None] == phases, gradient[:, None] / (1 - rate), 0)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _max_pool(x, seed, pool, rate):
    return _winners(x, seed, rate)[0]


def _max_pool_forward(x, seed, pool, rate):
    return _winners(x, seed, rate)


def _max_pool_backward(pool, rate, winner, gradient):
    return _unpool(winner, gradient, pool, rate), None


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _frames_max_pool(frames, toeplitz, bias, seed, rate):
    """Convolves and pools, frames `[row, width]`, toeplitz `[width, phase, filter]` -> `[row, filter]`."""
    return _frames_max_pool_forward(frames, toeplitz, bias, seed, rate)[0]


def _frames_max_pool_forward(frames, toeplitz, bias, seed, rate):
    width, pool, filters = toeplitz.shape
    chunks = _chunks(frames)

    def pooled(chunk):
        index, frames = chunk
        x = (frames @ toeplitz.reshape(width, -1)).reshape(-1, pool, filters) + bias
        return _winners(x, seed, rate, index * chunks.shape[1])

    best, winner = jax.lax.map(pooled, (jnp.arange(len(chunks), dtype=jnp.uint32), chunks))
    best, winner = (x.reshape(-1, filters)[: len(frames)] for x in (best, winner))
    return best, (frames, toeplitz, winner)


def _frames_max_pool_backward(rate, residuals, gradient):
    frames, toeplitz, winner = residuals
    width, pool, filters = toeplitz.shape
    chunks = tuple(map(_chunks, (frames, winner, gradient)))

    def weights(total, chunk):
        frames, winner, gradient = chunk
        unpooled = _unpool(winner, gradient, pool, rate).reshape(-1, pool * filters)
        return total + frames.T @ unpooled, None

    def inputs(chunk):
        _, winner, gradient = chunk
        unpooled = _unpool(winner, gradient, pool, rate).reshape(-1, pool * filters)
        return unpooled @ toeplitz.reshape(width, -1).T

    d_toeplitz, _ = jax.lax.scan(weights, jnp.zeros((width, pool * filters), toeplitz.dtype), chunks)
    d_bias = jnp.where(winner < pool, gradient / (1 - rate), 0).sum(axis=0)
    # A loop of its own: where nothing asks for the gradient of the signal, it is dropped as dead code.
    d_frames = jax.lax.map(inputs, chunks).reshape(-1, width)[: len(frames)]
    return d_frames, d_toeplitz.reshape(toeplitz.shape), d_bias, None


_frames_max_pool.defvjp(_frames_max_pool_forward, _frames_max_pool_backward)


def _chunks(rows):
    """Splits `[row, ...]` into `[chunk, row, ...]`, the last one filled up with zeros.

    A chunk's activations fit the second-level cache of a CPU; a GPU wants few and large ones.
    """
    size = 256 if jax.default_backend() == "cpu" else 65536
    size = min(size, len(rows))
    filling = -len(rows) % size
    return jnp.pad(rows, ((0, filling), (0, 0))).reshape(-1, size, rows.shape[1])
