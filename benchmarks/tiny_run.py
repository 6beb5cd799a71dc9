"""Runs a tiny experiment as a user does, for `python -m benchmarks.faults` and the tests, which kill it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
COMMAND = (
    *(sys.executable, "launch.py", "--config=tests/small.py"),
    *("--config.corpus.speakers=(2,2,2)", "--config.corpus.seconds=12"),
    *("--config.members.cnn.learner.epochs=8", "--config.members.cnn.learner.keep_best=2"),
)
# Limits the size of files in bytes, then becomes the command that follows. A separate process, because a process with
# JAX's threads must not fork.
LIMITED = (
    *(sys.executable, "-c"),
    "import os, resource, sys; size = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); os.execv(sys.argv[2], sys.argv[2:])",
)
TIMEOUT_S = 180


class Otherwise(Exception):
    """A fault led neither to the same result nor to a clear error, or could not be produced."""


@dataclass(frozen=True)
class Run:
    """An experiment in its own folder: the workdir `run`, and `cache`; compiled programs are in its parent folder."""

    folder: Path

    def start(self, environment: dict[str, str] | None = None, largest: int = 0):
        """Start the command; `largest`, if given, limits the size of files in bytes."""
        limit = [*LIMITED, str(largest)] if largest else []
        folders = {"JAXPARA_CACHE": self.folder / "cache", "JAX_COMPILATION_CACHE_DIR": self.folder.parent / "compiled"}
        environ = {name: str(path) for name, path in folders.items()}
        environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # every run compiles the same small programs
        with self.log.open("a") as log:
            return subprocess.Popen(
                [*limit, *COMMAND, f"--workdir={self.folder / 'run'}"],
                cwd=ROOT,
                env={**os.environ, "XLA_FLAGS": "", **environ, **(environment or {})},
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    def ended(self, process: subprocess.Popen, expected: tuple[int, ...]) -> int:
        """Return the exit status of a process, which must be an expected one, without a traceback."""
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Otherwise(f"no exit after {TIMEOUT_S} s:\n{self.log.read_text(errors='replace')[-6000:]}") from None
        output = self.log.read_text(errors="replace")
        if status not in expected or "Traceback" in output:
            raise Otherwise(f"exit status {status}, expected {expected}:\n{output[-6000:]}")
        return status

    def finish(self, **how) -> None:
        self.ended(self.start(**how), (0,))

    def refused(self, words: str, **how) -> str:
        """Run the command, which must end with an error that contains these words; return its line."""
        self.ended(self.start(**how), (1,))
        return self.last_line(words)

    def last_line(self, words: str) -> str:
        line = self.log.read_text(errors="replace").strip().splitlines()[-1]
        if not line.startswith("error: ") or words not in line:
            raise Otherwise(f"the last line is {line!r}, expected an error with {words!r}")
        return line

    def files(self, pattern: str) -> dict[Path, int]:
        """Return the time of the last change of each file."""
        found = {}
        for path in self.folder.glob(pattern):
            with contextlib.suppress(OSError):  # deleted meanwhile
                found[path] = path.stat().st_mtime_ns
        return found

    def kill(self, when: Callable[[], bool], delay_s: float = 0.0) -> bool:
        """Start the command and kill it some time after a condition is true; return False if it finished before."""
        process = self.start()
        until = time.monotonic() + TIMEOUT_S
        while process.poll() is None and not when():
            time.sleep(0.002)
            if time.monotonic() > until:
                process.kill()
                raise Otherwise(f"no exit after {TIMEOUT_S} s")
        time.sleep(delay_s)
        process.kill()
        return self.ended(process, (0, -9)) == -9

    def result(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Return results.json without timings, counts of compiled programs and paths, and all predictions."""
        results = json.loads((self.folder / "run/results.json").read_text())
        results["corpus"].pop("root")
        results.pop("compiled")
        for part in (results, *(fold for member in results["members"].values() for fold in member["folds"])):
            part.pop("seconds")
        arrays = {}
        for path in sorted((self.folder / "run").rglob("predictions/*.npz")):
            with np.load(path) as file:
                arrays |= {f"{path.relative_to(self.folder)}/{name}": array for name, array in file.items()}
        return results, arrays

    def same_as(self, other: "Run") -> None:
        (results, arrays), (their_results, their_arrays) = self.result(), other.result()
        if results != their_results:
            raise Otherwise("results.json differs")
        if not arrays or arrays.keys() != their_arrays.keys():
            raise Otherwise("the prediction files differ")
        for name, array in arrays.items():
            if array.dtype != their_arrays[name].dtype or array.tobytes() != their_arrays[name].tobytes():
                raise Otherwise(f"{name} differs")


def undisturbed(folder: Path) -> Run:
    """Run the experiment once without faults."""
    run = Run(folder / "undisturbed")
    run.folder.mkdir(parents=True)
    run.finish()
    return run


def fresh(whole: Run, name: str) -> Run:
    """Return a run that has not started, with the corpus of another one."""
    run = Run(whole.folder.parent / name)
    shutil.copytree(whole.folder / "cache/simulated", run.folder / "cache/simulated")
    return run
