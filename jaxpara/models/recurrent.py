"""LSTM and GRU layers, and `SequenceLSTM`: LSTM layers over a sequence of embeddings.

Why the LSTM has its own backward pass: JAX's gradient of the scan puts work into the backward scan that need not wait
for its step. A training step of Breathing 2 takes 1.27 and 1.19 times as long with it, 1.44 and 1.36 times with
`flax.linen.RNN` (JAX 0.10.2 and 0.12, November 2026; `python -m benchmarks.forms breathing2`). For the GRU the own form
was worth 3 % of a step.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxpara.models.layers import Dropout, LayerWeights, with_gradient
from jaxpara.registry import require_one_of

OUTPUTS = {"tanh": nn.tanh, "linear": lambda x: x}
glorot = nn.initializers.glorot_uniform()
orthogonal = nn.initializers.orthogonal()


class SequenceLSTM(nn.Module):
    """LSTM layers with dropout between them and one output per step.

    The defaults are the network of Breathing system 5 (3 411 201 parameters for 768 channels).

    Reference: paper, fusion of deep embeddings; dropout and output of the authors' published scripts.
    """

    lstm: tuple[int, ...] = (512, 256)  # size of each layer
    dropout: float = 0.4  # rate between two layers
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    def __call__(self, inputs, train: bool = False):
        """Map `[batch, label, channel]` to `[batch, label]`; `train` turns dropout on (rng "dropout").

        The layers of `[batch, label, layer, channel]` are averaged with learned weights first.
        """
        return self.step(inputs, train=train)[0]

    @nn.compact
    def step(self, inputs, carries=None, train: bool = False):
        """Map the next part of a sequence `[batch, label, channel]` to `[batch, label]` and the carry of each layer."""
        x, last = LayerWeights(name="layers")(inputs) if inputs.ndim == 4 else inputs, []
        for layer, size in enumerate(self.lstm):
            if layer:
                x = Dropout(self.dropout)(x, train)
            x, carry = LSTM(size, name=f"lstm{layer}")(x, None if carries is None else carries[layer])
            last.append(carry)
        x = nn.Dense(1, kernel_init=glorot, name="head")(x)[..., 0]
        return OUTPUTS[self.output](x), tuple(last)


class LSTM(nn.Module):
    """One layer of Keras's `LSTM` with its defaults: glorot uniform and orthogonal kernels, forget bias 1, one bias.

    The gates are in the order input, forget, candidate, output.
    """

    features: int

    @nn.compact
    def __call__(self, inputs, carry=None):
        """Map the next part of a sequence, `[batch, time, channel]`, to `[batch, time, features]` and the carry.

        The carry is (hidden, cell), each `[batch, features]`; None is the one before the first part.
        """
        size = self.features
        kernel = self.param("kernel", glorot, (inputs.shape[-1], 4 * size))
        recurrent = self.param("recurrent_kernel", orthogonal, (size, 4 * size))
        bias = self.param("bias", lambda _: jnp.repeat(jnp.float32([0, 1, 0, 0]), size))
        # The inputs of all steps are projected in one product; only the recurrent product must wait for its step.
        projected = inputs @ kernel + bias
        if carry is None:
            carry = (jnp.zeros((inputs.shape[0], size), projected.dtype),) * 2
        outputs, carry = lstm_scan(*_widen((jnp.swapaxes(projected, 0, 1), recurrent, carry)))
        return jnp.swapaxes(outputs, 0, 1).astype(projected.dtype), carry


class GRU(nn.Module):
    """One layer of Keras's `GRU` with its defaults: `reset_after`, two biases, as cuDNN and PyTorch; kernels as `LSTM`.

    The gates are in the order update, reset, candidate.
    """

    features: int

    @nn.compact
    def __call__(self, inputs, carry=None):
        """Map as `LSTM` does; the carry is the hidden state `[batch, features]`."""
        size = self.features
        kernel = self.param("kernel", glorot, (inputs.shape[-1], 3 * size))
        recurrent = self.param("recurrent_kernel", orthogonal, (size, 3 * size))
        bias = self.param("bias", nn.initializers.zeros, (2, 3 * size))
        projected = inputs @ kernel + bias[0]
        if carry is None:
            carry = jnp.zeros((inputs.shape[0], size), projected.dtype)
        steps, recurrent, recurrent_bias, carry = _widen((jnp.swapaxes(projected, 0, 1), recurrent, bias[1], carry))

        def step(hidden, projected):
            update, reset, candidate = jnp.split(projected, 3, axis=-1)
            r_update, r_reset, memory = jnp.split(hidden @ recurrent + recurrent_bias, 3, axis=-1)
            update = jax.nn.sigmoid(update + r_update)
            reset = jax.nn.sigmoid(reset + r_reset)
            candidate = jnp.tanh(candidate + reset * memory)
            hidden = update * hidden + (1 - update) * candidate
            return hidden, hidden

        carry, outputs = jax.lax.scan(step, carry, steps)
        return jnp.swapaxes(outputs, 0, 1).astype(projected.dtype), carry


def _widen(arrays):
    """Cast to float32 at least: a state in bfloat16 would lose what each step adds to it."""
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), arrays)


def _lstm_forward(projected, recurrent, carry):
    """Map inputs times kernel plus bias, `[time, batch, 4 * features]`, to `[time, batch, features]` and the carry."""

    def step(carry, projected):
        hidden, cell = carry
        i, f, g, o = jnp.split(projected + hidden @ recurrent, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, (i, f, g, o))

    last, (outputs, cells, gates) = jax.lax.scan(step, carry, projected)
    # The gates are stored: to compute them again in the backward pass took 106 ms instead of 95 (benchmarks/NOTES.md).
    return (outputs, last), (outputs, cells, gates, recurrent, carry)


def _lstm_backward(residuals, cotangents):
    """Compute the gradients: d_x is the derivative of the loss by x, x_by_y that of x by y.

    The scan contains only what depends on the next step: one product with the transposed kernel. The derivatives of the
    gates are computed before it and the gradient of the kernel after it, for all steps at once.
    """
    outputs, cells, (i, f, g, o), recurrent, (hidden, cell) = residuals
    d_outputs, d_last = cotangents
    hiddens_before = jnp.concatenate([hidden[None], outputs[:-1]])
    cells_before = jnp.concatenate([cell[None], cells[:-1]])
    # hidden = o * tanh(cell), and tanh' = 1 - tanh^2.
    tanh = jnp.tanh(cells)
    hidden_by_cell = o * (1 - tanh**2)
    # cell = f * cell_before + i * g, each by the input of its gate: sigmoid' = s * (1 - s) for i and f, tanh' for g.
    cell_by_gates = jnp.concatenate([g * i * (1 - i), cells_before * f * (1 - f), i * (1 - g**2)], axis=-1)
    # The output gate acts on hidden alone.
    hidden_by_output = tanh * o * (1 - o)
    transposed = recurrent.T

    def step(carry, inputs):
        d_hidden, d_cell = carry
        d_output, hidden_by_cell, cell_by_gates, hidden_by_output, forget = inputs
        # hidden goes to this step's output and, through the carry, to the next step's gates.
        d_hidden = d_hidden + d_output
        # cell goes to hidden and, times the forget gate, to the next cell (already in the carry).
        d_cell = d_cell + d_hidden * hidden_by_cell
        d_gates = jnp.concatenate([jnp.tile(d_cell, 3) * cell_by_gates, d_hidden * hidden_by_output], axis=-1)
        return (d_gates @ transposed, d_cell * forget), d_gates

    inputs = d_outputs, hidden_by_cell, cell_by_gates, hidden_by_output, f
    d_carry, d_projected = jax.lax.scan(step, d_last, inputs, reverse=True)
    # gates = projected + hidden_before @ recurrent: one product over all steps.
    d_recurrent = jnp.einsum("tbh,tbg->hg", hiddens_before, d_projected)
    return d_projected, d_recurrent, d_carry


lstm_scan = with_gradient(_lstm_forward, _lstm_backward)
