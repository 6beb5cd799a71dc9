"""Tests faults of the computer during a run: each must lead to the same result or to a clear error.

    python -m benchmarks.faults --kills 20

Runs a tiny experiment on simulated speech (a network, two SVMs, one of them on the network's embeddings, and their
fusion) as a user would: once undisturbed, then under each fault, and repeats the command until it finishes.
Predictions are compared bit for bit, and results.json without its timings. Prints a table; the exit status is 1 if a
fault led to something else, or to a traceback.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.tiny_run import TIMEOUT_S, Otherwise, Run, fresh, undisturbed

FOLD = "run/members/cnn/fold_0_seed_0"
# For each part of a run the files that it writes, and within how many seconds after the first of them it is killed.
PARTS = {
    "features": ("cache/features/**/*.npy", 0.2),
    "training": ("run/members/*/*/metrics.jsonl", 1.0),
    "checkpoint save": ("run/members/*/*/checkpoints/*tmp*", 0.05),
    "prediction": ("run/members/*/*/predictions/*", 0.5),
    "report": ("run/submission/*", 1.5),
}
# Makes every call of time.time() return up to ten years before or after the true time.
JUMPING = """
import os, random, time
true, jumps = time.time, random.Random(1)
time.time = lambda: true() + jumps.choice((0, 1, -1)) * jumps.choice((1, 3600, 86400, 3e8))
time.time_ns = lambda: int(time.time() * 1e9)
open(os.environ["CLOCK_JUMPED"], "w").close()
"""


def kills(whole: Run, count: int = 20, seed: int = 1) -> str:
    """Kill runs at random moments, spread over their parts."""
    random, names = np.random.default_rng(seed), list(PARTS)
    wanted = {name: len(range(number, count, len(names))) for number, name in enumerate(names)}
    done, lives = dict.fromkeys(names, 0), 0
    while any(done[name] < wanted[name] for name in names):
        if lives > count:
            raise Otherwise(f"not all parts could be killed: {done}")
        run = fresh(whole, f"killed_{lives}")
        for name in names:
            pattern, within_s = PARTS[name]
            if done[name] < wanted[name]:
                before = run.files(pattern)
                moment = lambda: run.files(pattern) != before  # noqa: B023, E731
                if not run.kill(moment, float(random.uniform(0, within_s))):
                    break  # it finished first
                done[name] += 1
        run.finish()
        run.same_as(whole)
        lives += 1
    spread = ", ".join(f"{name} {number}" for name, number in done.items())
    return f"identical result, in each of {lives} runs ({sum(done.values())} kills: {spread})"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int], dict] | None]:
    """Mount a tmpfs at a folder; yield a function that sets its size in bytes, or None if it cannot be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return

    def resize(size: int) -> dict:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
        return {}

    try:
        yield resize
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(whole: Run, fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9), tmpfs: bool = True) -> str:
    """Run on a disk that is too small, larger with every start; without tmpfs, limit the size of files instead."""
    run = Run(whole.folder.parent / ("full_disk" if tmpfs else "no_large_files"))
    corpus = run.folder.parent / "corpus_cache"
    shutil.copytree(whole.folder / "cache/simulated", corpus / "simulated", dirs_exist_ok=True)
    run.folder.mkdir()
    sizes = [path.stat().st_size for path in whole.folder.rglob("*") if path.is_file()]
    errors = []
    with small_disk(run.folder) if tmpfs else contextlib.nullcontext() as resize:
        space, largest = (sum(sizes), resize) if resize else (max(sizes), lambda size: {"largest": size})
        # The corpus is not written again.
        space -= sum(path.stat().st_size for path in corpus.rglob("*") if path.is_file()) if resize else 0
        for fraction in fractions:
            how = largest(int(fraction * space))
            if not (run.folder / "cache").exists():
                (run.folder / "cache").mkdir()
                (run.folder / "cache/simulated").symlink_to(corpus / "simulated")
            if run.ended(run.start(**how), (0, 1)):
                errors.append(run.last_line(""))
        if not errors:
            raise Otherwise("the disk was never full")
        run.finish(**(resize(64 * space) if resize else {}))
        run.same_as(whole)
        way = "a tmpfs" if resize else "RLIMIT_FSIZE"
    return f"clear error at {len(errors)} of {len(fractions)} sizes of {way}; with enough space, identical result"


def stopped(whole: Run, name: str, checkpoints: int) -> tuple[Run, list[Path]]:
    """Return a run that was killed while training its first fold, and its checkpoints, oldest first."""
    run = fresh(whole, name)
    pattern = f"{FOLD}/checkpoints/[0-9]*"
    for _ in range(5):
        run.kill(lambda: sum(path.name.isdigit() for path in run.files(pattern)) >= checkpoints)
        found = sorted((path for path in run.files(pattern) if path.name.isdigit()), key=lambda path: int(path.name))
        if len(found) >= checkpoints and not (run.folder / FOLD / "summary.json").exists():
            return run, found
        shutil.rmtree(run.folder / "run", ignore_errors=True)
    raise Otherwise("the training could not be killed in time")


def truncate(checkpoint: Path) -> None:
    """Cut each file in half."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def newest_truncated(whole: Run) -> str:
    """Cut the newest checkpoint in half after a kill."""
    run, checkpoints = stopped(whole, "newest_truncated", 2)
    truncate(checkpoints[-1])
    run.finish()
    if "is damaged and was set aside" not in run.log.read_text():
        raise Otherwise("the damage was not reported")
    run.same_as(whole)
    return "resumes from the previous checkpoint and reports it; identical result"


def all_truncated(whole: Run) -> str:
    """Cut the states of all checkpoints of a fold in half after a kill."""
    run, checkpoints = stopped(whole, "all_truncated", 1)
    for checkpoint in checkpoints:
        truncate(checkpoint / "state")
    run.refused(f"delete {run.folder / FOLD} and start again")
    shutil.rmtree(run.folder / FOLD)
    run.finish()
    run.same_as(whole)
    return "clear error; identical result after deleting the folder that it names"


def two_at_once(whole: Run) -> str:
    """Start a second run in the workdir of a running one."""
    run = fresh(whole, "two_at_once")
    first = run.start()
    while first.poll() is None and not (run.folder / FOLD / "metrics.jsonl").exists():
        time.sleep(0.01)
    status = run.start().wait(TIMEOUT_S)
    refused = "another run is using it" in run.log.read_text()
    run.ended(first, (0,))
    if status != 1 or not refused:
        raise Otherwise(f"the second run ended with status {status}")
    run.same_as(whole)
    return "the second run is refused; identical result of the first"


def jumping_clock(whole: Run) -> str:
    """Run with a clock that jumps by up to ten years, back or forward, whenever it is read."""
    run = fresh(whole, "jumping_clock")
    jumped = run.folder / "jumped"
    code = run.folder / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(JUMPING)
    path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))
    run.finish(environment={"PYTHONPATH": path, "CLOCK_JUMPED": str(jumped)})
    if not jumped.exists():
        raise Otherwise("the clock did not jump")
    run.same_as(whole)
    return "identical result"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments of the kills")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder for the runs")
    flags = parser.parse_args()
    faults: dict[str, Callable[[Run], str]] = {
        f"SIGKILL at {flags.kills} random moments": lambda whole: kills(whole, flags.kills, flags.seed),
        "full disk": full_disk,
        "files that cannot grow": lambda whole: full_disk(whole, tmpfs=False),
        "newest checkpoint truncated": newest_truncated,
        "all checkpoints truncated": all_truncated,
        "two runs at once in one workdir": two_at_once,
        "clock that jumps": jumping_clock,
    }
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="faults_", dir=flags.scratch) as folder:
        whole = undisturbed(Path(folder))
        print("| fault | outcome |\n|---|---|", flush=True)
        for name, fault in faults.items():
            try:
                outcome = fault(whole)
            except Otherwise as error:
                outcome, wrong = f"WRONG: {error}", wrong + 1
            print(f"| {name} | {outcome} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
