"""What any layer of a network gives, by the layer's name."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax import Array

from jaxpara.errors import UserError
from jaxpara.registry import suggest


def output_of(model: nn.Module, variables: Any, inputs: Array, layer: str) -> Array:
    """Runs a network and returns what one of its layers gives, before the activation that follows it.

    Args:
      model: called as `model(inputs, train=False)`.
      layer: its path in the parameters, with dots, as torchvision writes it: `layer4.1.conv2`, `classifier.3`.

    Returns:
      `[batch, channel]`; maps `[batch, height, width, channel]` are averaged over the picture.

    Raises:
      UserError: there is no such layer, or it gives neither vectors nor maps.
    """
    _, captured = model.apply(variables, inputs, train=False, capture_intermediates=True, mutable=["intermediates"])
    calls: dict[Any, Any] = flatten_dict(captured["intermediates"])
    outputs: dict[str, Any] = {".".join(path[:-1]): calls[path][-1] for path in calls if path[-1] == "__call__"}
    known = [name for name in outputs if name]
    if layer not in known:
        raise UserError(f"learner.layer is {layer!r}, expected one of {known}{suggest(layer, known)}")
    output = outputs[layer]
    if not isinstance(output, Array) or output.ndim not in (2, 4):
        raise UserError(f"learner.layer is {layer!r}, whose output is no vector or picture; take another layer")
    return jnp.mean(output, (1, 2)) if output.ndim == 4 else output
