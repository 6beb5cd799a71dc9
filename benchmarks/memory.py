"""Measures memory and time of a whole run by hours of speech, for each part from the corpus check to the report.

    python -m benchmarks.memory --hours 3 10 30

Writes corpora of noise whose loudness follows a belt, in the ComParE layout, to a temporary folder (30 hours are 3.5 GB
of audio and 7 GB of features), and runs the command line on each as a user would: Breathing system 2 with a narrow
network, two folds, one epoch, adjacent windows. Samples that process ten times a second. Prints its resident memory
(its own, and pages of mapped files), the time of each part, and the fraction of training spent waiting for data. The
smallest corpus has 0.4 hours.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
RATE_HZ, LABEL_RATE_HZ, SECONDS = 16_000, 25, 240
# Words in the output of a run, and the part that a line with them belongs to. It is printed when the part starts (those
# in STARTS), or when it is done (the others).
PARTS = {
    "checking the corpus": "check",
    "cnn: features": "features",
    "steps": "training",
    "epochs": "training",
    "predicting": "prediction",
    "scoring": "report",
}
STARTS = ("prediction", "report")
FLAGS = (
    "--config.members.cnn.learner.model.filters=(8,8,8,8)",
    "--config.members.cnn.learner.model.lstm=(8,8)",
    "--config.members.cnn.learner.examples.step_s=16.0",
    "--config.members.cnn.learner.epochs=1",
    "--config.members.cnn.folds.n=2",
)


def write_corpus(root: Path, hours: float) -> None:
    """Write recordings of 240 s, a third in each partition."""
    count = max(6, round(hours * 3600 / SECONDS))
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    times_s = np.arange(SECONDS * LABEL_RATE_HZ) / LABEL_RATE_HZ
    per_label = RATE_HZ // LABEL_RATE_HZ
    with (root / "lab/labels.csv").open("w") as public, (root / "lab/labels_confidential.csv").open("w") as whole:
        for file in (public, whole):
            file.write("filename,timeFrame,upper_belt\n")
        for number in range(count):
            random = np.random.default_rng(number)
            partition = ("train", "devel", "test")[3 * number // count]
            name = f"{partition}_{number:04d}.wav"
            belt = np.sin(2 * np.pi * np.cumsum(random.normal(0.25, 0.05, len(times_s))) / LABEL_RATE_HZ)
            loud = np.repeat(0.1 * (1.2 + belt).astype(np.float32), per_label)
            soundfile.write(root / "wav" / name, random.random(len(loud), np.float32) * loud, RATE_HZ, "PCM_16")
            for at, value in zip(times_s.tolist(), belt.tolist(), strict=True):
                public.write(f"{name},{at:.2f},{'?' if partition == 'test' else f'{value:.6f}'}\n")
                whole.write(f"{name},{at:.2f},{value:.6f}\n")


def sample(process: subprocess.Popen, samples: list[tuple[float, float, float]]) -> None:
    """Append the time and the resident memory in GiB: the process's own, and pages of files."""
    while process.poll() is None:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            return
        kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith("Rss")}
        if kib:
            samples.append((time.monotonic(), kib["RssAnon"] / 2**20, (kib["RssFile"] + kib["RssShmem"]) / 2**20))
        time.sleep(0.1)


def measure(hours: float, folder: Path) -> dict[str, Any]:
    """Run the command line once on a corpus of this length."""
    write_corpus(folder / "corpus", hours)
    command = [sys.executable, "launch.py", "--config=configs/breathing_e2e.py", *FLAGS]
    process = subprocess.Popen(
        [*command, f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}"],
        cwd=ROOT, env={**os.environ, "JAXPARA_CACHE": str(folder / "cache")}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    samples: list[tuple[float, float, float]] = []
    sampler = threading.Thread(target=sample, args=(process, samples))
    began = time.monotonic()
    sampler.start()
    spans, since, doing = [], began, ""
    assert process.stdout
    for line in process.stdout:
        now = time.monotonic()
        part = next((part for word, part in PARTS.items() if word in line), "")
        if doing or part:
            spans.append((doing or part, since, now))
            since = now
        doing = part if part in STARTS else ""
    ended = time.monotonic()
    sampler.join()
    if process.wait():
        raise SystemExit(f"the run on {hours:g} hours failed")
    spans.append(("report", since, ended))
    lines = [json.loads(line) for path in folder.rglob("metrics.jsonl") for line in path.read_text().splitlines()]
    waiting = [line["waiting"] for line in lines if line.get("waiting") is not None]
    parts = {}
    for name in dict.fromkeys(PARTS.values()):
        own = [(a, b) for part, a, b in spans if part == name]
        inside = [s for s in samples if any(a <= s[0] < b for a, b in own)]
        parts[name] = {
            "seconds": sum(b - a for a, b in own),
            "gib": max((anon + file for _, anon, file in inside), default=float("nan")),
            "anonymous_gib": max((anon for _, anon, _ in inside), default=float("nan")),
        }
    return {
        "hours": hours,
        "seconds": ended - began,
        "peak_gib": max(anon + file for _, anon, file in samples),
        "parts": parts,
        "waiting": float(np.mean(waiting)) if waiting else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[3.0, 10.0, 30.0])
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder for the corpora")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    flags = parser.parse_args()
    names = list(dict.fromkeys(PARTS.values()))
    print("peak resident GiB (the process's own), and seconds, by part of the run")
    print(f"{'hours':>5} {'peak':>6} {'waiting':>8}" + "".join(f"{name:>22}" for name in names), flush=True)
    found = []
    for hours in flags.hours:
        with tempfile.TemporaryDirectory(prefix=f"{hours:g}h_", dir=flags.scratch) as folder:
            run = measure(hours, Path(folder))
        found.append(run)
        waiting = "-" if run["waiting"] is None else f"{run['waiting']:.1%}"
        cells = "".join(
            f"{p['gib']:8.2f} ({p['anonymous_gib']:.2f}){p['seconds']:5.0f} s" for p in run["parts"].values()
        )
        print(f"{hours:5g} {run['peak_gib']:6.2f} {waiting:>8}{cells}", flush=True)
    if len(found) > 1:
        slope, start = np.polyfit([run["hours"] for run in found], [run["peak_gib"] for run in found], 1)
        print(f"growth: {1024 * slope:.1f} MiB per hour of speech on {start:.2f} GiB")
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
