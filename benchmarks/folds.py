"""Measures training steps of four folds, one after the other and all at once (`config.parallel`).

    python -m benchmarks.folds [CASE ...] [--rounds=5] [--folds=4] [--devices=2] [--precision=bfloat16]

Both ways take the same steps on the same batches, in turns, in one process that is warmed up. Prints the medians over
the rounds and the ratio within a round. `--devices` splits a CPU into devices. Validation, checkpoints and reading are
left out, because they are the same for both ways.
"""

import argparse
import os
import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from benchmarks import cases
from jaxpara import runtime

NARROW = {"model": {"filters": (8, 8, 8, 8), "lstm": (16, 16)}}
CASES = {
    "Breathing 5, LSTM (512, 256) on 768 embeddings, 15 x 400": cases.BREATHING5,
    "the same, LSTM (64, 32)": replace(cases.BREATHING5, changes={"model": {"lstm": (64, 32)}}),
    "narrow 1D CNN + LSTM, 4 x 8 s": replace(cases.BREATHING2, labels=200, changes=NARROW),
    "Breathing 2, 4 x 8 s": replace(cases.BREATHING2, labels=200),
    "ResNet18, 16 x 64 x 32": replace(cases.SMALL, size=(64, 32), changes={"examples": {"augment": "none"}}),
}


def programs(network: cases.Network, precision: str) -> tuple[Any, Any]:
    """Return the steps of a network as a run compiles them, and a function from a seed to a new state."""
    import jax

    from jaxpara.corpora.tasks import TASKS
    from jaxpara.registry import build
    from jaxpara.training import LEARNERS
    from jaxpara.training.state import create

    learner, task = network.learner(), TASKS[network.task]
    if network.size != (0, 0):
        learner["examples"] = learner["examples"] | {"size": network.size}
    learner |= {"batch": network.rows, "microbatch": 0}
    net = build(LEARNERS, learner, "learner", task=task, frame_rate_hz=1.0, precision=precision)
    one = {name: value[:1] for name, value in network.batch().items()}
    example = net._examples.prepare(one, jax.random.key(0))
    return net, lambda seed: jax.device_get(create(net.model, example, net._optimizer.transform, seed))


class Way:
    """Folds that are placed together; `step` takes one step of each."""

    def __init__(self, made: Any, placement: Any, states: list[Any], batch: dict[str, Any]):
        parts, rows = made._parts(placement.devices)
        # Padded if it does not divide, as in a run; there with rows of weight 0, which takes as long.
        given = np.arange(parts * rows * placement.devices) % len(next(iter(batch.values())))
        arranged = {name: value[given].reshape(-1, rows, *value.shape[1:]) for name, value in batch.items()}
        self._placement, self._batches = placement, [arranged] * len(states)
        self._states, self._step = placement.put(states), made.train_step(placement)

    def step(self) -> list[float]:
        self._states, losses = self._step(self._states, self._placement.batch(self._batches))
        return [float(loss) for loss in self._placement.split(losses)]


def timed(network: cases.Network, folds: int, rounds: int, precision: str) -> dict[str, Any]:
    """Return seconds per step of all folds both ways, of the first step, and the final difference of the losses."""
    from jaxpara.training.parallel import Placement, Stacked

    made, fresh = programs(network, precision)
    batch = network.batch()
    states = [fresh(seed) for seed in range(folds)]
    ways = {
        "one after the other": [Way(made, Placement(), [state], batch) for state in states],
        "at once": [Way(made, Stacked(folds), states, batch)],
    }
    compiled, seconds, losses = {}, {way: [] for way in ways}, {}
    for way, groups in ways.items():
        began = time.perf_counter()
        for group in groups:
            group.step()
        compiled[way] = time.perf_counter() - began
    for _ in range(rounds):
        for way, groups in ways.items():
            began = time.perf_counter()
            losses[way] = [loss for group in groups for loss in group.step()]
            seconds[way].append(time.perf_counter() - began)
    apart = max(abs(a - b) for a, b in zip(*losses.values(), strict=True))
    return {"seconds": seconds, "first": compiled, "apart": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="parts of the names of cases; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--devices", type=int, default=0, help="devices to split a CPU into")
    parser.add_argument("--precision", default="float32")
    flags = parser.parse_args()
    if flags.devices:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={flags.devices}"
    os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")  # so that the first call includes compiling
    runtime.prepare()
    import jax

    kind = jax.devices()[0].device_kind
    print(f"{jax.local_device_count()} x {kind}, {os.cpu_count()} processors, {flags.folds} folds, {flags.precision}")
    columns = ("step of all folds, ms", "in turn", "at once", "ratio (min-max)", "first s")
    print("{:58} {:>8} {:>8} {:>20} {:>12} apart".format(*columns))
    for name, network in CASES.items():
        if flags.cases and not any(wanted.lower() in name.lower() for wanted in flags.cases):
            continue
        found = timed(network, flags.folds, flags.rounds, flags.precision)
        turn, once = found["seconds"].values()
        ratios = sorted(a / b for a, b in zip(turn, once, strict=True))
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        first = " / ".join(f"{seconds:.1f}" for seconds in found["first"].values())
        print(
            f"{name:58} {1e3 * median(turn):8.1f} {1e3 * median(once):8.1f} {spread:>20} {first:>12}"
            f" {found['apart']:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
