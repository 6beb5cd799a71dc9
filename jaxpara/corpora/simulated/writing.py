"""Writing of simulated corpora, whole or not at all."""

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from jaxpara.corpora.audio import in_threads
from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.read import MARKER
from jaxpara.corpora.simulated import breathing, mask
from jaxpara.corpora.simulated.voice import SAMPLE_RATE_HZ, Speaker
from jaxpara.errors import UserError
from jaxpara.files import read_json, write_json
from jaxpara.registry import require_one_of

SIMULATORS: dict[str, Any] = {"breathing": breathing, "mask": mask}
MAX_THREADS = 8  # simulating a speaker of 240 s needs half a gigabyte


def write(
    task: str,
    root: Path,
    *,
    preset: str = "demo",
    seed: int = 0,
    speakers: Sequence[int] | None = None,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated corpus, unless it exists already.

    It is written to `.<name>.part` and renamed. If the process is killed, the next one clears that folder; a second
    process that needs the same corpus waits for the first.

    Args:
      root: the corpus folder: new, empty, or with the same simulated corpus.
      seed: a speaker depends on the seed, the partition and its number in the partition only.
      speakers: numbers in train, devel and test; default: the preset's.
      seconds: of each recording of Breathing, or of speech, and so the clips, of each speaker of Mask; default: the
        preset's, which differ by speaker in Mask's `full`.
      progress: called with the number of written files and of all files.

    Raises:
      UserError: an unknown preset, an impossible size, or a folder that contains something else.
    """
    simulator, what = SIMULATORS[task], f"simulated {task.title()} corpus"
    require_one_of(f"{what}: preset", preset, simulator.PRESETS)
    size = simulator.PRESETS[preset]
    counts = size["speakers"] if speakers is None else tuple(speakers)
    seconds = size.get("seconds") if seconds is None else seconds
    if len(counts) != 3 or not all(isinstance(count, int) and 1 <= count <= 100 for count in counts):
        raise UserError(f"{what}: speakers is {counts}, expected three counts from 1 to 100")
    people = simulator.plan_corpus(size, counts, seconds, seed)
    parameters = {"generator": simulator.__name__, "version": simulator.VERSION, "seed": seed}
    parameters |= {} if "seconds" in size else {"preset": preset}
    parameters |= {"speakers": list(counts), "seconds": seconds}
    if _finished(root, parameters):
        return
    part = root.with_name(f".{root.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    # The lock is on the folder itself, so that it needs no file of its own and moves with the folder.
    lock = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _finished(root, parameters):  # by another process, while this one waited
            shutil.rmtree(part, ignore_errors=True)
            return
        for stale in part.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        _fill(part, simulator, people, seed, progress)
        write_json(part / MARKER, parameters)
        part.replace(root)
    finally:
        os.close(lock)


def _finished(root: Path, parameters: dict[str, Any]) -> bool:
    """Return True if `root` is exactly this corpus, False if it is empty or missing; otherwise raise a UserError."""
    marker = root / MARKER
    if not marker.exists():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(
                f"{root}: contains files but no {MARKER}; a simulated corpus needs an empty or a new folder"
            )
        return False
    found = read_json(marker, f"delete {root} and run again")
    for key, value in parameters.items():
        if found.get(key) != value:
            raise UserError(
                f"{marker}: {key} is {found.get(key)!r}, expected {value!r}; delete {root} or choose another folder"
            )
    return True


def generator(speaker: Speaker, seed: int) -> np.random.Generator:
    """Return the generator of all random numbers of a speaker, who is the same in corpora of any size."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=speaker.key))


def _fill(
    folder: Path, simulator: Any, people: Sequence[Speaker], seed: int, progress: Callable[[int, int], None] | None
) -> None:
    """Write the audio, the labels and, if speakers have several files, the speakers."""
    wav, lab = folder / "wav", folder / "lab"
    wav.mkdir()
    lab.mkdir()

    def write_speaker(speaker: Speaker) -> list[tuple[str, ...]]:
        clips, rows = simulator.simulate(speaker, generator(speaker, seed))
        for name, clip in zip(speaker.files, clips, strict=True):
            soundfile.write(wav / name, clip, SAMPLE_RATE_HZ, subtype="PCM_16")
        return rows

    def count_files(done: int, _: int) -> None:
        if progress is not None:
            progress(ends[done - 1], ends[-1])

    def write_table(name: str, rows: Sequence[tuple[str, ...]], columns: list[str]) -> None:
        rows = sorted(rows, key=lambda row: (PARTITIONS.index(row[0].split("_")[0]), row[0]))
        pd.DataFrame(rows, columns=columns).to_csv(lab / name, index=False, lineterminator="\n")

    ends = np.cumsum([len(speaker.files) for speaker in people]).tolist()
    rows = list(chain.from_iterable(in_threads(write_speaker, people, count_files, MAX_THREADS)))
    write_table("labels_confidential.csv", rows, simulator.HEADER)
    hidden = [(*row[:-1], "?" if row[0].startswith("test") else row[-1]) for row in rows]
    write_table("labels.csv", hidden, simulator.HEADER)
    if ends[-1] > len(people):
        owners = [(name, f"s{number:02d}") for number, speaker in enumerate(people, 1) for name in speaker.files]
        write_table("speakers.csv", owners, ["file_name", "speaker"])
