"""A simulated Mask corpus: people who speak with and without a surgical mask, in clips of a second.

Every speaker records both classes in each of several sessions, so that a session does not give the class away, while
its room, microphone, level and noise change the sound by more than the mask does.

A linear SVM on means and percentiles of Mel bands finds about seven of ten clips of new speakers, as such systems do
on the real corpus.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated.folder import counts_of, preset_of, write_once
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ
from jaxpara.corpora.simulated.wearer import Session, Wearer, take
from jaxpara.corpora.threads import in_threads
from jaxpara.errors import UserError

VERSION = 1  # of the generator: a changed one makes other files from the same seed
SESSIONS = 4  # per speaker
MASKED = 0.53  # of the clips of each speaker, as in the real corpus


class Size(NamedTuple):
    """Speakers and clips in train, devel and test.

    `spread` is the standard deviation of the logarithm of how many clips a speaker has.
    """

    speakers: tuple[int, int, int]
    clips: tuple[int, int, int]
    spread: float


PRESETS = {"demo": Size((12, 10, 10), (720, 600, 600), 0.0), "full": Size((12, 10, 10), (10895, 14647, 11012), 0.6)}


def simulate(clips: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One speaker.

    Returns:
      `[clip, sample]` int16 audio at 16 kHz, `[clip]` whether the speaker wears the mask.
    """
    wearer, masked = Wearer.draw(rng), round(MASKED * clips)
    audio, labels = [], []
    for i in range(SESSIONS):
        session = Session.draw(rng)
        for label, total in ((False, clips - masked), (True, masked)):
            count = (i + 1) * total // SESSIONS - i * total // SESSIONS
            audio.append(take(wearer, session, label, count, rng))
            labels += [label] * count
    return np.concatenate(audio), np.array(labels)


def _shares(total: int, speakers: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """`[speaker]` how many of the clips are whose."""
    weights = np.exp(spread * rng.standard_normal(speakers))
    ends = np.round(total * np.cumsum(weights) / weights.sum()).astype(int)
    return np.diff(ends, prepend=0)


def write(
    root: Path,
    *,
    preset: str = "demo",
    seed: int = 0,
    speakers: tuple[int, int, int] | None = None,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes a simulated Mask corpus in the ComParE layout, unless it is there already.

    Args:
      root: the corpus folder; new, empty, or holding the same simulated corpus.
      preset: one of `PRESETS`.
      seed: everything follows from it.
      speakers: in train, devel and test; default: the preset's.
      seconds: of speech, so clips, of each speaker; default: the preset's, which in `full` differ between speakers.
      progress: called with (files done, files in all).

    Raises:
      UserError: an unknown preset, an impossible size, or a folder that holds something else.
    """
    size = preset_of(PRESETS, preset, "Mask")
    people = counts_of(speakers, size.speakers, "Mask")
    if seconds is not None and not (8 <= seconds <= 5000 and seconds == int(seconds)):
        raise UserError(f"simulated Mask corpus: seconds is {seconds}, expected a whole number from 8 to 5000")

    def fill(folder: Path) -> None:
        jobs, names = [], []
        for part, partition in enumerate(PARTITIONS):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(part,)))
            if seconds is None:
                total = round(size.clips[part] * people[part] / size.speakers[part])
                shares = _shares(total, people[part], size.spread, rng)
            else:
                shares = np.full(people[part], int(seconds))
            # Neither the order of the files nor their names tell speaker or class.
            numbers = np.split(1 + rng.permutation(shares.sum()), np.cumsum(shares)[:-1])
            names += [f"{partition}_{number:05d}.wav" for number in range(1, 1 + shares.sum())]
            for i, mine in enumerate(numbers):
                jobs.append(((part, i), f"s{len(jobs) + 1:02d}", [f"{partition}_{number:05d}.wav" for number in mine]))

        def one(job: tuple[tuple[int, int], str, list[str]]) -> dict[str, tuple[str, str]]:
            key, speaker, files = job
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            audio, masked = simulate(len(files), rng)
            for name, clip in zip(files, audio, strict=True):
                soundfile.write(folder / "wav" / name, clip, SAMPLE_RATE_HZ, subtype="PCM_16")
            labels = ["mask" if label else "clear" for label in masked]
            return {name: (label, speaker) for name, label in zip(files, labels, strict=True)}

        ends = np.cumsum([len(files) for _, _, files in jobs]).tolist()

        def clips(done: int, _: int) -> None:
            if progress is not None:
                progress(ends[done - 1], len(names))

        truth = {name: told for made in in_threads(one, jobs, clips) for name, told in made.items()}
        shown = {name: "?" if name.startswith("test") else truth[name][0] for name in names}
        _table(folder / "lab" / "labels.csv", "label", shown)
        _table(folder / "lab" / "labels_confidential.csv", "label", {name: truth[name][0] for name in names})
        _table(folder / "lab" / "speakers.csv", "speaker", {name: truth[name][1] for name in names})

    parameters = {
        "generator": "jaxpara.corpora.simulated.mask",
        "version": VERSION,
        "seed": seed,
        "preset": preset,
        "speakers": list(people),
        "seconds": seconds,
    }
    write_once(Path(root), parameters, fill)


def _table(path: Path, column: str, values: dict[str, str]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file_name", column))
        rows.writerows(values.items())
