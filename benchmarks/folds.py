"""Measures training steps of four folds, one after the other and all at once (`config.parallel`).

    python -m benchmarks.folds [CASE ...] [--rounds=5] [--folds=4] [--devices=2] [--precision=bfloat16]

Both ways take the same steps on the same batches, by turns, in one warmed-up process. Prints the medians over the
rounds, and the ratio within a round. `--devices` splits a CPU into devices. Validation, checkpoints and reading are not
included, because they are the same for both ways.
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
    "ResNet18, 16 x 64 x 32": replace(cases.SMALL, size=(64, 32), changes={"examples": {"augment": ()}}),
}


class Folds:
    """Runs that are placed together; `step` takes one step of each."""

    def __init__(self, train_step: Any, placement: Any, states: list[Any], batch: dict[str, np.ndarray]):
        rows = -(-len(batch["inputs"]) // placement.devices)
        # Padded if the devices do not divide it, as in a run; there with rows of weight 0, which takes as long.
        padded = np.arange(rows * placement.devices) % len(batch["inputs"])
        arranged = {name: value[padded].reshape(-1, rows, *value.shape[1:]) for name, value in batch.items()}
        self._placement, self._batches = placement, [arranged] * len(states)
        self._states, self._step = placement.put(states), train_step

    def step(self) -> list[float]:
        self._states, losses = self._step(self._states, self._placement.batch(self._batches))
        return [float(loss) for loss in self._placement.split(losses)]


def measure(network: cases.Network, count: int, rounds: int, precision: str) -> dict[str, Any]:
    """Return seconds per step of all folds both ways, of the first step, and the final difference of the losses."""
    import jax

    from benchmarks.ours import build_learner
    from jaxpara.training import steps
    from jaxpara.training.parallel import Placement, Stacked
    from jaxpara.training.state import create

    config = network.learner()
    if network.size != (0, 0):
        config["examples"] = config["examples"] | {"size": network.size}
    examples, model, loss, optimizer = build_learner(config, network.task)
    train_step = steps.train_step(model, examples.prepare, loss, optimizer, precision)
    batch = network.batch()
    example = examples.prepare({name: value[:1] for name, value in batch.items()}, jax.random.key(0))
    states = [jax.device_get(create(model, example, optimizer, seed)) for seed in range(count)]
    single, stacked = Placement(), Stacked(count)
    single_step, stacked_step = single.spread(train_step), stacked.spread(train_step)
    ways = {
        "in turn": [Folds(single_step, single, [state], batch) for state in states],
        "at once": [Folds(stacked_step, stacked, states, batch)],
    }
    first, seconds, losses = {}, {way: [] for way in ways}, {}
    for way, groups in ways.items():
        began = time.perf_counter()
        for group in groups:
            group.step()
        first[way] = time.perf_counter() - began
    for _ in range(rounds):
        for way, groups in ways.items():
            began = time.perf_counter()
            losses[way] = [loss for group in groups for loss in group.step()]
            seconds[way].append(time.perf_counter() - began)
    difference = max(abs(a - b) for a, b in zip(*losses.values(), strict=True))
    return {"seconds": seconds, "first": first, "difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="parts of the names of cases; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--devices", type=int, default=0, help="devices to split a CPU into")
    parser.add_argument("--precision", default="tf32")
    flags = parser.parse_args()
    if flags.devices:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={flags.devices}"
    os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")  # so that the first call includes compiling
    runtime.prepare()
    import jax

    kind = jax.devices()[0].device_kind
    print(f"{jax.local_device_count()} x {kind}, {os.cpu_count()} processors, {flags.folds} folds, {flags.precision}")
    columns = ("step of all folds, ms", "in turn", "at once", "ratio (min-max)", "first s")
    print("{:58} {:>8} {:>8} {:>20} {:>12} difference".format(*columns))
    for name, network in CASES.items():
        if flags.cases and not any(wanted.lower() in name.lower() for wanted in flags.cases):
            continue
        found = measure(network, flags.folds, flags.rounds, flags.precision)
        turn, once = found["seconds"].values()
        ratios = sorted(a / b for a, b in zip(turn, once, strict=True))
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        first = " / ".join(f"{seconds:.1f}" for seconds in found["first"].values())
        print(
            f"{name:58} {1e3 * median(turn):8.1f} {1e3 * median(once):8.1f} {spread:>20} {first:>12}"
            f" {found['difference']:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
