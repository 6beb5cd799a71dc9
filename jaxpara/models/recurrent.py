"""LSTM and GRU layers, and `SequenceLSTM`: LSTM layers over a sequence of embeddings.

Why the LSTM has its own backward pass: JAX's gradient of the scan puts work into the backward scan that need not wait
for its step. A training step of Breathing 2 takes 1.27 and 1.19 times as long with it, 1.44 and 1.36 times with
`flax.linen.RNN` (JAX 0.10.2 and 0.12, November 2026; `python -m benchmarks.forms breathing2`). For the GRU the own form
was worth 3 % of a step.

The platform that a program is compiled for chooses the form of LSTM layers: in turn on a CPU, in pairs and unrolled on
accelerators. Values and gradients are equal to 1e-5.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.lax import platform_dependent

from jaxpara.models.layers import Dropout, LayerWeights, with_gradient
from jaxpara.registry import require_one_of

OUTPUTS = {"tanh": nn.tanh, "linear": lambda x: x}
glorot = nn.initializers.glorot_uniform()
orthogonal = nn.initializers.orthogonal()
UNROLL = 8  # steps of a scan at once on accelerators; chosen without a measurement of this form


class SequenceLSTM(nn.Module):
    """LSTM layers with dropout between them and one output per step.

    The defaults are the network of Breathing system 5 (3 411 201 parameters for 768 channels).

    Reference: paper, fusion of deep embeddings; dropout and output of the authors' published scripts.
    """

    lstm: tuple[int, ...] = (512, 256)  # size of each layer
    dropout: float = 0.4  # rate between two layers
    output: str = "tanh"  # activation of the last layer, "tanh" or "linear"
    margin = 0  # as in `WaveformNet`

    def __post_init__(self):
        super().__post_init__()
        require_one_of("model.output", self.output, OUTPUTS)

    def __call__(self, inputs, train: bool = False):
        """Map `[batch, label, channel]` to `[batch, label]`; `train` turns dropout on (rng "dropout").

        The layers of `[batch, label, layer, channel]` are averaged with learned weights first.
        """
        return self.recur(inputs, train=train)[0]

    @nn.compact
    def recur(self, inputs, carries=None, train: bool = False):
        """Map the next part of a sequence `[batch, label, channel]` to `[batch, label]` and the carry of each layer."""
        inputs = LayerWeights(name="layers")(inputs) if inputs.ndim == 4 else inputs
        layers = [LSTM(size, name=f"lstm{layer}") for layer, size in enumerate(self.lstm)]
        carries = [None] * len(layers) if carries is None else carries
        if train and self.dropout:
            x, last = inputs, []
            for layer, carry in zip(layers, carries, strict=True):
                x, carry = layer(Dropout(self.dropout)(x, train) if last else x, carry)
                last.append(carry)
        else:
            sizes = (inputs.shape[-1], *self.lstm)
            weights = [layer.weights(channels) for layer, channels in zip(layers, sizes, strict=False)]
            x, last = lstm_layers(inputs, weights, carries)
        x = nn.Dense(1, kernel_init=glorot, name="head")(x)[..., 0]
        return OUTPUTS[self.output](x), tuple(last)

    def carry(self, batch: int):
        """Return the carries of `recur` before the first part."""
        return lstm_carries(self.lstm, batch)


def lstm_carries(sizes, batch: int):
    """Return the carries of LSTM layers before the first part of a sequence: zeros."""
    return tuple((jnp.zeros((batch, size)),) * 2 for size in sizes)


class LSTM(nn.Module):
    """One layer of Keras's `LSTM` with its defaults: glorot uniform and orthogonal kernels, forget bias 1, one bias.

    The gates are in the order input, forget, candidate, output.
    """

    features: int

    def __call__(self, inputs, carry=None):
        """Map the next part of a sequence, `[batch, time, channel]`, to `[batch, time, features]` and the carry.

        The carry is (hidden, cell), each `[batch, features]`; None is the one before the first part.
        """
        outputs, (carry,) = lstm_layers(inputs, [self.weights(inputs.shape[-1])], [carry])
        return outputs, carry

    @nn.compact
    def weights(self, channels: int):
        """Return kernel, `[channels, 4 * features]`, recurrent kernel, `[features, 4 * features]`, and bias."""
        size = self.features
        kernel = self.param("kernel", glorot, (channels, 4 * size))
        recurrent = self.param("recurrent_kernel", orthogonal, (size, 4 * size))
        return kernel, recurrent, self.param("bias", lambda _: jnp.repeat(jnp.float32([0, 1, 0, 0]), size))


def lstm_layers(inputs, layers, carries):
    """Apply LSTM layers, one on top of the other, to the next part of a sequence, `[batch, time, channel]`.

    Args:
      layers: the weights of each layer, from `LSTM.weights`.
      carries: (hidden, cell) of each layer, or None before the first part.

    Returns:
      The outputs of the last layer, `[batch, time, features]`, and the carry of each layer.
    """

    def first(recurrent):
        return (jnp.zeros((inputs.shape[0], recurrent.shape[0]), jnp.result_type(inputs, recurrent)),) * 2

    carries = [first(layers[n][1]) if carry is None else carry for n, carry in enumerate(carries)]
    time = inputs.shape[1]
    # A scan cannot be unrolled over a length that an exported program leaves open.
    if not isinstance(time, int) or time == 1:
        return _in_turn(inputs, layers, carries)
    return platform_dependent(inputs, layers, carries, cpu=_in_turn, default=_in_pairs)


def _in_turn(inputs, layers, carries):
    """Compute one layer after the other: the form of a CPU, where unrolled scans take twice the time."""
    x, last = inputs, []
    for weights, carry in zip(layers, carries, strict=True):
        x, carry = _one(lstm_scan, x, weights, carry)
        last.append(carry)
    return x, last


def _in_pairs(inputs, layers, carries):
    """Compute two layers in one unrolled scan: on a GPU, a scan takes the time of starting its many small kernels."""
    x, last = inputs, []
    for n in range(0, len(layers) - 1, 2):
        x, pair = _two(x, *layers[n : n + 2], *carries[n : n + 2])
        last += pair
    if len(layers) % 2:
        x, carry = _one(unrolled_lstm_scan, x, layers[-1], carries[-1])
        last.append(carry)
    return x, last


def _one(scan, inputs, weights, carry):
    """Compute one layer."""
    kernel, recurrent, bias = weights
    # The inputs of all steps are projected in one product; only the recurrent product must wait for its step.
    projected = inputs @ kernel + bias
    outputs, carry = scan(*_widen((jnp.swapaxes(projected, 0, 1), recurrent, carry)))
    return jnp.swapaxes(outputs, 0, 1).astype(projected.dtype), carry


def _two(inputs, first, second, carry, next_carry):
    """Compute two layers in one scan, with the second layer a step behind the first.

    Both then need only what the step before computed, and are one layer of both sizes together:

        [hidden1, hidden2] @ [[recurrent1, kernel2], [0, recurrent2]] + [inputs @ kernel1 + bias1, bias2]
    """
    (kernel1, recurrent1, bias1), (kernel2, recurrent2, bias2) = first, second
    projected = jnp.swapaxes(inputs @ kernel1 + bias1, 0, 1)
    dtype = projected.dtype
    steps, recurrent1, kernel2, recurrent2, bias2, carry, next_carry = _widen(
        (projected, recurrent1, kernel2, recurrent2, bias2, carry, next_carry)
    )
    size = len(recurrent1)
    # The first layer is alone in its first step, and the second in its last.
    _, carry = unrolled_lstm_scan(steps[:1], recurrent1, carry)
    zeros = jnp.zeros((len(recurrent2), 4 * size), recurrent1.dtype)
    recurrent = jnp.concatenate([_by_gate(recurrent1, kernel2), _by_gate(zeros, recurrent2)])
    behind = jnp.broadcast_to(bias2, (*steps[1:].shape[:2], len(bias2)))
    both = tuple(jnp.concatenate(pair, axis=-1) for pair in zip(carry, next_carry, strict=True))
    outputs, both = unrolled_lstm_scan(_by_gate(steps[1:], behind), recurrent, both)
    carry, next_carry = zip(*(jnp.split(part, [size], axis=-1) for part in both), strict=True)
    end, next_carry = unrolled_lstm_scan((carry[0] @ kernel2 + bias2)[None], recurrent2, next_carry)
    outputs = jnp.concatenate([outputs[..., size:], end])
    return jnp.swapaxes(outputs, 0, 1).astype(dtype), [carry, next_carry]


def _by_gate(first, second):
    """Concatenate the values of two layers, `[..., 4 * features]` each, gate by gate."""
    gates = zip(jnp.split(first, 4, axis=-1), jnp.split(second, 4, axis=-1), strict=True)
    return jnp.concatenate([values for gate in gates for values in gate], axis=-1)


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


def _lstm_forward(projected, recurrent, carry, unroll=1):
    """Map inputs times kernel plus bias, `[time, batch, 4 * features]`, to `[time, batch, features]` and the carry."""

    def step(carry, projected):
        hidden, cell = carry
        i, f, g, o = jnp.split(projected + hidden @ recurrent, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        hidden = o * jnp.tanh(cell)
        return (hidden, cell), (hidden, cell, (i, f, g, o))

    last, (outputs, cells, gates) = jax.lax.scan(step, carry, projected, unroll=unroll)
    # The gates are stored: to compute them again in the backward pass took 106 ms instead of 95 (benchmarks/NOTES.md).
    return (outputs, last), (outputs, cells, gates, recurrent, carry)


def _lstm_backward(residuals, cotangents, unroll=1):
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
    d_carry, d_projected = jax.lax.scan(step, d_last, inputs, reverse=True, unroll=unroll)
    # gates = projected + hidden_before @ recurrent: one product over all steps.
    d_recurrent = jnp.einsum("tbh,tbg->hg", hiddens_before, d_projected)
    return d_projected, d_recurrent, d_carry


lstm_scan = with_gradient(_lstm_forward, _lstm_backward)
unrolled_lstm_scan = with_gradient(partial(_lstm_forward, unroll=UNROLL), partial(_lstm_backward, unroll=UNROLL))
