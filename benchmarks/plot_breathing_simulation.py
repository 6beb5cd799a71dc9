"""Draws docs/breathing-simulation.png: what a simulated speaker sounds like and what the belt shows.

Run `python -m benchmarks.plot_breathing_simulation`.
"""

import csv
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile

from jaxpara.corpora.simulated import breathing

SEED = 0
SHOWN_S = 24.0
SPEAKERS = ("train_00.wav", "train_01.wav")
OUT = Path(__file__).parents[1] / "docs" / "breathing-simulation.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "corpus"
        breathing.write(root, seed=SEED, speakers=(2, 1, 1), seconds=60.0)
        figure, axes = plt.subplots(
            2 * len(SPEAKERS), 1, figsize=(11, 7.5), sharex=True, height_ratios=[2, 1.3] * len(SPEAKERS)
        )
        for name, sound_axis, belt_axis in zip(SPEAKERS, axes[::2], axes[1::2], strict=True):
            audio, rate_hz = soundfile.read(root / "wav" / name, stop=round(SHOWN_S * 16_000))
            with (root / "lab" / "labels.csv").open(newline="") as file:
                belt = [float(row["upper_belt"]) for row in csv.DictReader(file) if row["filename"] == name]
            belt = belt[: round(SHOWN_S * 25)]
            sound_axis.specgram(audio, NFFT=512, noverlap=384, Fs=rate_hz, vmin=-120, cmap="magma")
            sound_axis.set_ylabel("Hz")
            sound_axis.set_title(f"simulated speaker, {name}", loc="left", fontsize=10)
            belt_axis.plot(np.arange(len(belt)) / 25, belt, color="tab:blue")
            belt_axis.set_ylabel("belt")
            belt_axis.set_ylim(-1.05, 1.05)
            belt_axis.grid(alpha=0.3)
        axes[-1].set_xlim(0, SHOWN_S)
        axes[-1].set_xlabel("seconds")
        figure.tight_layout()
        OUT.parent.mkdir(exist_ok=True)
        figure.savefig(OUT, dpi=90)
    print(OUT)


if __name__ == "__main__":
    main()
