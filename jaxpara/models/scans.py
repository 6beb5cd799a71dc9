"""The scans of LSTM and GRU, with nothing inside that need not wait for its step."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def lstm_scan(projected, recurrent, carry):
    """Scans an LSTM over time-major, already projected inputs.

    The backward scan holds one product with the transposed kernel and nothing else that could be done for all steps
    at once: derivatives of the gates come before it, the weight gradient after it.

    Args:
      projected: `[time, batch, 4 * features]`, inputs times kernel plus bias.
      recurrent: `[features, 4 * features]`.
      carry: (hidden, cell), each `[batch, features]`.

    Returns:
      outputs `[time, batch, features]` and the last (hidden, cell).
    """
    return _lstm_forward(projected, recurrent, carry)[0]


def _lstm_forward(projected, recurrent, carry):
    def step(carry, projected):
        hidden, cell = carry
        i, f, g, o = jnp.split(projected + hidden @ recurrent, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, (i, f, g, o))

    last, (outputs, cells, gates) = jax.lax.scan(step, carry, projected)
    return (outputs, last), (outputs, cells, gates, recurrent, carry)


def _lstm_backward(residuals, cotangents):
    outputs, cells, (i, f, g, o), recurrent, (hidden, cell) = residuals
    d_outputs, d_last = cotangents
    hiddens_before = jnp.concatenate([hidden[None], outputs[:-1]])
    cells_before = jnp.concatenate([cell[None], cells[:-1]])
    tanh = jnp.tanh(cells)
    cell_by_hidden = o * (1 - tanh**2)
    gates_by_cell = jnp.concatenate([g * i * (1 - i), cells_before * f * (1 - f), i * (1 - g**2)], axis=-1)
    output_by_hidden = tanh * o * (1 - o)
    transposed = recurrent.T

    def step(carry, inputs):
        d_hidden, d_cell = carry
        d_output, cell_by_hidden, gates_by_cell, output_by_hidden, forget = inputs
        d_hidden = d_hidden + d_output
        d_cell = d_cell + d_hidden * cell_by_hidden
        d_gates = jnp.concatenate([jnp.tile(d_cell, 3) * gates_by_cell, d_hidden * output_by_hidden], axis=-1)
        return (d_gates @ transposed, d_cell * forget), d_gates

    inputs = d_outputs, cell_by_hidden, gates_by_cell, output_by_hidden, f
    d_carry, d_projected = jax.lax.scan(step, d_last, inputs, reverse=True)
    d_recurrent = jnp.einsum("tbh,tbg->hg", hiddens_before, d_projected)
    return d_projected, d_recurrent, d_carry


lstm_scan.defvjp(_lstm_forward, _lstm_backward)


@jax.custom_vjp
def gru_scan(projected, recurrent, bias, carry):
    """Scans a GRU (reset after the product) over time-major, already projected inputs; see `lstm_scan`.

    Args:
      projected: `[time, batch, 3 * features]`, inputs times kernel plus the input bias.
      recurrent: `[features, 3 * features]`.
      bias: the recurrent bias, `[3 * features]`.
      carry: the hidden state, `[batch, features]`.

    Returns:
      outputs `[time, batch, features]` and the last hidden state.
    """
    return _gru_forward(projected, recurrent, bias, carry)[0]


def _gru_forward(projected, recurrent, bias, carry):
    def step(hidden, projected):
        update, reset, candidate = jnp.split(projected, 3, axis=-1)
        r_update, r_reset, memory = jnp.split(hidden @ recurrent + bias, 3, axis=-1)
        update = jax.nn.sigmoid(update + r_update)
        reset = jax.nn.sigmoid(reset + r_reset)
        candidate = jnp.tanh(candidate + reset * memory)
        hidden = update * hidden + (1 - update) * candidate
        return hidden, (hidden, (update, reset, candidate, memory))

    last, (outputs, gates) = jax.lax.scan(step, carry, projected)
    return (outputs, last), (outputs, gates, recurrent, carry)


def _gru_backward(residuals, cotangents):
    outputs, (update, reset, candidate, memory), recurrent, hidden = residuals
    d_outputs, d_last = cotangents
    before = jnp.concatenate([hidden[None], outputs[:-1]])
    update_by_hidden = (before - candidate) * update * (1 - update)
    candidate_by_hidden = (1 - update) * (1 - candidate**2)
    reset_by_hidden = candidate_by_hidden * memory * reset * (1 - reset)
    by_hidden = jnp.concatenate([update_by_hidden, reset_by_hidden, candidate_by_hidden * reset], axis=-1)
    transposed = recurrent.T

    def step(d_hidden, inputs):
        d_output, by_hidden, update = inputs
        d_hidden = d_hidden + d_output
        d_recurrent = jnp.tile(d_hidden, 3) * by_hidden
        return d_hidden * update + d_recurrent @ transposed, (d_hidden, d_recurrent)

    d_carry, (d_hiddens, d_gates) = jax.lax.scan(step, d_last, (d_outputs, by_hidden, update), reverse=True)
    d_update, d_reset, _ = jnp.split(d_gates, 3, axis=-1)
    d_projected = jnp.concatenate([d_update, d_reset, d_hiddens * candidate_by_hidden], axis=-1)
    d_recurrent = jnp.einsum("tbh,tbg->hg", before, d_gates)
    return d_projected, d_recurrent, d_gates.sum(axis=(0, 1)), d_carry


gru_scan.defvjp(_gru_forward, _gru_backward)
