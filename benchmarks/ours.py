"""Our side of the cases of `python -m benchmarks.side_by_side`: training and prediction steps, and functions.

They are built from a config and called as a run does it.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from benchmarks.side import Arrays, Side, to_torch
from jaxpara.corpora.tasks import TASKS
from jaxpara.models import MODELS
from jaxpara.models.recurrent import LSTM
from jaxpara.models.speech import SpeechConfig, SpeechEncoder
from jaxpara.models.speech.checkpoint import to_hub
from jaxpara.registry import build
from jaxpara.training import parallel, steps
from jaxpara.training.batches import parts_of
from jaxpara.training.examples import EXAMPLES
from jaxpara.training.losses import LOSSES
from jaxpara.training.optimizers import OPTIMIZERS
from jaxpara.training.state import create

WHERE = "members.net.learner"


class Learner(NamedTuple):
    """The parts of a network learner, built from its config."""

    examples: Any
    model: Any
    loss: Any
    optimizer: optax.GradientTransformation


def build_learner(learner: Mapping[str, Any], task: str) -> Learner:
    return Learner(
        build(EXAMPLES, learner["examples"], f"{WHERE}.examples"),
        build_model(learner["model"], task),
        build(LOSSES, learner["loss"], f"{WHERE}.loss"),
        build(OPTIMIZERS, learner["optimizer"], f"{WHERE}.optimizer").transform,
    )


def build_model(model: Mapping[str, Any], task: str) -> Any:
    return build(MODELS, model, f"{WHERE}.model", axis_name=parallel.AXIS, classes=len(TASKS[task].classes))


def network(learner: Mapping[str, Any], batch: Arrays, *, task: str, train: bool) -> Side:
    """Time a training step, or the outputs, of a network learner."""
    examples, model, loss, optimizer = build_learner(learner, task)
    example = examples.prepare({name: value[:1] for name, value in batch.items()}, jax.random.key(0))
    rows, part = len(batch["inputs"]), learner.get("microbatch", "auto")
    if part == "auto":  # as in `Net`, on a CPU
        part = getattr(model, "samples_at_once", 0) // batch["inputs"].shape[1]
    parts, _ = parts_of(rows, 1, part)
    assert rows % parts == 0, "padded batches are not for timing"
    arranged = parallel.shard({name: v.reshape(-1, rows // parts, *v.shape[1:]) for name, v in batch.items()})
    sharded = parallel.shard(batch)

    def start(transform: optax.GradientTransformation) -> Any:
        return parallel.replicate(create(model, example, transform, seed=0))

    state = start(optimizer)
    # On a GPU in TF32, as PyTorch's side.
    precision = "float32" if jax.default_backend() == "cpu" else "tf32"
    update = steps.train_step(model, examples.prepare, loss, optimizer, precision)
    train_step = parallel.spread(update, donate=True)
    predict_step = parallel.spread(steps.predict_step(examples.prepare, steps.forward(model, precision)))

    def step() -> None:
        nonlocal state
        state, value = train_step(state, arranged)
        jax.block_until_ready((state, value))

    def predict() -> np.ndarray:
        return np.asarray(predict_step(state, sharded))

    def check() -> Arrays:
        still = {**batch, "augmented": np.zeros(rows, bool)}
        fresh = start(optax.trace(0.0))  # an "optimizer" whose state is the gradient
        found = {"outputs": np.asarray(predict_step(fresh, parallel.shard(still)))}
        found |= {f"weight/{n}": v for n, v in to_torch(_named(fresh.params) | _named(fresh.batch_stats)).items()}
        if train:
            # From the same inputs and in float64: rounding may turn a ReLU, and so the gradient of a unit, on or off.
            found["prepared"] = np.asarray(examples.prepare(still, jax.random.key(0)))
            with jax.enable_x64(True):
                without = build_model(_without_dropout(learner["model"]), task)
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
    return Side(step if train else predict, check, lambda: count_flop(counted[0], state, counted[1]))


def lstm_layers(batch: Arrays, *, sizes: tuple[int, ...]) -> Side:
    """Time LSTM layers alone, forward and backward."""
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

    return Side(run, check, lambda: count_flop(gradient, *arguments))


def speech_encoder(fields: Mapping[str, Any], waveforms: np.ndarray) -> Side:
    """Time all hidden states of a speech encoder with a random start; `fields` are those of its configuration."""
    net = SpeechEncoder(SpeechConfig(**fields))
    variables = jax.jit(net.init)(jax.random.key(0), waveforms[:, : net.config.receptive_field])
    forward = jax.jit(lambda variables, waveforms: net.apply(variables, waveforms)[0])

    def run() -> np.ndarray:
        return np.asarray(forward(variables, waveforms))

    def check() -> Arrays:
        weights = {f"weight/{name}": value for name, value in to_hub(jax.device_get(variables["params"])).items()}
        return {"outputs": run(), **weights}

    return Side(run, check, lambda: count_flop(forward, variables, waveforms))


def _in_float64(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _named(tree: Any) -> Arrays:
    return {".".join(path): np.array(value) for path, value in flatten_dict(dict(tree)).items()}


def _without_dropout(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: 0.0 if "dropout" in name else value for name, value in model.items()}


def _outputs(run: Callable[[], np.ndarray]) -> Side:
    return Side(run, lambda: {"outputs": run()})


def log_mel(waveforms: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.mel import LogMel

    feature = LogMel()
    return _outputs(lambda: np.stack([feature(waveform) for waveform in waveforms]))


def mfcc(waveforms: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.mel import MFCC

    feature = MFCC(orders=(0, 1, 2))
    return _outputs(lambda: np.stack([feature(waveform) for waveform in waveforms]))


def image(spectrograms: Sequence[np.ndarray]) -> Side:
    from jaxpara.features.image import MelImage, color_indices

    feature = MelImage()
    return _outputs(lambda: np.stack([feature.image(color_indices(matrix)) for matrix in spectrograms]))


def dirichlet(truth: np.ndarray, scores: np.ndarray, draws: int) -> Side:
    from jaxpara.evaluation.measures import MEASURE
    from jaxpara.fusion import Dirichlet

    fusion = Dirichlet(draws, seed=0)
    return _outputs(lambda: fusion.search(truth, scores[..., None], MEASURE["PCC"]))


def bootstrap(truth: np.ndarray, scores: np.ndarray, speakers: int, resamples: int) -> Side:
    from jaxpara.evaluation import intervals
    from jaxpara.evaluation.measures import MEASURE

    speaker = np.arange(speakers).repeat(len(truth) // speakers)
    units = MEASURE["PCC"].units
    return _outputs(lambda: intervals.bootstrap(units(truth, [scores[:, None]], speaker), seed=0, resamples=resamples))


def demo(config: str, changes: Sequence[str]) -> Side:
    def run() -> None:
        with tempfile.TemporaryDirectory() as workdir:
            command = [sys.executable, "launch.py", f"--config=configs/{config}.py", f"--workdir={workdir}", *changes]
            subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)

    return Side(run)


def count_flop(step: Any, *arguments: Any) -> Mapping[str, float]:
    """Count the floating-point operations of a jitted step in two ways.

    Returns:
      `xla`: the compiler's own analysis, which counts the body of a loop (such as an LSTM's step) once; `products`: all
      matrix products and convolutions, loops counted in full.
    """
    compiled = step.lower(*arguments).compile().cost_analysis()
    analysis = compiled[0] if isinstance(compiled, list) else compiled
    return {"xla": float(analysis.get("flops", 0)), "products": _products(jax.make_jaxpr(step)(*arguments).jaxpr)}


def _products(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        elif name == "conv_general_dilated":
            kernel, spec = equation.invars[1].aval.shape, parameters["dimension_numbers"].rhs_spec
            each = math.prod(kernel) / kernel[spec[0]] / math.prod(parameters["lhs_dilation"])
            total += 2 * math.prod(equation.outvars[0].aval.shape) * each
        else:
            times = parameters["length"] if name == "scan" else 1
            total += times * sum(_products(inner) for value in parameters.values() for inner in _inner(value))
    return total


def _inner(value: Any) -> list[Any]:
    """Return the jaxprs in a parameter of an equation."""
    if isinstance(value, (tuple, list)):
        return [inner for one in value for inner in _inner(one)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []
