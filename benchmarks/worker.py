"""One side of one case in its own process: reads commands on stdin, answers each with a line of JSON on stdout.

Started by `side_by_side.Process` as `python -m benchmarks.worker MODULE CASE SIDE SETTING [--tiny]`.
"""

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.computer import peak_gib

ROUND_S = 0.4  # short calls are repeated until a round takes about this long


def main() -> None:
    """Answer `check FILE [OURS]`, `start`, `round` and `end` until stdin ends."""
    module, name, side, setting, *tiny = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that the output of libraries does not mix with the answers
    # Before JAX is imported, which the cases may do.
    if side == "ours":
        from jaxpara.runtime import prepare

        prepare()
    elif setting.endswith("tuned"):
        from jaxpara.runtime import _keep_freed_memory

        _keep_freed_memory()
    worker = Worker(importlib.import_module(f"benchmarks.{module}").cases(tiny=bool(tiny))[name](), side, setting)
    for line in sys.stdin:
        command, *words = line.split()
        try:
            answer = getattr(worker, command)(*words)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}".strip().splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """The commands on stdin, each a method."""

    def __init__(self, case: Any, side: str, setting: str):
        self._case, self._side, self._setting, self._calls = case, side, setting, 1

    def _make(self, checked: Any = None) -> None:
        if self._side == "ours":
            self._made = self._case.ours()
        else:
            self._made = self._case.peers[self._side].make(self._setting, checked)

    @property
    def _library(self) -> str:
        """The library that computes: tensorboardX imports PyTorch on our side too, where it is installed."""
        names = ("jax", "numpy") if self._side == "ours" else ("torch", "numpy")
        return next(name for name in names if name in sys.modules)

    def check(self, file: str, ours: str = "") -> dict[str, Any]:
        """Write our side's arrays to a file, or compare the peer's with those in `ours`."""
        if not ours:
            self._make()
            np.savez(file, **self._made.check())  # type: ignore[arg-type]
            return {}
        expected = dict(np.load(ours))
        self._make(expected)
        found = self._made.check()
        return {"differences": {key: difference(key, found[key], expected[key]) for key in self._case.tolerances}}

    def start(self) -> dict[str, Any]:
        """Make the side, call it once (`first_s`, with compilation), and then a few times to warm it up."""
        make_s = seconds(self._make)
        base_gib = memory_gib(self._library)
        first_s = seconds(self._made.run)
        warm = [seconds(self._made.run) for _ in range(self._case.warm_ups)]
        self._calls = max(1, round(ROUND_S / max(min([first_s, *warm]), 1e-6)))
        return {"base_gib": base_gib, "make_s": make_s, "first_s": first_s, "calls": self._calls}

    def round(self) -> dict[str, float]:
        """Time one round of calls: wall time, and CPU time of all threads, which other processes disturb less."""

        def calls() -> None:
            for _ in range(self._calls):
                self._made.run()

        began = time.process_time()
        wall_s = seconds(calls)
        return {"seconds": wall_s / self._calls, "cpu_s": (time.process_time() - began) / self._calls}

    def end(self) -> dict[str, Any]:
        """Return the peak memory, and then what takes memory to find out."""
        library = self._library
        return {
            "peak_gib": memory_gib(library),
            "flop": self._made.flop() if self._made.flop else {},
            "device": device(library),
            "versions": f"{library} {sys.modules[library].__version__}, Python {platform.python_version()}",
        }


def difference(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference over the largest value; for gradients the norm of the difference over the norm."""
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, expected {expected.shape}")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if name == "gradient":
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def memory_gib(library: str) -> float:
    """Return the peak memory of the accelerator, or without one of this process."""
    if library == "torch" and (cuda := sys.modules["torch"].cuda).is_available():
        return cuda.max_memory_allocated() / 2**30
    if library == "jax" and (used := sys.modules["jax"].devices()[0].memory_stats()):
        return used["peak_bytes_in_use"] / 2**30
    return peak_gib()


def device(library: str) -> str:
    """Return the name of the accelerator that was used, or "cpu"."""
    if library == "torch" and (cuda := sys.modules["torch"].cuda).is_available():
        return cuda.get_device_name()
    return sys.modules["jax"].devices()[0].device_kind if library == "jax" else "cpu"


if __name__ == "__main__":
    main()
