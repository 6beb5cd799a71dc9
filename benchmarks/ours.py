"""Our side of the networks: the steps that a run takes, from the model, loss and optimizer of a config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from benchmarks import flop
from benchmarks.peers.side import Arrays, Side
from benchmarks.peers.weights import to_torch
from jaxpara.corpora.challenge import TASKS
from jaxpara.models import MODELS
from jaxpara.models.recurrent import LSTM
from jaxpara.registry import build
from jaxpara.training import parallel, steps
from jaxpara.training.examples import EXAMPLES
from jaxpara.training.losses import LOSSES
from jaxpara.training.optimizers import OPTIMIZERS
from jaxpara.training.state import create

WHERE = "members.net.learner"


def side(learner: Mapping[str, Any], batch: Arrays, *, task: str, train: bool) -> Side:
    """Times a training step, or outputs, of a `net`."""
    examples = build(EXAMPLES, learner["examples"], f"{WHERE}.examples")
    context = {"axis_name": parallel.AXIS, "classes": len(TASKS[task].classes)}
    model = build(MODELS, learner["model"], f"{WHERE}.model", **context)
    loss = build(LOSSES, learner["loss"], f"{WHERE}.loss")
    optimizer = build(OPTIMIZERS, learner["optimizer"], f"{WHERE}.optimizer").transform
    example = examples.prepare({name: value[:1] for name, value in batch.items()}, jax.random.key(0))
    rows, part = len(batch["inputs"]), learner.get("microbatch") or len(batch["inputs"])
    parts = -(-rows // part)
    assert rows % parts == 0, "batches that are filled up are not for timing"
    arranged = parallel.shard({name: v.reshape(-1, rows // parts, *v.shape[1:]) for name, v in batch.items()})
    sharded = parallel.shard(batch)

    def start(transform: optax.GradientTransformation) -> Any:
        return parallel.replicate(create(model, example, transform, seed=0))

    state = start(optimizer)
    train_step = parallel.spread(steps.train_step(model, examples.prepare, loss, optimizer), donate=True)
    predict_step = parallel.spread(steps.predict_step(examples.prepare, steps.forward(model)))

    def step() -> None:
        nonlocal state
        state, value = train_step(state, arranged)
        jax.block_until_ready((state, value))

    def predict() -> np.ndarray:
        return np.asarray(predict_step(state, sharded))

    def check() -> Arrays:
        still = {**batch, "cropped": np.zeros(rows, bool)}
        fresh = start(optax.trace(0.0))  # keeps the gradient, and nothing else
        found = {"outputs": np.asarray(predict_step(fresh, parallel.shard(still)))}
        found |= {f"weight/{n}": v for n, v in to_torch(_named(fresh.params) | _named(fresh.batch_stats)).items()}
        if train:
            # From the same inputs and in float64, as a rounding may turn a ReLU on or off, and with it a whole unit's
            # gradient.
            found["prepared"] = np.asarray(examples.prepare(still, jax.random.key(0)))
            with jax.enable_x64(True):
                without = build(MODELS, _without_dropout(learner["model"]), f"{WHERE}.model", **context)
                as_given = lambda part, _: part["inputs"]  # noqa: E731
                gradient_step = parallel.spread(steps.train_step(without, as_given, loss, optax.trace(0.0)))
                exact = jax.tree.map(_in_float64, {**still, "inputs": found["prepared"]})
                parted = {k: v.reshape(-1, rows // parts, *v.shape[1:]) for k, v in exact.items()}
                doubled = jax.tree.map(_in_float64, jax.device_get(fresh))
                after, value = gradient_step(parallel.replicate(doubled), parallel.shard(parted))
            gradient = to_torch(_named(after.opt_state.trace))
            found["loss"] = np.asarray(value)
            found["gradient"] = np.concatenate([gradient[name].ravel() for name in sorted(gradient)])
        return found

    counted = (train_step, arranged) if train else (predict_step, sharded)
    return Side(step if train else predict, check, lambda: flop.count(counted[0], state, counted[1]))


def lstm_layers(batch: Arrays, *, sizes: tuple[int, ...]) -> Side:
    """LSTM layers alone, forward and backward."""
    layers = [LSTM(size) for size in sizes]
    x, weights = jnp.asarray(batch["inputs"]), {}
    for index, layer in enumerate(layers):
        (x, _), made = layer.init_with_output(jax.random.key(index), x)
        weights[f"lstm{index}"] = made["params"]

    def objective(weights: Any, inputs: jax.Array, projection: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = inputs
        for index, layer in enumerate(layers):
            x, _ = layer.apply({"params": weights[f"lstm{index}"]}, x)
        return (x * projection).sum(), x

    gradient = jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True))
    arguments = weights, batch["inputs"], batch["projection"]

    def run() -> Any:
        return jax.block_until_ready(gradient(*arguments))

    def check() -> Arrays:
        (_, of_inputs), outputs = run()
        named = {f"weight/{n}": v for n, v in to_torch(_named(weights)).items()}
        return {"outputs": np.asarray(outputs), "of_inputs": np.asarray(of_inputs), **named}

    return Side(run, check, lambda: flop.count(gradient, *arguments))


def _in_float64(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _named(tree: Any) -> Arrays:
    return {".".join(path): np.array(value) for path, value in flatten_dict(dict(tree)).items()}


def _without_dropout(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: 0.0 if "dropout" in name else value for name, value in model.items()}
