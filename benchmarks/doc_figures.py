"""Draws the figures of the documentation.

    python -m benchmarks.doc_figures belt runs/breathing_e2e
    python -m benchmarks.doc_figures simulation

`belt` draws docs/belt.png: the belt and its prediction by a finished Breathing run, for the test recording with the
median r. `simulation` draws docs/breathing-simulation.png: audio and belt of simulated speakers.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from PIL import Image

from jaxpara import predictions
from jaxpara.corpora.read import read
from jaxpara.corpora.simulated import writing
from jaxpara.corpora.tasks import TASKS

DOCS = Path(__file__).parents[1] / "docs"


def spectrogram(axis: Any, waveform: np.ndarray, rate_hz: int, title: str) -> None:
    axis.specgram(waveform, NFFT=512, noverlap=384, Fs=rate_hz, vmin=-120, cmap="magma")
    axis.set_ylabel("Hz")
    axis.set_title(title, loc="left", fontsize=10)


def belt(workdir: Path, seconds: float = 30.0) -> tuple[Any, Path]:
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    corpus = read(Path(results["corpus"]["root"]), TASKS["breathing"])
    table = predictions.load(workdir / "predictions" / "test.npz")
    belts = {str(name): rows["score_0"].to_numpy() for name, rows in table.groupby("recording")}
    r = {name: np.corrcoef(corpus.by_name[name].truth, belt)[0, 1] for name, belt in belts.items()}
    name = sorted(r, key=r.__getitem__)[len(r) // 2]
    recording = corpus.by_name[name]
    inside = recording.times_s < seconds
    waveform, rate_hz = soundfile.read(recording.path, stop=round(seconds * corpus.task.sample_rate_hz))

    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 4.4), sharex=True, height_ratios=[1, 1.4])
    origin = "simulated speech" if results["simulated"] else "speech"
    spectrogram(above, waveform, rate_hz, f"{origin}, test recording {name}: r = {r[name]:.2f}")
    below.plot(recording.times_s[inside], recording.truth[inside], color="#1f2933", label="breathing belt")
    below.plot(recording.times_s[inside], belts[name][inside], color="#D55E00", label="predicted from the voice")
    below.set(xlim=(0, seconds), ylim=(-1.15, 1.55), xlabel="seconds", ylabel="belt")
    below.legend(frameon=False, ncols=2, loc="upper right")
    below.grid(axis="x", alpha=0.3)
    return figure, DOCS / "belt.png"


def simulation(seconds: float = 24.0, names: tuple[str, ...] = ("train_00.wav", "train_01.wav")) -> tuple[Any, Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "corpus"
        writing.write("breathing", root, seed=0, speakers=(2, 1, 1), seconds=60.0)
        figure, axes = plt.subplots(
            2 * len(names), 1, figsize=(11, 7.5), sharex=True, height_ratios=[2, 1.3] * len(names)
        )
        for name, above, below in zip(names, axes[::2], axes[1::2], strict=True):
            waveform, rate_hz = soundfile.read(root / "wav" / name, stop=round(seconds * 16_000))
            with (root / "lab" / "labels.csv").open(newline="") as file:
                belt = [float(row["upper_belt"]) for row in csv.DictReader(file) if row["filename"] == name]
            belt = belt[: round(seconds * 25)]
            spectrogram(above, waveform, rate_hz, f"simulated speaker, {name}")
            below.plot(np.arange(len(belt)) / 25, belt, color="tab:blue")
            below.set(ylabel="belt", ylim=(-1.05, 1.05))
            below.grid(alpha=0.3)
    axes[-1].set(xlim=(0, seconds), xlabel="seconds")
    return figure, DOCS / "breathing-simulation.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("belt", "simulation"))
    parser.add_argument("workdir", type=Path, nargs="?", help="of a finished run, for `belt`")
    flags = parser.parse_args()
    if flags.figure == "belt" and not flags.workdir:
        parser.error("`belt` needs the workdir of a finished run")
    figure, out = belt(flags.workdir) if flags.figure == "belt" else simulation()
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    # 64 colours are enough, and make a file much smaller.
    with Image.open(out) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    main()
