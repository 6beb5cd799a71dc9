"""A recurrent sequence-to-sequence autoencoder: what it has to know to write a spectrogram again is its embedding."""

import jax.numpy as jnp
from flax import linen as nn

from jaxpara.models.dropout import Dropout
from jaxpara.models.recurrent import GRU, glorot


class Stack(nn.Module):
    """GRU layers one after the other, with dropout before and after each.

    Args:
      units: size of each layer.
      layers: how many.
      dropout: rate, drawn anew for every step; states are not dropped.
    """

    units: int
    layers: int
    dropout: float

    @nn.compact
    def __call__(self, inputs, states=None, train: bool = False):
        """Runs all layers over a whole sequence.

        Args:
          inputs: `[batch, time, channel]`.
          states: `[batch, layer, units]` to begin with; zeros if None.
          train: whether dropout acts (rng "dropout").

        Returns:
          outputs of the last layer, `[batch, time, units]`, and the last states, `[batch, layer, units]`.
        """
        x, last = inputs, []
        for layer in range(self.layers):
            begin = None if states is None else states[:, layer]
            x, state = GRU(self.units, name=f"gru{layer}")(Dropout(self.dropout)(x, train), begin)
            x = Dropout(self.dropout)(x, train)
            last.append(state)
        return x, jnp.stack(last, axis=1)


class Encoder(nn.Module):
    """GRU layers whose last states, all together, go through one dense layer with tanh.

    Args:
      units: size of each GRU layer.
      layers: how many.
      features: size of the dense layer.
      dropout: rate before and after each GRU layer.
    """

    units: int
    layers: int
    features: int
    dropout: float

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        """Maps `[batch, time, band]` to `[batch, features]`."""
        _, last = Stack(self.units, self.layers, self.dropout, name="layers")(inputs, train=train)
        return nn.tanh(nn.Dense(self.features, kernel_init=glorot, name="embedding")(last.reshape(last.shape[0], -1)))


class Decoder(nn.Module):
    """GRU layers that begin with the embedding and see earlier frames of what they are to write (teacher forcing).

    The two directions are stacks of their own that meet after their last layers only. As in auDeep's code, what they
    see lags behind by one step more than teacher forcing needs, the backward stack goes through the frames from the
    end, and what it writes is not turned round again: at step t of T the forward stack has seen frames 0 to t - 2 of
    the target, the backward stack frames T - 1 - t to T - 2. The first half has to come from the embedding; in the
    second half the backward stack has met the frame before, and may remember it.

    Args:
      units: size of each GRU layer.
      layers: how many, in each direction.
      bidirectional: whether there is a backward stack.
      dropout: rate before and after each GRU layer.
    """

    units: int
    layers: int
    bidirectional: bool
    dropout: float

    @nn.compact
    def __call__(self, embedding, targets, train: bool = False):
        """Writes `targets` `[batch, time, band]` again, from `embedding` `[batch, layer * direction * units]`."""
        states = embedding.reshape(embedding.shape[0], self.layers, -1, self.units)
        seen = {"forward": _lag(_lag(targets))}
        if self.bidirectional:
            seen["backward"] = _lag(_lag(targets)[:, ::-1])
        written = []
        for direction, (name, frames) in enumerate(seen.items()):
            x, _ = Stack(self.units, self.layers, self.dropout, name=name)(frames, states[:, :, direction], train)
            written.append(self._frame(x, targets.shape[-1], f"{name}_frame"))
        return self._frame(jnp.concatenate(written, axis=-1), targets.shape[-1], "frame")

    def _frame(self, x, bands: int, name: str):
        return nn.tanh(nn.Dense(bands, kernel_init=glorot, name=name)(x))


def _lag(frames):
    """`[batch, time, band]` one step later, after a frame of zeros."""
    return jnp.pad(frames, ((0, 0), (1, 0), (0, 0)))[:, :-1]


class SequenceAutoencoder(nn.Module):
    """Learns to write a spectrogram, whose values are scaled to [-1, 1], from one vector: its embedding.

    The defaults are the network of the auDeep baseline features of ComParE 2020 (2 697 600 parameters for 128 bands,
    1024 numbers a recording). From auDeep's code it differs in the form of the GRU (Keras's and cuDNN's, whose reset
    gate acts after the recurrent product, with two biases; TensorFlow 1's acts before it, with one), in the start of
    the weights (orthogonal recurrent kernels and biases of 0; there glorot uniform, and gate biases of 1), and it has
    none of the options that the baseline leaves off (noise on the input, feeding back what was written, masking).

    Args:
      units: size of each GRU layer.
      layers: GRU layers of the encoder, and of each direction of the decoder.
      bidirectional_decoder: whether a second stack of the decoder sees the frames from the end.
      dropout: rate before and after each GRU layer.

    Reference: Freitag et al., "auDeep: Unsupervised Learning of Representations from Audio with Deep Recurrent Neural
    Networks", JMLR 18 (2018); structure of its published code.
    """

    units: int = 256
    layers: int = 2
    bidirectional_decoder: bool = True
    dropout: float = 0.2

    def setup(self):
        features = self.layers * (1 + self.bidirectional_decoder) * self.units
        self.encoder = Encoder(self.units, self.layers, features, self.dropout)
        self.decoder = Decoder(self.units, self.layers, self.bidirectional_decoder, self.dropout)

    def embed(self, inputs, train: bool = False):
        """Returns what the decoder begins with.

        Args:
          inputs: `[batch, time, band]`, values in [-1, 1].
          train: whether dropout acts (rng "dropout").

        Returns:
          `[batch, layers * directions * units]`, values in [-1, 1].
        """
        return self.encoder(inputs, train)

    def __call__(self, inputs, train: bool = False):
        """Writes `inputs` again, `[batch, time, band]`; arguments as in `embed`.

        The decoder goes backwards in time: the last frame is the one that the encoder's states know best.
        """
        return self.decoder(self.embed(inputs, train), inputs[:, ::-1], train)[:, ::-1]
