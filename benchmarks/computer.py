"""Measures the peak speed of this computer, and how busy it is with other work.

    python -m benchmarks.computer

The peak is the fastest float32 matrix product of JAX or PyTorch, each in its own process.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def peak_gib() -> float:
    """Return the peak resident memory of this process or of a child that it waited for, including libraries."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20


def product(library: str, size: int) -> float:
    """Return the best GFLOP/s of several products of square float32 matrices."""
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

    return 2 * size**3 / min(_timed(run) for _ in range(8)) / 1e9


def _timed(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def peak(size: int = 3000) -> dict[str, float]:
    """Return GFLOP/s by library, of the libraries that are installed."""
    found = {}
    for library in ("jax", "torch"):
        command = [sys.executable, "-m", "benchmarks.computer", "--library", library, "--size", str(size)]
        with suppress(subprocess.CalledProcessError):
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[library] = float(done.stdout.splitlines()[-1])
    return found


def threads() -> int:
    return len(os.sched_getaffinity(0))


def busy(seconds: float = 2.0) -> float:
    """Return the fraction of all processors' time that others used while this process slept; NaN if unknown."""

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


def processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def describe(size: int = 3000) -> dict[str, Any]:
    """Return the description of the computer in a table; without its peak if the size of the matrices is 0."""
    return {
        "processor": processor(),
        "threads": threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "busy_before": busy(),
        "peak_gflop_s": peak(size) if size else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3000, help="rows and columns of the matrices")
    parser.add_argument("--library", choices=("jax", "torch"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.library:
        print(product(flags.library, flags.size))
    else:
        print(json.dumps(describe(flags.size), indent=2))


if __name__ == "__main__":
    main()
