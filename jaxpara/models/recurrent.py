"""Recurrent layers: long short-term memory and gated recurrent units."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxpara.models.scans import gru_scan, lstm_scan

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
            carry = (jnp.zeros((inputs.shape[0], size), projected.dtype),) * 2
        outputs, carry = lstm_scan(*_for_scan((jnp.swapaxes(projected, 0, 1), recurrent, carry)))
        return jnp.swapaxes(outputs, 0, 1).astype(projected.dtype), carry


class GRU(nn.Module):
    """One GRU layer over time, gates in the order update, reset, candidate.

    Reference: Keras `GRU` defaults (`reset_after`, two biases, glorot uniform and orthogonal kernels), the form of
    cuDNN and PyTorch too.
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
            carry = jnp.zeros((inputs.shape[0], size), projected.dtype)
        outputs, carry = gru_scan(*_for_scan((jnp.swapaxes(projected, 0, 1), recurrent, bias[1], carry)))
        return jnp.swapaxes(outputs, 0, 1).astype(projected.dtype), carry


def _for_scan(arrays):
    """In float32 at least: a state in bfloat16 would lose what each step adds to it."""
    return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), arrays)


def _forget_bias(key, shape, dtype=jnp.float32):
    del key
    size = shape[0] // 4
    return jnp.zeros(shape, dtype).at[size : 2 * size].set(1)
