"""What this machine can do at best, and whether it has anything else to do just now.

    python -m benchmarks.machine

The peak is the fastest float32 matrix product that JAX or PyTorch makes, each in a process of its own.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import child


def product(library: str, size: int) -> float:
    """GFLOP/s of a product of square float32 matrices, the best of several."""
    if library == "jax":
        import jax
        import jax.numpy as jnp

        one = jnp.ones((size, size), jnp.float32)
        multiply = jax.jit(jnp.matmul)

        def run() -> None:
            jax.block_until_ready(multiply(one, one))
    else:
        import torch

        torch.set_num_threads(threads())
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
        ones = torch.ones(size, size, device=device)

        def run() -> None:
            (ones @ ones)[0, 0].item()

    times_s = []
    for _ in range(8):
        began = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - began)
    return 2 * size**3 / min(times_s) / 1e9


def peak(size: int = 3000) -> dict[str, float]:
    """GFLOP/s by library; one that is not installed is left out."""
    found = {}
    for library in ("jax", "torch"):
        with suppress(subprocess.CalledProcessError):
            found[library] = child.measured("machine", "--library", library, "--size", size)
    return found


def threads() -> int:
    return len(os.sched_getaffinity(0))


def busy(seconds: float = 2.0) -> float:
    """The share of all processors' time that was in use, by others, while this process slept; NaN where unknown."""

    def times() -> tuple[int, int]:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    try:
        total, idle = times()
        time.sleep(seconds)
        after, idle_after = times()
    except OSError:
        return float("nan")
    return 1 - (idle_after - idle) / max(after - total, 1)


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def describe(size: int = 3000) -> dict[str, Any]:
    """Everything about the machine that a table needs."""
    try:
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        models = []
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "threads": threads(),
        "memory_gib": round(memory_gib(), 1),
        "python": platform.python_version(),
        "busy_before": busy(),
        "peak_gflop_s": peak(size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3000, help="rows and columns of the matrices")
    parser.add_argument("--library", choices=("jax", "torch"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.library:
        child.answer(product(flags.library, flags.size))
    else:
        print(json.dumps(describe(flags.size), indent=2))


if __name__ == "__main__":
    main()
