"""Our weights (and gradients) under the names and in the layout of a PyTorch twin. No JAX and no PyTorch in here."""

from collections.abc import Mapping

import numpy as np

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_AXES = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}


def to_torch(leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames and transposes.

    Args:
      leaves: by path, as `sequence.lstm0.kernel`.

    Returns:
      As in a state dict. An LSTM of ours has one bias where PyTorch has two; the other has to be zero.
    """
    found = {}
    for path, value in leaves.items():
        layer, leaf = path.rsplit(".", 1)
        if f"{layer}.recurrent_kernel" not in leaves:
            found[f"{layer}.{_LEAVES[leaf]}"] = value.transpose(_AXES[value.ndim])
            continue
        gru = leaves[f"{layer}.bias"].ndim == 2
        gates = _swapped(value) if gru else value
        if leaf != "bias":
            found[f"{layer}.weight_{'ih' if leaf == 'kernel' else 'hh'}_l0"] = gates.T
        elif gru:
            found[f"{layer}.bias_ih_l0"], found[f"{layer}.bias_hh_l0"] = gates
        else:
            found[f"{layer}.bias_ih_l0"] = gates
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def _swapped(value: np.ndarray) -> np.ndarray:
    """A GRU of ours has the update gate first, PyTorch's the reset gate."""
    update, reset, candidate = np.split(value, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1)
