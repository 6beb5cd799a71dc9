"""Time and memory of one training step of Breathing system 4 on a window of 80 s, for every way to run its trunk.

    python -m benchmarks.trunks

Each way runs in a process of its own. `pieces` is the paper's, every piece by itself; `pieces, kept` begins after the
frozen stages, whose maps lie on disk; `dense` goes over the window once, and is another function. Weights are random,
of which neither time nor memory depends. The first step compiles and is not counted.
"""

import argparse
import time

from benchmarks import child

WAYS = ("pieces", "pieces, kept", "dense")


def measure(way: str, seconds: int, steps: int) -> dict[str, float]:
    """The median time of a step and the peak memory of the process, both of the whole of it."""
    import jax
    import numpy as np
    import optax

    from jaxpara.models import MODELS
    from jaxpara.training import parallel
    from jaxpara.training.losses import WindowPCC
    from jaxpara.training.state import create
    from jaxpara.training.steps import train_step

    model = MODELS["resnet_gru"](trunk=way.split(",")[0], axis_name=parallel.AXIS)
    labels, random = 25 * seconds, np.random.default_rng(0)
    strip = random.integers(0, 256, (1, 2 * labels + model.context_frames, 128)).astype(np.uint8)
    optimizer = optax.adam(2e-3)
    state = parallel.replicate(create(model, strip[:, : 2 + model.context_frames], optimizer, seed=0))
    inputs = random.normal(size=(1, labels, 16, 7, 128)).astype(np.float32) if way.endswith("kept") else strip
    batch = {
        "inputs": inputs[None],
        "targets": random.normal(size=(1, 1, labels)).astype(np.float32),
        "weights": np.ones((1, 1, labels), np.float32),
    }
    step = parallel.spread(train_step(model, lambda part, _: part["inputs"], WindowPCC(), optimizer), donate=True)
    times_s = []
    for _ in range(1 + steps):
        began = time.monotonic()
        state, loss = step(state, parallel.shard(batch))
        jax.block_until_ready(loss)
        times_s.append(time.monotonic() - began)
    statistics = jax.local_devices()[0].memory_stats() or {}
    return {
        "seconds": float(np.median(times_s[1:])),
        "host_gib": child.peak_gib(),
        "device_gib": statistics.get("peak_bytes_in_use", 0) / 2**30,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=80, help="length of the window")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.way:
        child.answer(measure(flags.way, flags.seconds, flags.steps))
        return
    print(f"{'trunk':14} {'s a step':>9} {'host GiB':>9} {'device GiB':>11}")
    for way in WAYS:
        found = child.measured("trunks", "--way", way, "--seconds", flags.seconds, "--steps", flags.steps)
        print(f"{way:14} {found['seconds']:9.2f} {found['host_gib']:9.2f} {found['device_gib']:11.2f}", flush=True)


if __name__ == "__main__":
    main()
