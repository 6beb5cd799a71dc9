"""A recurrent sequence-to-sequence autoencoder that compresses a spectrogram into one vector."""

import jax.numpy as jnp
from flax import linen as nn

from jaxpara.models.layers import Dropout
from jaxpara.models.recurrent import GRU, glorot


class _Part(nn.Module):
    """The fields of the autoencoder and of its parts."""

    units: int = 256  # size of each GRU layer
    layers: int = 2  # of the encoder, and of each direction of the decoder
    dropout: float = 0.2  # rate before and after each GRU layer; every step has its own mask, and states are kept whole


class Stack(_Part):
    """GRU layers with dropout before and after each."""

    @nn.compact
    def __call__(self, inputs, states=None, train: bool = False):
        """Map `[batch, time, channel]` to `[batch, time, units]` and the last states, `[batch, layer, units]`."""
        x, last = inputs, []
        for layer in range(self.layers):
            initial = None if states is None else states[:, layer]
            x, state = GRU(self.units, name=f"gru{layer}")(Dropout(self.dropout)(x, train), initial)
            x = Dropout(self.dropout)(x, train)
            last.append(state)
        return x, jnp.stack(last, axis=1)


class Encoder(_Part):
    """GRU layers; a dense layer with tanh maps their last states to the embedding."""

    @nn.compact
    def __call__(self, inputs, train: bool = False):
        """Map `[batch, time, band]` to `[batch, layer * direction * units]`, the initial states of the decoder."""
        _, last = Stack(self.units, self.layers, self.dropout, name="layers")(inputs, train=train)
        embedding = nn.Dense(2 * self.layers * self.units, kernel_init=glorot, name="embedding")
        return nn.tanh(embedding(last.reshape(last.shape[0], -1)))


class Decoder(_Part):
    """GRU layers in both directions that start from the embedding and see earlier target frames (teacher forcing).

    The two directions are separate stacks (`Stack`), which meet only after their last layers. As in auDeep's code,
    their inputs lag one step more than teacher forcing needs, the backward stack reads the frames from the end, and its
    outputs are not reversed: at step t of T the forward stack has seen frames 0 to t - 2 of the target, the backward
    stack frames T - 1 - t to T - 2. The first half must therefore come from the embedding; in the second half the
    backward stack has already seen the frame and may remember it.
    """

    @nn.compact
    def __call__(self, embedding, targets, train: bool = False):
        """Reconstruct `targets` `[batch, time, band]` from `embedding` `[batch, layer * direction * units]`."""

        def frame(x, name: str):
            return nn.tanh(nn.Dense(targets.shape[-1], kernel_init=glorot, name=name)(x))

        states = embedding.reshape(embedding.shape[0], self.layers, -1, self.units)
        inputs = {"forward": _lag(_lag(targets)), "backward": _lag(_lag(targets)[:, ::-1])}
        frames = []
        for direction, (name, x) in enumerate(inputs.items()):
            x, _ = Stack(self.units, self.layers, self.dropout, name=name)(x, states[:, :, direction], train)
            frames.append(frame(x, f"{name}_frame"))
        return frame(jnp.concatenate(frames, axis=-1), "frame")


def _lag(frames):
    """Delay `[batch, time, band]` by one step; the first frame is zero."""
    return jnp.pad(frames, ((0, 0), (1, 0), (0, 0)))[:, :-1]


class SequenceAutoencoder(_Part):
    """An autoencoder of spectrograms in [-1, 1]; its embedding is one vector.

    The defaults are the network of the auDeep baseline features of ComParE 2020 (2 697 600 parameters for 128 bands,
    1024 numbers per recording). Differences from auDeep's code:
      - The GRU is that of Keras and cuDNN: its reset gate acts after the recurrent product, with two biases. That of
        TensorFlow 1 acts before it, with one bias.
      - Recurrent kernels start orthogonal and biases at zero; in auDeep glorot uniform, with gate biases of 1.
      - Options that the baseline does not use are missing: input noise, feeding back outputs, masking.

    Reference: Freitag et al., "auDeep: Unsupervised Learning of Representations from Audio with Deep Recurrent Neural
    Networks", JMLR 18 (2018); structure of its published code.
    """

    def setup(self):
        self.encoder = Encoder(self.units, self.layers, self.dropout)
        self.decoder = Decoder(self.units, self.layers, self.dropout)

    def embed(self, inputs, train: bool = False):
        """Map `[batch, time, band]` in [-1, 1] to `[batch, 2 * layers * units]` in [-1, 1]."""
        return self.encoder(inputs, train)

    def __call__(self, inputs, train: bool = False):
        """Reconstruct `inputs`, `[batch, time, band]`; `train` turns dropout on (rng "dropout")."""
        # The decoder works backwards in time, because the encoder's states remember the last frame best.
        return self.decoder(self.embed(inputs, train), inputs[:, ::-1], train)[:, ::-1]
