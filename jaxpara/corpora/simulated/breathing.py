"""A simulated Breathing corpus: people who breathe and speak, with a belt around the chest.

It is written in the layout of the ComParE 2020 Breathing corpus (one speaker a file, 25 labels a second), with the
truth of the test rows in `labels_confidential.csv`. The speakers are those of `breather`, `voice` and `room`.

Loudness alone (`loudness_baseline`: ridge regression on the level from 4 s before to 4 s after) reaches a PCC of
about .57 on the test speakers of `demo` (.61 and .54 with seeds 0 and 12) and .49 on those of `full` (seed 0).
"""

import csv
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated.breather import LABEL_RATE_HZ, Breather, belt, breathe, plan
from jaxpara.corpora.simulated.folder import write_once
from jaxpara.corpora.simulated.room import Room, record
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Voice, speak
from jaxpara.errors import UserError
from jaxpara.registry import suggest

VERSION = 1  # of the generator: a changed one makes other files from the same seed
HEADER = ("filename", "timeFrame", "upper_belt")


class Size(NamedTuple):
    """Speakers in train, devel and test, and how long each of them speaks."""

    speakers: tuple[int, int, int]
    seconds: float


PRESETS = {"demo": Size((16, 16, 8), 30.0), "full": Size((17, 16, 16), 240.0)}


def simulate(seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One speaker.

    Returns:
      `[sample]` int16 audio at 16 kHz, `[label]` belt in [-1, 1] at 25 Hz.
    """
    voice, breather, room = Voice.draw(rng), Breather.draw(rng), Room.draw(rng)
    breaths = plan(breather, seconds, rng)
    labels = belt(breaths, breather, seconds, rng)
    sound = speak(voice, [phrase for breath in breaths for phrase in breath.phrases], seconds, rng)
    sound += breathe(breaths, breather, voice, seconds, rng)
    return record(sound, room, rng), labels


def write(
    root: Path,
    *,
    preset: str = "demo",
    seed: int = 0,
    speakers: tuple[int, int, int] | None = None,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes a simulated Breathing corpus in the ComParE layout, unless it is there already.

    Args:
      root: the corpus folder; new, empty, or holding the same simulated corpus.
      preset: one of `PRESETS`.
      seed: everything follows from it, and each speaker from it and the speaker's place alone.
      speakers: in train, devel and test; default: the preset's.
      seconds: per speaker, a multiple of 0.04; default: the preset's.
      progress: called with (files done, files in all).

    Raises:
      UserError: an unknown preset, an impossible size, or a folder that holds something else.
    """
    if preset not in PRESETS:
        known = sorted(PRESETS)
        near = suggest(preset, known)
        raise UserError(f"simulated Breathing corpus: no preset {preset!r}, expected one of {known}{near}")
    counts = PRESETS[preset].speakers if speakers is None else tuple(speakers)
    length_s = PRESETS[preset].seconds if seconds is None else float(seconds)
    if len(counts) != 3 or not all(isinstance(count, int) and 1 <= count <= 100 for count in counts):
        raise UserError(f"simulated Breathing corpus: speakers is {counts}, expected three counts from 1 to 100")
    labels = length_s * LABEL_RATE_HZ
    if not 8 <= length_s < np.inf or abs(labels - round(labels)) > 1e-6:
        raise UserError(f"simulated Breathing corpus: seconds is {length_s}, expected 8 or more, a multiple of 0.04")
    names = [f"{part}_{i:02d}.wav" for part, count in zip(PARTITIONS, counts, strict=True) for i in range(count)]

    def fill(folder: Path) -> None:
        (folder / "wav").mkdir()
        (folder / "lab").mkdir()

        def one(name: str) -> np.ndarray:
            partition, index = name.removesuffix(".wav").split("_")
            key = (PARTITIONS.index(partition), int(index))
            audio, belt_labels = simulate(length_s, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)))
            soundfile.write(folder / "wav" / name, audio, SAMPLE_RATE_HZ, subtype="PCM_16")
            return belt_labels

        # Threads: nearly all of the time is spent inside NumPy and SciPy, which let go of the interpreter.
        truth = {}
        pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))  # each needs about half a gigabyte for 240 s
        try:
            for name, made in zip(names, pool.map(one, names), strict=True):
                truth[name] = made
                if progress is not None:
                    progress(len(truth), len(names))
        finally:
            pool.shutdown(cancel_futures=True)
        for file_name, known in (("labels.csv", ("train", "devel")), ("labels_confidential.csv", PARTITIONS)):
            with (folder / "lab" / file_name).open("w", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(HEADER)
                for name, values in truth.items():
                    shown = name.startswith(tuple(known))
                    for i, value in enumerate(values):
                        rows.writerow((name, f"{i / LABEL_RATE_HZ:.2f}", f"{value:.5f}" if shown else "?"))

    parameters = {
        "generator": "jaxpara.corpora.simulated.breathing",
        "version": VERSION,
        "seed": seed,
        "speakers": list(counts),
        "seconds": length_s,
    }
    write_once(Path(root), parameters, fill)
