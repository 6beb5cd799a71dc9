"""Convolution, ReLU, dropout and pooling along time, without storing activations at the full sample rate.

The winner of a max-pool over ReLU and dropout is the first of the largest elements that are kept and positive. The
backward pass needs only its index: the whole gradient goes to the winner; a pool without a winner has none. That is a
valid subgradient in every tie, because the gradient of a dropped or negative element is zero.

Why not `nn.Conv`, `nn.Dropout` and `nn.max_pool`: a training step of Breathing 2 on 4 x 16 s takes 1398 ms and 8.7 GiB
with them, 679 ms and 1.1 GiB with these (JAX 0.10.2, 2 cores, November 2026; on 0.12 1362 ms and 14 GiB, 675 ms and
1.0 GiB). `python -m benchmarks.forms breathing2` measures them again.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpara.models.layers import dropout, is_kept, with_gradient

_NO_SEED = np.zeros(2, np.uint32)


def same_padding(taps: int) -> tuple[int, int]:
    """Return how many zeros before and after a signal keep its length; for even kernels one less before."""
    return (taps - 1) // 2, taps // 2


def conv1d(inputs, kernel, bias, padding: tuple[int, int] | None = None):
    """Convolve `[batch, time, channel]` with a kernel `[tap, channel, filter]`; by default the length is kept."""
    padding = same_padding(len(kernel)) if padding is None else padding
    return bias + jax.lax.conv_general_dilated(
        inputs, kernel, window_strides=(1,), padding=(padding,), dimension_numbers=("NWC", "WIO", "NWC")
    )


def relu_dropout_mean_pool(inputs, pool: int, seed=None, rate: float = 0.0):
    """Return the mean of every `pool` steps of dropout(ReLU(inputs)); arguments as in `relu_dropout_max_pool`."""
    x = jax.nn.relu(inputs)
    x = x if seed is None else dropout(x, seed, rate)
    return x.reshape(x.shape[0], -1, pool, x.shape[2]).mean(axis=2)


def relu_dropout_max_pool(inputs, pool: int, seed=None, rate: float = 0.0):
    """Return the maximum of every `pool` steps of dropout(ReLU(inputs)), `[batch, time, channel]`.

    `seed`, uint32 `[2]`, is that of the dropout mask; None for no dropout.
    """
    seed, rate = (_NO_SEED, 0.0) if seed is None else (seed, rate)
    batch, time, channels = inputs.shape
    pooled = _max_pool(inputs.reshape(-1, pool, channels), seed, pool, rate)
    return pooled.reshape(batch, time // pool, channels)


def conv_relu_dropout_max_pool(signal, kernel, bias, pool: int, seed=None, rate: float = 0.0, padding=None):
    """Compute `conv1d` and `relu_dropout_max_pool` of `[batch, sample]`, without storing the convolution.

    The kernel is `[tap, filter]`; convolved, the signal has a multiple of `pool` samples. A row contains the samples
    under the kernel during one pool; each step ("phase") of the pool is the product of some of the row's columns with
    the kernel. Chunks of rows stay in the cache; the backward pass needs the winners only.
    """
    seed, rate = (_NO_SEED, 0.0) if seed is None else (seed, rate)
    batch, samples = signal.shape
    taps, filters = kernel.shape
    left, right = same_padding(taps) if padding is None else padding
    steps = (left + samples + right - (taps - 1)) // pool
    blocks = 1 + -(-(taps - 1) // pool)  # the kernel sees this many pools of samples during one pool
    fill = (steps + blocks - 1) * pool - left - samples  # zeros beyond `right` only complete the last row
    padded = jnp.pad(signal, ((0, 0), (left, fill))).reshape(batch, -1, pool)
    rows = jnp.concatenate([padded[:, i : i + steps] for i in range(blocks)], axis=-1)
    rows = rows.reshape(batch * steps, blocks * pool)
    pooled = _rows_max_pool(rows, kernel, bias, seed, pool, rate)
    return pooled.reshape(batch, steps, filters)


def _winners(phases, seed, rate, first_row=0):
    """Return the largest of the phases `[row, channel]` of a pool after ReLU and dropout, and its index.

    The index is the number of phases where none is positive. `first_row` is the number of rows in earlier chunks.
    """
    rows, channels = phases[0].shape
    row = jnp.uint32(first_row) + jnp.arange(rows, dtype=jnp.uint32)[:, None]
    best = jnp.zeros((rows, channels), phases[0].dtype)
    winner = jnp.full((rows, channels), len(phases), np.min_scalar_type(len(phases)))  # 8 bits up to 255 phases
    for phase, value in enumerate(phases):
        if rate:
            position = (row * len(phases) + phase) * channels + jnp.arange(channels, dtype=jnp.uint32)
            value = jnp.where(is_kept(seed, position, rate), value, 0)
        # `best` starts at 0, which is the ReLU; `>` keeps the first of equal values.
        winner = jnp.where(value > best, phase, winner)
        best = jnp.maximum(best, value)  # unlike a second `where`, this propagates NaN
    return best / (1 - rate), winner


def _max_pool_forward(x, seed, pool, rate):
    """Pool x `[row, pool, channel]` over its middle axis after ReLU and dropout."""
    return _winners([x[:, phase] for phase in range(pool)], seed, rate)


def _max_pool_backward(pool, rate, winner, gradient):
    # The gradient of a pool goes to its winner, scaled as dropout scaled the value. Without a winner the index is
    # `pool`, which no phase equals.
    phases = jnp.arange(pool, dtype=winner.dtype)[:, None]
    return jnp.where(winner[:, None] == phases, gradient[:, None] / (1 - rate), 0), None


_max_pool = with_gradient(_max_pool_forward, _max_pool_backward, 2, 3)


def _rows_max_pool_forward(rows, kernel, bias, seed, pool, rate):
    """Convolve and pool rows `[row, >= pool + tap - 1]` to `[row, filter]`."""
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
    # The bias gets the gradient of every pool with a winner; kernel and rows get it phase by phase.
    gradient = jnp.where(winner < pool, gradient / (1 - rate), 0)
    chunks = tuple(map(_chunks, (rows, winner, gradient)))

    def add_to_kernel(total, chunk):
        rows, winner, gradient = chunk
        # A phase is rows[:, phase : phase + taps] @ kernel: its gradient with respect to the kernel, where it won.
        parts = [
            jnp.matmul(
                rows[:, phase : phase + taps].T,
                jnp.where(winner == phase, gradient, 0),
                preferred_element_type=total.dtype,
            )
            for phase in range(pool)
        ]
        return total + sum(parts), None

    def d_rows_of(chunk):
        rows, winner, gradient = chunk
        total = jnp.zeros_like(rows)
        # Its gradient with respect to the rows; the columns of neighbouring phases overlap.
        for phase in range(pool):
            part = jnp.where(winner == phase, gradient, 0) @ kernel.T
            total = total.at[:, phase : phase + taps].add(part)
        return total

    # In float32 at least, because many chunks are added.
    zero = jnp.zeros(kernel.shape, jnp.promote_types(kernel.dtype, jnp.float32))
    d_kernel, _ = jax.lax.scan(add_to_kernel, zero, chunks)
    # In a separate loop, which XLA removes as dead code where the gradient of the signal is not needed.
    d_rows = jax.lax.map(d_rows_of, chunks).reshape(-1, rows.shape[1])[: len(rows)]
    return d_rows, d_kernel.astype(kernel.dtype), gradient.sum(axis=0), None


_rows_max_pool = with_gradient(_rows_max_pool_forward, _rows_max_pool_backward, 4, 5)


def _chunks(rows):
    """Split `[row, column]` into `[chunk, row, column]`, the last chunk padded with zeros."""
    count: Any = rows.shape[0]
    # The activations of a chunk fit into the cache of a CPU; a GPU is faster with few, large chunks. In a program
    # exported for any number of rows, their count is no int; it has one chunk.
    size = min(count, 1024 if jax.default_backend() == "cpu" else 65536) if isinstance(count, int) else count
    return jnp.pad(rows, ((0, -count % size), (0, 0))).reshape(-1, size, rows.shape[1])
