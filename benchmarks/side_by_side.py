"""Measures time and memory of our code, and of PyTorch, librosa, matplotlib and NumPy for the same work.

    python -m benchmarks.side_by_side [CASE ...] [--rounds=7] [--output=FILE.json] [--peer-python=PATH]

Needs `pip install -e ".[bench]"` and an otherwise idle computer; the output shows how busy it was. Every side runs in
its own process with the same number of threads. First both sides must agree on the same weights and inputs; then each
is warmed up, and they take turns, round by round. Our code is called as a run does it: the training step of the config,
the features, the search. PyTorch runs unchanged and `tuned`: with our allocator setting, channels last for images, and
the fused optimizer; eager, compiled, and in bfloat16.

With `--peer-python`, the peers run in the environment of another interpreter: ours may then run on the newest JAX,
which needs a newer Python than the PyTorch at hand. The lines of a case end with the versions on both sides.

A ratio is the peer's time over ours in the same round: median, smallest and largest of all rounds.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import computer
from benchmarks.cases import Case, cases

ROOT = Path(__file__).parents[1]
PAUSE_S = 0.3  # spinning threads of one side would slow the next one down
COLUMNS = (
    f"{'case and side':34} {'ms':>9} {'CPU ms':>9} {'peer/ours (min-max)':>23} {'per s':>10} {'GiB':>6} {'before':>6}"
    f" {'GFLOP':>8} {'of peak':>8} {'first s':>8}"
)


class Process:
    """One side in its own process, see `worker`."""

    def __init__(self, module: str, case: str, side: str, setting: str, folder: Path, *, python: str, tiny: bool):
        """Start it with this interpreter."""
        self.side, self.setting = side, setting
        self._log = folder / f"{side}_{setting}.log"
        count = str(computer.threads())
        # The caches of compiled programs start empty, so that the first call shows what compiling costs.
        caches = {
            "JAXPARA_CACHE": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / f"inductor_{setting}"),
        }
        command = [python, "-m", "benchmarks.worker", module, case, side, setting]
        self._process = subprocess.Popen(
            [*command, *(["--tiny"] if tiny else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            cwd=ROOT,  # where another interpreter finds this package
            env=os.environ | caches | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
        )

    def ask(self, *words: str) -> dict[str, Any]:
        """Return the worker's answer to a command, or `{"failed": ...}` if it gives none."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(*words, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        last = self._log.read_text().strip().splitlines() or [f"ended with {self._process.wait()}"]
        return {"failed": last[-1]}

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def agree(
    module: str, name: str, case: Case, folder: Path, *, peer_python: str, tiny: bool
) -> dict[str, dict[str, Any]]:
    """Return the differences of each peer that computes the same function, and whether they are small enough."""
    if not any(peer.same for peer in case.peers.values()):
        return {}
    folder.mkdir()
    ours = Process(module, name, "ours", "default", folder, python=sys.executable, tiny=tiny)
    file = folder / "ours.npz"
    answer = ours.ask("check", str(file))
    ours.close()
    if "failed" in answer:
        raise SystemExit(f"{name}: our own side failed: {answer['failed']}")
    found = {}
    for side, peer in case.peers.items():
        if not peer.same:
            continue
        process = Process(module, name, side, peer.settings[0], folder, python=peer_python, tiny=tiny)
        answer = process.ask("check", "-", str(file))
        process.close()
        differences = answer.get("differences", {})
        same = bool(differences) and all(differences[key] <= most for key, most in case.tolerances.items())
        found[side] = {**answer, "same": same}
    return found


def measure(
    module: str,
    name: str,
    case: Case,
    rounds: int,
    settings: set[str],
    folder: Path,
    *,
    peer_python: str,
    tiny: bool,
    checked: bool,
) -> dict[str, Any]:
    """Measure a case of a module of this package; return all that the table and the file show."""
    where = {"peer_python": peer_python, "tiny": tiny}
    agreement = agree(module, name, case, folder / "check", **where) if checked else {}
    (folder / "timed").mkdir()
    sides = [("ours", "default")]
    for side, peer in case.peers.items():
        # A peer that computes something else by mistake is not timed.
        if agreement.get(side, {"same": True})["same"]:
            sides += [(side, setting) for setting in peer.settings if not settings or setting in settings]
    processes, found = [], []
    for side, setting in sides:
        python = sys.executable if side == "ours" else peer_python
        process = Process(module, name, side, setting, folder / "timed", python=python, tiny=tiny)
        answer = process.ask("start")
        found.append({"side": side, "setting": setting, **answer, "times_s": [], "cpu_s": []})
        processes.append(process)
    running = [pair for pair in zip(processes, found, strict=True) if "failed" not in pair[1]]
    if not running or running[0][0].side != "ours":
        raise SystemExit(f"{name}: our own side failed: {found[0]['failed']}")
    for turn in range(min(rounds, case.max_rounds)):
        # The order rotates, so that no side always follows the same one.
        first = turn % len(running)
        for process, record in running[first:] + running[:first]:
            time.sleep(PAUSE_S)
            answer = process.ask("round")
            record["times_s"].append(answer["seconds"])
            record["cpu_s"].append(answer["cpu_s"])
    for process, record in running:
        record |= process.ask("end")
    for process in processes:
        process.close()
    for record in found:
        if record["times_s"]:
            record["seconds"] = median(record["times_s"])
            record["per_second"] = case.count / record["seconds"]
            ratios = [theirs / ours for theirs, ours in zip(record["times_s"], found[0]["times_s"], strict=True)]
            record["ratio"] = {"median": median(ratios), "min": min(ratios), "max": max(ratios)}
    targets = {side: peer.target for side, peer in case.peers.items() if peer.target}
    return {"size": case.size, "unit": case.unit, "agreement": agreement, "targets": targets, "sides": found}


def heading(about: dict[str, Any]) -> str:
    """Return the description of the computer and the names of the columns.

    `GiB` is the peak memory of the process, or of the accelerator if there is one; `before` that before the first call
    (libraries and weights); `first s` is the time from the imports to the end of the first call, with compilation.
    """
    peaks = ", ".join(f"{name} {value:.0f}" for name, value in about["peak_gflop_s"].items())
    return (
        f"{about['processor']}, {about['threads']} threads, {about['memory_gib']} GiB; {about['busy_before']:.0%} busy"
        f" before; matrix products, GFLOP/s: {peaks or 'not measured'}\n\n{COLUMNS}"
    )


def table(name: str, case: dict[str, Any], peak_gflop_s: float = 0.0) -> str:
    """Return a line per side, then lines about agreement and targets."""
    lines = [f"{name}: {case['size']}"]
    flop = next((side["flop"].get("products", 0) for side in case["sides"] if side.get("flop")), 0)
    for side in case["sides"]:
        ours = side["side"] == "ours"
        label = f"  {side['side']}" + ("" if ours else f", {side['setting'].replace('_', ' ')}")
        if "seconds" not in side:
            lines.append(f"{label:34} skipped: {side['failed']}")
            continue
        ratio = side["ratio"]
        spread = "" if ours else f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
        # The operations are counted on our side; a peer may need more or fewer for the same result.
        share = f"{flop / 1e9 / side['seconds'] / peak_gflop_s:.0%}" if flop and peak_gflop_s and ours else ""
        count = f"{flop / 1e9:.2f}" if flop and ours else ""
        lines.append(
            f"{label:34} {1e3 * side['seconds']:9.2f} {1e3 * median(side['cpu_s']):9.2f} {spread:>23}"
            f" {side['per_second']:10.1f} {side['peak_gib']:6.2f} {side['base_gib']:6.2f} {count:>8} {share:>8}"
            f" {side['make_s'] + side['first_s']:8.1f}"
        )
    for side, found in case["agreement"].items():
        if "failed" in found:
            lines.append(f"  {side} could not be compared and was not timed: {found['failed']}")
        else:
            differences = ", ".join(f"{name} {value:.1e}" for name, value in found["differences"].items())
            verdict = "agrees" if found["same"] else "DOES NOT AGREE and was not timed"
            lines.append(f"  {side} {verdict}; largest differences: {differences}")
    lines += sorted({f"  {side['versions']}" for side in case["sides"] if "versions" in side})
    for side, target in case["targets"].items():
        # The best of the peer in the same precision.
        tuned = [
            one["ratio"]["median"]
            for one in case["sides"]
            if one["side"] == side and one["setting"].endswith("tuned") and "ratio" in one
            if not one["setting"].startswith("bfloat16")
        ]
        if tuned:
            verdict = "reached" if min(tuned) >= target else "MISSED"
            lines.append(f"  target against tuned {side} {target:g}: {verdict} ({min(tuned):.2f})")
    return "\n".join(lines) + "\n"


def compare(module: str, known: Mapping[str, Callable[[], Case]], names: list[str], flags: argparse.Namespace) -> None:
    """Measure cases one after the other, print the table and write `flags.output`."""
    with open(Path(tempfile.gettempdir()) / "jaxpara_side_by_side.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two comparisons at the same time would disturb each other
        about = computer.describe(0 if flags.tiny else 3000)
        report: dict[str, Any] = {"computer": about, "cases": {}}
        print(heading(about), flush=True)
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                settings = set(flags.settings)
                how = {"peer_python": flags.peer_python, "tiny": flags.tiny, "checked": not flags.unchecked}
                found = measure(module, name, known[name](), flags.rounds, settings, Path(folder), **how)
            report["cases"][name] = found
            print(table(name, found, max(about["peak_gflop_s"].values(), default=0)), flush=True)
            if flags.output:
                flags.output.write_text(json.dumps(report, indent=2) + "\n")


def main(module: str, cases: Callable[..., dict[str, Callable[[], Case]]], text: str | None, rounds: int) -> None:
    """Read the command line and compare the cases of a module of this package."""
    names = list(cases(tiny=False))
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=f"all by default: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--settings", nargs="+", default=[], help="of the peers, all by default")
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--unchecked", action="store_true", help="time both sides without comparing their outputs")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter of the peers' environment")
    parser.add_argument(
        "--tiny", action="store_true", help="sizes at which only outputs are compared; the times mean nothing"
    )
    flags = parser.parse_args()
    if unknown := [name for name in flags.case if name not in names]:
        parser.error(f"unknown {', '.join(unknown)}; expected some of {', '.join(names)}")
    compare(module, cases(tiny=flags.tiny), flags.case or names, flags)


if __name__ == "__main__":
    main("cases", cases, __doc__, rounds=7)
