"""Long short-term memory and gated recurrent unit, fast on a CPU and on a GPU alike."""

import jax
import jax.numpy as jnp
from flax import linen as nn

glorot = nn.initializers.glorot_uniform()
orthogonal = nn.initializers.orthogonal()


class LSTM(nn.Module):
    """One LSTM layer over time, gates in the order input, forget, candidate, output.

    Reference: Keras `LSTM` defaults (glorot uniform and orthogonal kernels, forget bias 1, one bias).
    """

    features: int

    @nn.compact
    def __call__(self, inputs, carry=None):
        """Runs the layer over a whole sequence, or over the next part of one.

        Args:
          inputs: `[batch, time, channel]`.
          carry: the state to go on from, as returned by the call before; zeros if None.

        Returns:
          outputs `[batch, time, features]` and the carry, a pair (hidden, cell) of `[batch, features]`.
        """
        size = self.features
        kernel = self.param("kernel", glorot, (inputs.shape[-1], 4 * size))
        recurrent = self.param("recurrent_kernel", orthogonal, (size, 4 * size))
        bias = self.param("bias", _forget_bias, (4 * size,))
        # All input projections are one product: only the recurrent one has to wait for its step.
        projected = inputs @ kernel + bias
        if carry is None:
            carry = (jnp.zeros((len(inputs), size), projected.dtype),) * 2
        outputs, carry = lstm_scan(jnp.swapaxes(projected, 0, 1), recurrent, carry)
        return jnp.swapaxes(outputs, 0, 1), carry


class GRU(nn.Module):
    """One GRU layer over time, gates in the order update, reset, candidate.

    Reference: Keras `GRU` defaults (`reset_after`, two biases, glorot uniform and orthogonal kernels), which is the
    form of cuDNN and PyTorch too.
    """

    features: int

    @nn.compact
    def __call__(self, inputs, carry=None):
        """Runs the layer over a whole sequence, or over the next part of one.

        Args:
          inputs: `[batch, time, channel]`.
          carry: the state to go on from, as returned by the call before; zeros if None.

        Returns:
          outputs `[batch, time, features]` and the carry, the hidden state `[batch, features]`.
        """
        size = self.features
        kernel = self.param("kernel", glorot, (inputs.shape[-1], 3 * size))
        recurrent = self.param("recurrent_kernel", orthogonal, (size, 3 * size))
        bias = self.param("bias", nn.initializers.zeros, (2, 3 * size))
        projected = inputs @ kernel + bias[0]
        if carry is None:
            carry = jnp.zeros((len(inputs), size), projected.dtype)
        outputs, carry = gru_scan(jnp.swapaxes(projected, 0, 1), recurrent, bias[1], carry)
        return jnp.swapaxes(outputs, 0, 1), carry


def _forget_bias(key, shape, dtype=jnp.float32):
    del key
    size = shape[0] // 4
    return jnp.zeros(shape, dtype).at[size : 2 * size].set(1)


def _lstm_gates(projected, recurrent, hidden):
    i, f, g, o = jnp.split(projected + hidden @ recurrent, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


@jax.custom_vjp
def lstm_scan(projected, recurrent, carry):
    """Scans an LSTM over time-major, already projected inputs.

    The backward scan carries no weight gradient: it is one product over all steps afterwards.

    Args:
      projected: `[time, batch, 4 * features]`, inputs times kernel plus bias.
      recurrent: `[features, 4 * features]`.
      carry: (hidden, cell), each `[batch, features]`.

    Returns:
      outputs `[time, batch, features]` and the last (hidden, cell).
    """

    def step(carry, projected):
        hidden, cell = carry
        i, f, g, o = _lstm_gates(projected, recurrent, hidden)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), hidden

    carry, outputs = jax.lax.scan(step, carry, projected)
    return outputs, carry


def _lstm_forward(projected, recurrent, carry):
    def step(carry, projected):
        hidden, cell = carry
        i, f, g, o = _lstm_gates(projected, recurrent, hidden)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, jnp.concatenate([i, f, g, o], axis=-1))

    last, (outputs, cells, gates) = jax.lax.scan(step, carry, projected)
    return (outputs, last), (outputs, cells, gates, recurrent, carry)


def _lstm_backward(residuals, cotangents):
    outputs, cells, gates, recurrent, (hidden, cell) = residuals
    d_outputs, d_last = cotangents
    hiddens_before = jnp.concatenate([hidden[None], outputs[:-1]])
    cells_before = jnp.concatenate([cell[None], cells[:-1]])

    def step(carry, inputs):
        d_hidden, d_cell = carry
        d_output, cell, cell_before, gates = inputs
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        d_hidden = d_hidden + d_output
        tanh = jnp.tanh(cell)
        d_cell = d_cell + d_hidden * o * (1 - tanh**2)
        d_gates = jnp.concatenate(
            [
                d_cell * g * i * (1 - i),
                d_cell * cell_before * f * (1 - f),
                d_cell * i * (1 - g**2),
                d_hidden * tanh * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_gates @ recurrent.T, d_cell * f), d_gates

    d_carry, d_projected = jax.lax.scan(step, d_last, (d_outputs, cells, cells_before, gates), reverse=True)
    d_recurrent = jnp.einsum("tbh,tbg->hg", hiddens_before, d_projected)
    return d_projected, d_recurrent, d_carry


lstm_scan.defvjp(_lstm_forward, _lstm_backward)


def gru_scan(projected, recurrent, bias, carry):
    """Scans a GRU (reset after the product) over time-major, already projected inputs.

    Args:
      projected: `[time, batch, 3 * features]`, inputs times kernel plus the input bias.
      recurrent: `[features, 3 * features]`.
      bias: the recurrent bias, `[3 * features]`.
      carry: the hidden state, `[batch, features]`.

    Returns:
      outputs `[time, batch, features]` and the last hidden state.
    """

    def step(hidden, projected):
        update, reset, candidate = jnp.split(projected, 3, axis=-1)
        r_update, r_reset, r_candidate = jnp.split(hidden @ recurrent + bias, 3, axis=-1)
        update = jax.nn.sigmoid(update + r_update)
        reset = jax.nn.sigmoid(reset + r_reset)
        candidate = jnp.tanh(candidate + reset * r_candidate)
        hidden = update * hidden + (1 - update) * candidate
        return hidden, hidden

    carry, outputs = jax.lax.scan(step, carry, projected)
    return outputs, carry
