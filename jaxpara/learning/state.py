"""What training changes, as one plain pytree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn


@flax.struct.dataclass
class TrainState:
    """Attributes:
    step: updates done so far, int32.
    params: the network's weights.
    batch_stats: running statistics of BatchNorm layers; empty where there are none.
    opt_state: the optimizer's moments.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        return {"params": self.params, "batch_stats": self.batch_stats}


def create(model: nn.Module, example: jax.Array, optimizer: optax.GradientTransformation, key: jax.Array) -> TrainState:
    """A fresh state.

    Args:
      example: `[1, ...]` an input of the network; its values do not matter.
      key: the key of the initial weights.
    """
    variables = jax.jit(lambda key: model.init(key, example, train=False))(key)
    params = variables["params"]
    return TrainState(jnp.zeros((), jnp.int32), params, variables.get("batch_stats", {}), optimizer.init(params))


def count_parameters(variables: Any) -> int:
    """Numbers in the weights and in the BatchNorm statistics, as Keras counts them."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
