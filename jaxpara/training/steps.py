"""The steps that run on every device: training, predictions and embeddings."""

from collections.abc import Callable
from functools import partial, wraps
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
# Maps a part of a batch and a key to the network's inputs, on the device: cropping of images, for instance.
Prepare = Callable[[Batch, jax.Array], jax.Array]
# Maps the same to pairs of targets and weights, `[example, ...]`; a mixture of examples has several.
Labels = Callable[[Batch, jax.Array], list[tuple[jax.Array, jax.Array]]]
Forward = Callable[[Any, jax.Array], jax.Array]
Update = Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]

# The type that networks compute in, None for float32, and JAX's precision of products of float32 arrays: on NVIDIA GPUs
# "default" is TF32 too, with 10 instead of 23 bits after the point; on a CPU all three are float32. Weights, optimizer,
# BatchNorm statistics and loss stay in float32.
PRECISIONS: dict[str, tuple[Any, str]] = {
    "float32": (None, "highest"),
    "tf32": (None, "tensorfloat32"),
    "bfloat16": (jnp.bfloat16, "default"),
}


def own_labels(batch: Batch, key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    return [(batch["targets"], batch["weights"])]


def train_step(
    model: nn.Module,
    prepare: Prepare,
    loss: Any,
    optimizer: optax.GradientTransformation,
    precision: str = "float32",
    labels: Labels = own_labels,
) -> Update:
    """Return a function that makes one update, with the gradient of the whole batch.

    Its arguments are the state and this device's part of the batch, `{"inputs", "targets", "weights"}` each `[part,
    example, ...]`; only one part at a time has to fit in memory. It returns the new state and the loss of the whole
    batch. The loss is one of `jaxpara.training.losses`, the precision one of `PRECISIONS`. If there are several
    labels, their losses are added, each with its own weights.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        parts = batch["inputs"].shape[0]
        shared_key = _step_key(state)  # the same on all devices: augmentation depends on the example alone
        dropout_key = jax.random.fold_in(shared_key, lax.axis_index(AXIS))
        pairs = jax.vmap(labels, (0, None))(batch, shared_key)
        if loss.whole_batch:
            if parts > 1:
                raise ValueError("a loss of the whole batch cannot be computed part by part")
            total = lax.psum(1.0, AXIS)
        else:
            # With the weight of the whole batch known, the losses of devices and parts simply add up.
            weights = jax.tree.reduce(jnp.add, [jax.vmap(loss.example_weights)(*pair).sum() for pair in pairs])
            total = jnp.maximum(lax.psum(weights, AXIS), 1e-9)  # a batch may have no label

        def objective(params, batch_stats, part, pairs, key):
            outputs, changed = model.apply(
                {"params": computed_in(precision, params), "batch_stats": batch_stats},
                computed_in(precision, prepare(part, shared_key)),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            outputs, values = outputs.astype(jnp.float32), []
            for targets, weights in pairs:
                if loss.whole_batch:
                    # Every device computes the same loss and contributes an equal fraction of it.
                    values.append(loss(*lax.all_gather((outputs, targets, weights), AXIS, tiled=True)) / total)
                else:
                    counted = loss.example_weights(targets, weights)
                    # An example without weight may have a loss of NaN, which times 0 would still be NaN.
                    counted_loss = jnp.where(counted > 0, loss(outputs, targets, weights), 0.0) * counted
                    values.append(counted_loss.sum() / total)
            return jax.tree.reduce(jnp.add, values), changed.get("batch_stats", batch_stats)

        def add_part(carry, part):
            gradient, batch_stats, value = carry
            (part_value, batch_stats), g = gradient_of(state.params, batch_stats, *part)
            return (jax.tree.map(jnp.add, gradient, g), batch_stats, value + part_value), None

        gradient_of = jax.value_and_grad(objective, has_aux=True)
        if parts == 1:
            only = jax.tree.map(lambda x: x[0], (batch, pairs))
            (value, batch_stats), gradient = gradient_of(state.params, state.batch_stats, *only, dropout_key)
        else:
            zero = (jax.tree.map(jnp.zeros_like, state.params), state.batch_stats, jnp.zeros(()))
            keys = jax.random.split(dropout_key, parts)
            (gradient, batch_stats, value), _ = lax.scan(add_part, zero, (batch, pairs, keys))

        gradient, value = lax.psum((gradient, value), AXIS)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, opt_state, state.seed), value

    return with_products(precision, step)


def with_products(precision: str, compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that traces `compute` with the products of one of `PRECISIONS`."""

    @wraps(compute)
    def traced(*arguments: Any) -> Any:
        with jax.default_matmul_precision(PRECISIONS[precision][1]):
            return compute(*arguments)

    return traced


def computed_in(precision: str, tree: Any) -> Any:
    """Cast arrays to the type of one of `PRECISIONS`."""
    dtype = PRECISIONS[precision][0]
    return tree if dtype is None else jax.tree.map(lambda x: x.astype(dtype), tree)


def forward(model: nn.Module, precision: str = "float32", *, embed: bool = False, layer: str = "") -> Forward:
    """Return the network in inference mode, as a function of variables and inputs that returns float32.

    If `embed` is True it returns embeddings instead of predictions: the outputs of `layer` (`jaxpara.models.layers`),
    or by default those of the model's `embed`.
    """
    compute: Any = partial(model.apply, train=False, method="embed" if embed else None)
    if embed and layer:
        compute = partial(output_of, model, layer=layer)

    def outputs(variables: Any, inputs: jax.Array) -> jax.Array:
        variables = variables | {"params": computed_in(precision, variables["params"])}
        return compute(variables, computed_in(precision, inputs)).astype(jnp.float32)

    return with_products(precision, outputs)


def predict_step(prepare: Prepare, forward: Forward) -> Callable[[TrainState, Batch], jax.Array]:
    """Return a function of the state and this device's part of the batch that returns the outputs of all devices."""

    def step(state: TrainState, batch: Batch) -> jax.Array:
        inputs = prepare(batch, _step_key(state))
        return lax.all_gather(forward(state.variables, inputs), AXIS, tiled=True)

    return step


def next_step(model: nn.Module, precision: str = "float32") -> Callable[[TrainState, Batch], tuple[jax.Array, Any]]:
    """Return a function that continues recordings with a recurrent network, for its outputs of all devices in order.

    Its arguments are the state and this device's recordings: `inputs`, a part of each; `places`, `[recording, output]`,
    of the next outputs among those of that part; and `carry`, of the recurrent layers. It returns the outputs,
    `[recording, output]`, and the next carry, which remains on the device.
    """

    def step(state: TrainState, batch: dict[str, Any]) -> tuple[jax.Array, Any]:
        variables = state.variables | {"params": computed_in(precision, state.variables["params"])}
        inputs = computed_in(precision, batch["inputs"])
        embedded = model.apply(variables, inputs, method="embed") if hasattr(model, "embed") else inputs
        embedded = jax.vmap(lambda values, places: values[places])(embedded, batch["places"])
        outputs, carry = model.apply(variables, embedded, batch["carry"], method="recur")
        return lax.all_gather(outputs.astype(jnp.float32), AXIS, tiled=True), carry

    return with_products(precision, step)


def _step_key(state: TrainState) -> jax.Array:
    return jax.random.fold_in(jax.random.key(state.seed), state.step)
