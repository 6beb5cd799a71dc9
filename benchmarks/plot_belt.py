"""Draws docs/belt.png: the belt and what a finished Breathing run predicts for a recording of test, with its sound.

Run `python -m benchmarks.plot_belt runs/breathing_e2e`. The recording is the one whose r is the median of all.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import soundfile

from jaxpara.corpora.challenge import TASKS, read
from jaxpara.predictions import load

SHOWN_S = 30.0
OUT = Path(__file__).parents[1] / "docs" / "belt.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    workdir = parser.parse_args().workdir
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    corpus = read(Path(results["corpus"]["root"]), TASKS["breathing"])
    predictions = load(workdir / "predictions" / "test.npz")
    belts = {
        recording: predictions[predictions["recording"] == recording.name]["score_0"].to_numpy()
        for recording in corpus.partition("test")
    }
    r = {recording: np.corrcoef(recording.truth, belt)[0, 1] for recording, belt in belts.items()}
    recording = sorted(r, key=r.__getitem__)[len(r) // 2]
    inside = recording.times_s < SHOWN_S
    sound, rate_hz = soundfile.read(recording.path, stop=round(SHOWN_S * corpus.task.sample_rate_hz))

    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 4.4), sharex=True, height_ratios=[1, 1.4])
    above.specgram(sound, NFFT=512, noverlap=384, Fs=rate_hz, vmin=-120, cmap="magma")
    above.set_ylabel("Hz")
    origin = "simulated speech" if results["simulated"] else "speech"
    above.set_title(f"{origin}, {recording.name} of test: r = {r[recording]:.2f}", loc="left", fontsize=10)
    below.plot(recording.times_s[inside], recording.truth[inside], color="#1f2933", label="breathing belt")
    below.plot(recording.times_s[inside], belts[recording][inside], color="#D55E00", label="predicted from the voice")
    below.set(xlim=(0, SHOWN_S), xlabel="seconds", ylabel="belt")
    below.legend(frameon=False, ncols=2, loc="upper right")
    below.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(OUT, dpi=90)
    print(OUT)


if __name__ == "__main__":
    main()
