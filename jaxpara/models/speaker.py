"""The GE2E speaker encoder, an LSTM trained to distinguish speakers, and its weights in PyTorch's files."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxpara.errors import UserError
from jaxpara.models.recurrent import LSTM
from jaxpara.models.torch_file import read_torch_file

BANDS = 40
STATE = "model_state"  # key of the weights in a checkpoint
# Scale and offset of similarities in the training loss; the encoder does not have them.
_OF_THE_LOSS = ("similarity_weight", "similarity_bias")


class GE2E(nn.Module):
    """LSTM layers whose last output becomes a vector of length 1 without negative values.

    Reference: Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018; the ReLU is that of the
    package Resemblyzer 0.1.4, whose `VoiceEncoder.forward` this is.
    """

    layers: int = 3
    units: int = 256  # of each layer
    size: int = 256  # of the embedding

    @nn.compact
    def __call__(self, mels):
        """Map power in Mel bands, `[batch, frame, band]`, to embeddings `[batch, size]`; NaN if all outputs are 0."""
        x = mels
        for layer in range(self.layers):
            x, _ = LSTM(self.units, name=f"lstm{layer}")(x)
        x = nn.relu(nn.Dense(self.size, name="linear")(x[:, -1]))
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def load(path: Path) -> tuple[GE2E, dict[str, Any]]:
    """Return the encoder of a checkpoint of Resemblyzer or Real-Time-Voice-Cloning, and its variables (NumPy, float32).

    The numbers of layers and units are those of the file. Nothing in the file is executed.

    Raises:
      UserError: the file is damaged; or tensors are missing, left over or misshapen.
    """
    tensors = {name: x for name, x in read_torch_file(path, STATE).items() if name not in _OF_THE_LOSS}
    layers = max(1, sum(name.startswith("lstm.weight_hh_") for name in tensors))
    units = tensors["lstm.bias_hh_l0"].size // 4 if "lstm.bias_hh_l0" in tensors else 0
    size = tensors["linear.bias"].size if "linear.bias" in tensors else 0
    expected = {"linear.weight": (size, units), "linear.bias": (size,)}
    for layer in range(layers):
        expected |= {
            f"lstm.weight_ih_l{layer}": (4 * units, units if layer else BANDS),
            f"lstm.weight_hh_l{layer}": (4 * units, units),
            f"lstm.bias_ih_l{layer}": (4 * units,),
            f"lstm.bias_hh_l{layer}": (4 * units,),
        }
    if missing := sorted(set(expected) - set(tensors)):
        raise UserError(f"{path}: has no tensor {missing[0]!r}; expected the weights of a GE2E speaker encoder")
    if unknown := sorted(set(tensors) - set(expected)):
        raise UserError(f"{path}: has {len(unknown)} tensors that a GE2E speaker encoder lacks, such as {unknown[0]!r}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"{path}: {name!r} has the shape {list(tensors[name].shape)}, expected {list(shape)} in a GE2E speaker"
                f" encoder with {BANDS} Mel bands, {units} units and embeddings of {size}"
            )
    values = {name: np.array(x.T, np.float32) for name, x in tensors.items()}  # PyTorch's matrices are transposed
    params = {"linear": {"kernel": values["linear.weight"], "bias": values["linear.bias"]}}
    for layer in range(layers):
        params[f"lstm{layer}"] = {
            "kernel": values[f"lstm.weight_ih_l{layer}"],
            "recurrent_kernel": values[f"lstm.weight_hh_l{layer}"],
            # PyTorch adds two biases. The gates are in the same order.
            "bias": values[f"lstm.bias_ih_l{layer}"] + values[f"lstm.bias_hh_l{layer}"],
        }
    return GE2E(layers, units, size), {"params": params}
