"""One side of a comparison of `python -m benchmarks.side_by_side`. Imports neither JAX nor PyTorch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_AXES = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}


@dataclass(frozen=True)
class Side:
    """One side of a comparison, ours or a peer's.

    Attributes:
      run: does the work of one call and returns when it is done.
      check: returns arrays by name, which are compared with those of the other side. Our side also returns its weights
        (`weight/...`) and the inputs as the network gets them (`prepared`), for the peer.
      flop: returns the floating-point operations of one call, by method of counting; None if they are not counted.
    """

    run: Callable[[], Any]
    check: Callable[[], Arrays] = dict
    flop: Callable[[], Mapping[str, float]] | None = None


def to_torch(leaves: Mapping[str, np.ndarray]) -> Arrays:
    """Rename and transpose our weights (or gradients) to a PyTorch state dict.

    Args:
      leaves: by path, such as `sequence.lstm0.kernel`.

    Returns:
      The state dict. Our LSTM has one bias where PyTorch has two; the second one must be zero.
    """
    found = {}
    for path, value in leaves.items():
        layer, leaf = path.rsplit(".", 1)
        if f"{layer}.recurrent_kernel" not in leaves:
            found[f"{layer}.{_LEAVES[leaf]}"] = value.transpose(_AXES[value.ndim])
            continue
        gru = leaves[f"{layer}.bias"].ndim == 2
        gates = _reset_first(value) if gru else value
        if leaf != "bias":
            found[f"{layer}.weight_{'ih' if leaf == 'kernel' else 'hh'}_l0"] = gates.T
        elif gru:
            found[f"{layer}.bias_ih_l0"], found[f"{layer}.bias_hh_l0"] = gates
        else:
            found[f"{layer}.bias_ih_l0"] = gates
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def _reset_first(value: np.ndarray) -> np.ndarray:
    """Move the reset gate, the second one of our GRU, to the front, as in PyTorch's."""
    update, reset, candidate = np.split(value, 3, axis=-1)
    return np.concatenate([reset, update, candidate], axis=-1)
