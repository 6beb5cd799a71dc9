"""A simulated Breathing corpus: people who breathe and speak, with a belt around the chest.

It is written in the layout of the ComParE 2020 Breathing corpus (one speaker a file, 25 labels a second), with the
truth of the test rows in `labels_confidential.csv`. The speakers are those of `breather`, `voice` and `room`.

Loudness alone (`loudness_baseline`: ridge regression on the level from 4 s before to 4 s after) reaches a PCC of
about .57 on the test speakers of `demo` (.61 and .54 with seeds 0 and 12) and .49 on those of `full` (seed 0).
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated.breather import LABEL_RATE_HZ, Breather, belt, breathe, plan
from jaxpara.corpora.simulated.folder import counts_of, preset_of, write_once
from jaxpara.corpora.simulated.room import Room, record
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Voice, speak
from jaxpara.corpora.threads import in_threads
from jaxpara.errors import UserError

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
    size = preset_of(PRESETS, preset, "Breathing")
    counts = counts_of(speakers, size.speakers, "Breathing")
    length_s = size.seconds if seconds is None else float(seconds)
    labels = length_s * LABEL_RATE_HZ
    if not 8 <= length_s < np.inf or abs(labels - round(labels)) > 1e-6:
        raise UserError(f"simulated Breathing corpus: seconds is {length_s}, expected 8 or more, a multiple of 0.04")
    places = [(part, index) for part, count in enumerate(counts) for index in range(count)]

    def fill(folder: Path) -> None:
        def one(place: tuple[int, int]) -> tuple[str, np.ndarray]:
            part, index = place
            name = f"{PARTITIONS[part]}_{index:02d}.wav"
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))
            audio, belt_labels = simulate(length_s, rng)
            soundfile.write(folder / "wav" / name, audio, SAMPLE_RATE_HZ, subtype="PCM_16")
            return name, belt_labels

        truth = in_threads(one, places, progress)
        for file_name, known in (("labels.csv", ("train", "devel")), ("labels_confidential.csv", PARTITIONS)):
            with (folder / "lab" / file_name).open("w", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(HEADER)
                for name, values in truth:
                    shown = name.startswith(known)
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
