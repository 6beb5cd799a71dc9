"""Time and memory of our code beside PyTorch, librosa, matplotlib and NumPy doing the same.

    python -m benchmarks.side_by_side [CASE ...] [--rounds=7] [--output=FILE.json]

Needs `pip install -e ".[bench]"` and a machine with nothing else to do; how busy it was stands in the output. Every
side runs in a process of its own with as many threads. First the sides have to agree on the same weights and inputs;
then each is warmed up, and they take turns, round by round. Our code is what a run executes: the training step of the
config, the features and the search as they are called. PyTorch comes as it is and `tuned`: with our allocator setting,
channels last for pictures, and the fused optimizer; eager, compiled, and in bfloat16.

A ratio is the peer's time over ours in the same round: median, and smallest and largest of all rounds.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine, table
from benchmarks.cases import Case, cases
from benchmarks.worker import serve

PAUSE_S = 0.3  # threads of the one side that still spin would slow the next one down


class Process:
    """A worker; see `worker.serve`."""

    def __init__(self, case: str, side: str, setting: str, folder: Path, *, tiny: bool):
        self.side, self.setting = side, setting
        self._log = folder / f"{side}_{setting}.log"
        count = str(machine.threads())
        # Caches of compiled programs are empty at first, so that the first call shows what compiling costs.
        caches = {
            "JAXPARA_CACHE": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(folder / f"inductor_{setting}"),
        }
        command = [sys.executable, "-m", "benchmarks.side_by_side", "--worker", case, side, setting]
        self._process = subprocess.Popen(
            [*command, *(["--tiny"] if tiny else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
            text=True,
            env=os.environ | caches | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
        )

    def ask(self, *words: str) -> dict[str, Any]:
        """The worker's answer, `{"failed": ...}` where it has none."""
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


def agree(name: str, case: Case, folder: Path, *, tiny: bool) -> dict[str, dict[str, Any]]:
    """By peer that computes the same: the differences from ours, and whether they are small enough."""
    if not any(peer.same for peer in case.peers.values()):
        return {}
    folder.mkdir()
    ours = Process(name, "ours", "default", folder, tiny=tiny)
    file = folder / "ours.npz"
    answer = ours.ask("check", str(file))
    ours.close()
    if "failed" in answer:
        raise SystemExit(f"{name}: our own side failed: {answer['failed']}")
    found = {}
    for side, peer in case.peers.items():
        if not peer.same:
            continue
        process = Process(name, side, peer.settings[0], folder, tiny=tiny)
        answer = process.ask("check", "-", str(file))
        process.close()
        differences = answer.get("differences", {})
        same = bool(differences) and all(differences[key] <= most for key, most in case.tolerances.items())
        found[side] = {**answer, "same": same}
    return found


def measure(name: str, case: Case, rounds: int, wanted: set[str], folder: Path, *, tiny: bool) -> dict[str, Any]:
    """Everything about a case that the table and the file say."""
    agreement = agree(name, case, folder / "check", tiny=tiny)
    (folder / "timed").mkdir()
    sides = [("ours", "default")]
    for side, peer in case.peers.items():
        # A side that does something else is no peer.
        if agreement.get(side, {"same": True})["same"]:
            sides += [(side, setting) for setting in peer.settings if not wanted or setting in wanted]
    processes, found = [], []
    for side, setting in sides:
        process = Process(name, side, setting, folder / "timed", tiny=tiny)
        answer = process.ask("start")
        found.append({"side": side, "setting": setting, **answer, "times_s": []})
        processes.append(process)
    running = [pair for pair in zip(processes, found, strict=True) if "failed" not in pair[1]]
    if len(running) and running[0][0].side != "ours":
        raise SystemExit(f"{name}: our own side failed: {found[0]['failed']}")
    for turn in range(min(rounds, case.most_rounds)):
        # In another order each time, so that nobody always follows the same one.
        first = turn % max(1, len(running))
        for process, record in running[first:] + running[:first]:
            time.sleep(PAUSE_S)
            record["times_s"].append(process.ask("round")["seconds"])
    for process, record in running:
        record |= process.ask("end")
    for process in processes:
        process.close()
    for record in found:
        if record["times_s"]:
            record["seconds"] = median(record["times_s"])
            record["per_second"] = case.count / record["seconds"]
            pairs = zip(record["times_s"], found[0]["times_s"], strict=True)
            ratios = [theirs / ours for theirs, ours in pairs]
            record["ratio"] = {"median": median(ratios), "least": min(ratios), "most": max(ratios)}
    targets = {side: peer.target for side, peer in case.peers.items() if peer.target}
    return {
        "size": case.size, "unit": case.unit, "agreement": agreement, "targets": targets, "sides": found
    }  # fmt: skip


def main() -> None:
    known = cases(tiny=False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help=f"all by default: {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--settings", nargs="+", default=[], help="of the peers, all by default")
    parser.add_argument("--output", type=Path, help="a JSON file")
    parser.add_argument("--tiny", action="store_true", help="sizes that show agreement; the times mean nothing")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        serve(*flags.worker, tiny=flags.tiny)
        return
    if unknown := [name for name in flags.case if name not in known]:
        parser.error(f"unknown {', '.join(unknown)}; expected some of {', '.join(known)}")
    with open(Path(tempfile.gettempdir()) / "jaxpara_side_by_side.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at a time would measure each other
        report: dict[str, Any] = {"machine": machine.describe(500 if flags.tiny else 3000), "cases": {}}
        print(table.heading(report["machine"]), flush=True)
        for name in flags.case or known:
            case = cases(tiny=flags.tiny)[name]()
            with tempfile.TemporaryDirectory() as folder:
                found = measure(name, case, flags.rounds, set(flags.settings), Path(folder), tiny=flags.tiny)
            report["cases"][name] = found
            print(table.rows(name, found, report["machine"]), flush=True)
            if flags.output:
                flags.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
