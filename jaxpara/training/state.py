"""The train state as one plain pytree, and the file with its weights."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file, save

from jaxpara.errors import UserError, reason
from jaxpara.files import replacing
from jaxpara.models.pretrained import load
from jaxpara.runtime import cache_folder

WEIGHTS = "weights.safetensors"  # in the folder of a run of an export


@flax.struct.dataclass
class TrainState:
    """The state of one run."""

    step: jax.Array  # updates so far, int32
    params: Any
    batch_stats: Any  # running statistics of BatchNorm layers; empty where there are none
    opt_state: Any  # it contains the factor of the plateau rule
    seed: jax.Array  # of dropout and augmentation, uint32; it is data, so that all runs share one compiled step

    @property
    def variables(self) -> dict[str, Any]:
        return {"params": self.params, "batch_stats": self.batch_stats}


def create(model: nn.Module, example: Any, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    """Return a freshly initialised state; of `example`, an input `[1, ...]`, only the shape and type are used.

    It is computed on the CPU, whatever the accelerator: a program of many small kernels takes long to compile for a
    GPU, and all computers start from the same weights.
    """
    shape = jax.ShapeDtypeStruct(example.shape, example.dtype)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        cpu = None
    with jax.default_device(cpu):
        return _init(model, shape, optimizer, np.uint32(seed))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _init(model: nn.Module, shape: Any, optimizer: optax.GradientTransformation, seed: jax.Array) -> TrainState:
    """Initialise a network and its optimizer as one program, compiled once per network, not once per fold."""
    variables = model.init(jax.random.key(seed), jnp.zeros(shape.shape, shape.dtype), train=False)
    return _first(variables, optimizer.init(variables["params"]), seed)


def _first(variables: Any, opt_state: Any = (), seed: Any = None) -> TrainState:
    seed = np.uint32(0) if seed is None else seed
    return TrainState(jnp.int32(0), variables["params"], variables.get("batch_stats", {}), opt_state, seed)


def with_pretrained(state: TrainState, source: Any, arch: str, part: str = "") -> tuple[TrainState, list[str]]:
    """Return the state with pretrained weights in its network, or in one part of it, and notes about missing tensors.

    `source` and `arch` are those of `jaxpara.models.pretrained.load`, or `source` are the parameters of the part.
    """
    whole = state.variables
    if not isinstance(source, str):
        return dataclasses.replace(state, params=whole["params"] | {part: source}), []
    own = {kind: tree[part] for kind, tree in whole.items()} if part else whole
    loaded, notes = load(source, arch, own, cache_folder() / "weights")
    if part:
        loaded = {kind: {**whole[kind], part: tree} for kind, tree in loaded.items()}
    return dataclasses.replace(state, **(whole | loaded)), notes


def write_weights(path: Path, state: TrainState) -> None:
    """Write the weights and BatchNorm statistics as safetensors, named by their path: `params/convs_0/kernel`."""
    arrays: dict[str, Any] = flatten_dict(jax.device_get(state.variables), sep="/")
    with replacing(path) as part:
        part.write_bytes(save({name: np.ascontiguousarray(leaf) for name, leaf in arrays.items()}))


def read_weights(path: Path, target: TrainState) -> TrainState:
    """Read the weights that `write_weights` wrote, as a state without an optimizer.

    Raises:
      UserError: the file is missing, damaged, or not of the network of `target`, a state or its shapes and types.
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
    return _first(unflatten_dict(arrays, sep="/"))
