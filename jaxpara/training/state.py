"""What training changes, as one plain pytree."""

import dataclasses
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxpara.models.pretrained import load
from jaxpara.runtime import cache_folder


@flax.struct.dataclass
class TrainState:
    """The state of one fit.

    Attributes:
      step: updates done so far, int32.
      params: the network's weights.
      batch_stats: running statistics of BatchNorm layers; empty where there are none.
      opt_state: the optimizer's moments.
      lr_scale: what the plateau rule has made of the learning rate so far; 1 without one.
      seed: of dropout and augmentation, uint32. It is data, so that all fits share one compiled step.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    lr_scale: jax.Array
    seed: jax.Array

    @property
    def variables(self) -> dict[str, Any]:
        return {"params": self.params, "batch_stats": self.batch_stats}


def create(model: nn.Module, example: Any, optimizer: optax.GradientTransformation, seed: int) -> TrainState:
    """A fresh state.

    Args:
      example: `[1, ...]` an input of the network; its values do not matter.
      seed: of the initial weights and of everything random in training.
    """
    variables = _init(model, jax.random.key(seed), example)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        lr_scale=jnp.ones(()),
        seed=jnp.uint32(seed),
    )


def with_weights(state: TrainState, spec: str, arch: str, part: str = "") -> tuple[TrainState, list[str]]:
    """The state with pretrained weights in its network, or in one part of it.

    Args:
      spec, arch: see `jaxpara.models.pretrained.load`.
      part: name of the part; all by default.

    Returns:
      The state, and notes on what the weights did not cover.
    """
    whole = state.variables
    own = {kind: tree[part] for kind, tree in whole.items()} if part else whole
    loaded, notes = load(spec, arch, own, cache_folder() / "weights")
    if part:
        loaded = {kind: {**whole[kind], part: tree} for kind, tree in loaded.items()}
    return dataclasses.replace(state, **(whole | loaded)), notes


@partial(jax.jit, static_argnums=0)
def _init(model: nn.Module, key: jax.Array, example: Any) -> Any:
    """Compiled once a network, not once a fold."""
    return model.init(key, example, train=False)


def count_parameters(variables: Any) -> int:
    """Numbers in the weights and in the BatchNorm statistics, as Keras counts them."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
