"""One side of a case in a process of its own, which does what comes in on stdin and answers on stdout in JSON."""

import json
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks.cases import cases
from benchmarks.child import peak_gib

ROUND_S = 0.4  # short calls are repeated until a round lasts about as long


def serve(name: str, side: str, setting: str, *, tiny: bool) -> None:
    """Answers `check FILE [OURS]`, `start`, `round`, `end`, one line each, until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if side == "ours":
        from jaxpara.runtime import prepare

        prepare()
    elif setting.endswith("tuned"):
        from jaxpara.runtime import _keep_freed_memory

        _keep_freed_memory()
    worker = Worker(name, side, setting, tiny)
    for line in sys.stdin:
        command, *words = line.split()
        try:
            answer = getattr(worker, command)(*words)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            answer = {"failed": text}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    def __init__(self, name: str, side: str, setting: str, tiny: bool):
        self._case = cases(tiny=tiny)[name]()
        self._side, self._setting, self._calls = side, setting, 1

    def _make(self, checked: Any = None) -> None:
        if self._side == "ours":
            self._made = self._case.ours()
        else:
            self._made = self._case.peers[self._side].make(self._setting, checked)

    def check(self, file: str, ours: str = "") -> dict[str, Any]:
        """Writes our side's arrays to a file, or compares the peer's with those in `ours`."""
        if not ours:
            self._make()
            np.savez(file, **self._made.check())  # type: ignore[arg-type]
            return {}
        expected = dict(np.load(ours))
        self._make(expected)
        found = self._made.check()
        return {"differences": {key: difference(key, found[key], expected[key]) for key in self._case.tolerances}}

    def start(self) -> dict[str, Any]:
        """Imports and making (`make_s`, and the peak memory up to there), the first call, and those that warm up."""
        before = seconds(lambda: self._make())
        base = peak_gib()
        first = seconds(self._made.run)
        warm = [seconds(self._made.run) for _ in range(self._case.warm_ups)]
        self._calls = max(1, round(ROUND_S / max(min([first, *warm]), 1e-6)))
        return {"base_gib": base, "make_s": before, "first_s": first, "calls": self._calls}

    def round(self) -> dict[str, float]:
        def calls() -> None:
            for _ in range(self._calls):
                self._made.run()

        return {"seconds": seconds(calls) / self._calls}

    def end(self) -> dict[str, Any]:
        """The peak memory, and after that what takes memory to find out."""
        peak = peak_gib()
        return {"peak_gib": peak, "flop": self._made.flop() if self._made.flop else {}, "device": device()}


def difference(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest value; for gradients the length of the difference over the length."""
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, expected {expected.shape}")
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if name == "gradient":
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def device() -> str:
    """The accelerator that was used, if any."""
    if torch := sys.modules.get("torch"):
        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    if jax := sys.modules.get("jax"):
        return jax.devices()[0].device_kind
    return "cpu"
