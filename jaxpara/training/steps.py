"""The steps that run on every device: training, predictions, embeddings, and what is kept of frozen stages."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxpara.models.layers import output_of
from jaxpara.training.parallel import AXIS
from jaxpara.training.state import TrainState

Batch = dict[str, jax.Array]


# What the network is computed in; weights, optimizer, statistics of BatchNorm and loss are in float32 always.
PRECISIONS = {"float32": None, "bfloat16": jnp.bfloat16}
# From a part of a batch and a key to the network's inputs: what is done on the device, such as cropping pictures.
Prepare = Callable[[Batch, jax.Array], jax.Array]


def train_step(
    model: nn.Module,
    prepare: Prepare,
    loss: Any,
    optimizer: optax.GradientTransformation,
    precision: str = "float32",
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """One update.

    Args:
      model: called as `model(inputs, train=True)` with a `dropout` key.
      prepare: see `Prepare`; its key is the same on all devices.
      loss: one of `jaxpara.training.losses`.
      optimizer: turns the gradient of the whole batch into an update.
      precision: one of `PRECISIONS`.

    Returns:
      A function of the state and of this device's part of the batch, `{"inputs", "targets", "weights"}` each
      `[part, example, ...]`: the parts are gone through one after the other, and only one has to fit the memory. It
      returns the new state and the loss of the whole batch. Each step, device and part draws its dropout from a key of
      its own.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        parts = batch["inputs"].shape[0]
        shared_key = _step_key(state)
        key = jax.random.fold_in(shared_key, lax.axis_index(AXIS))
        if loss.whole_batch:
            if parts > 1:
                raise ValueError("a loss of the whole batch cannot be taken part by part")
            total = lax.psum(1.0, AXIS)
        else:
            weights = jax.vmap(loss.example_weights)(batch["targets"], batch["weights"])
            total = jnp.maximum(lax.psum(weights.sum(), AXIS), 1e-9)

        def objective(params, batch_stats, part, key):
            """This device's and part's share of the loss: the shares of a batch sum up to its loss."""
            outputs, changed = model.apply(
                {"params": computed_in(precision, params), "batch_stats": batch_stats},
                computed_in(precision, prepare(part, shared_key)),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            outputs = outputs.astype(jnp.float32)
            if loss.whole_batch:
                everything = (outputs, part["targets"], part["weights"])
                share = loss(*lax.all_gather(everything, AXIS, tiled=True)) / total
            else:
                counted = loss.example_weights(part["targets"], part["weights"])
                values = jnp.where(counted > 0, loss(outputs, part["targets"], part["weights"]), 0.0)
                share = (values * counted).sum() / total
            return share, changed.get("batch_stats", batch_stats)

        def one_part(carry, part_and_key):
            gradient, batch_stats, value = carry
            (share, batch_stats), g = jax.value_and_grad(objective, has_aux=True)(
                state.params, batch_stats, *part_and_key
            )
            return (jax.tree.map(jnp.add, gradient, g), batch_stats, value + share), None

        if parts == 1:
            (value, batch_stats), gradient = jax.value_and_grad(objective, has_aux=True)(
                state.params, state.batch_stats, jax.tree.map(lambda x: x[0], batch), key
            )
        else:
            zero = (jax.tree.map(jnp.zeros_like, state.params), state.batch_stats, jnp.zeros(()))
            (gradient, batch_stats, value), _ = lax.scan(one_part, zero, (batch, jax.random.split(key, parts)))

        gradient, value = lax.psum((gradient, value), AXIS)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        updates = jax.tree.map(lambda u: u * state.lr_scale, updates)
        params = optax.apply_updates(state.params, updates)
        state = dataclasses.replace(
            state, step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
        )
        return state, value

    return step


def computed_in(precision: str, tree: Any) -> Any:
    """Arrays as a network takes them that is computed in one of `PRECISIONS`."""
    dtype = PRECISIONS[precision]
    return tree if dtype is None else jax.tree.map(lambda x: x.astype(dtype), tree)


def forward(
    model: nn.Module, precision: str = "float32", *, embed: bool = False, layer: str = ""
) -> Callable[[Any, jax.Array], jax.Array]:
    """The network without training.

    Args:
      precision: one of `PRECISIONS`.
      embed: whether it gives embeddings: what a layer (`jaxpara.models.layers`) gives, or what the model's `embed`
        does where none is named.

    Returns:
      A function of variables and inputs that returns float32.
    """
    if not embed:
        return _in_float32(precision, partial(model.apply, train=False))
    if layer:
        return _in_float32(precision, lambda variables, inputs: output_of(model, variables, inputs, layer))
    return _in_float32(precision, partial(model.apply, train=False, method="embed"))


def _in_float32(precision: str, outputs_of: Callable[[Any, jax.Array], Any]) -> Callable[[Any, jax.Array], jax.Array]:
    """What is computed in `precision`, from float32 to float32."""

    def outputs(variables: Any, inputs: jax.Array) -> jax.Array:
        variables = variables | {"params": computed_in(precision, variables["params"])}
        return outputs_of(variables, computed_in(precision, inputs)).astype(jnp.float32)

    return outputs


def predict_step(
    model: nn.Module, prepare: Prepare, precision: str = "float32"
) -> Callable[[TrainState, Batch], jax.Array]:
    """Outputs without training.

    Returns:
      A function of the state and of this device's part of the batch, each `[example, ...]`, that returns the outputs of
      all devices.
    """
    return _step(prepare, forward(model, precision))


def embed_step(
    model: nn.Module, prepare: Prepare, layer: str = "", precision: str = "float32"
) -> Callable[[TrainState, Batch], jax.Array]:
    """As `predict_step`, with embeddings, see `forward`."""
    return _step(prepare, forward(model, precision, embed=True, layer=layer))


def frozen_step(
    model: nn.Module, prepare: Prepare, precision: str = "float32"
) -> Callable[[TrainState, Batch], jax.Array]:
    """As `predict_step`, with what the model's `frozen_maps` gives: the part of it that training does not change."""
    return _step(prepare, _in_float32(precision, partial(model.apply, method="frozen_maps")))


def _step(prepare: Prepare, outputs: Callable[[Any, jax.Array], jax.Array]) -> Callable[[TrainState, Batch], jax.Array]:
    def step(state: TrainState, batch: Batch) -> jax.Array:
        inputs = prepare(batch, _step_key(state))
        return lax.all_gather(outputs(state.variables, inputs), AXIS, tiled=True)

    return step


def _step_key(state: TrainState) -> jax.Array:
    return jax.random.fold_in(jax.random.key(state.seed), state.step)
