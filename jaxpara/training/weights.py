"""The weights of one network in one file, as they are exported: safetensors, named by their place in the network."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file, save

from jaxpara.errors import UserError, reason
from jaxpara.files import replacing
from jaxpara.training.state import TrainState

FILE = "weights.safetensors"


def write(path: Path, state: TrainState) -> None:
    """Writes what predicts: parameters and statistics of BatchNorm, as `params/convs_0/kernel`; no optimizer state."""
    arrays = {
        name: np.ascontiguousarray(leaf)
        for name, leaf in flatten_dict(jax.device_get(state.variables), sep="/").items()
    }
    with replacing(path) as part:
        part.write_bytes(save(arrays))


def read(path: Path, target: TrainState) -> TrainState:
    """Reads what `write` wrote, as a state that predicts.

    Args:
      target: a state of the same network, or only its shapes and types.

    Raises:
      UserError: the file is missing, damaged, or of another network.
    """
    try:
        arrays = load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy it there, or export the system again") from None
    except Exception as error:  # safetensors raises kinds of its own
        raise UserError(f"{path}: damaged ({reason(error)}); copy it there again, or export the system again") from None
    leaves: dict[str, Any] = flatten_dict(target.variables, sep="/")
    wanted = {name: (leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if different := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        name = different[0]
        raise UserError(
            f"{path}: not of the network of system.json ({len(different)} tensors differ, the first is {name}:"
            f" {found.get(name, 'absent')}, expected {wanted.get(name, 'absent')}); export the system again"
        )
    tree: dict[str, Any] = unflatten_dict(arrays, sep="/")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=tree["params"],
        batch_stats=tree.get("batch_stats", {}),
        opt_state=(),
        lr_scale=jnp.ones(()),
        seed=jnp.uint32(0),
    )
