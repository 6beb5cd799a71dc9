"""Sizes and complete writing of the simulated corpora, and the loudness baseline."""

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from sklearn.linear_model import Ridge

from jaxpara.corpora.challenge import MARKER
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.errors import UserError
from jaxpara.files import read_json, write_json
from jaxpara.predictions import ENSEMBLE, predictions_of
from jaxpara.registry import require_one_of

CONTEXT_S = 4.0  # of audio level before and after each label
FLOOR_DB = -80.0  # the level of digital silence
MAX_THREADS = 8  # simulating a speaker of 240 s needs half a gigabyte
PENALTY = 1e3  # of the ridge regression; anything from 1e2 to 1e4 gives the same


def size_of(
    presets: Mapping[str, Any], preset: str, speakers: Sequence[int] | None, what: str
) -> tuple[Any, tuple[int, ...]]:
    """Return a preset and the numbers of speakers in train, devel and test: the given ones, or the preset's.

    Raises:
      UserError: an unknown preset, or not three numbers from 1 to 100.
    """
    require_one_of(f"simulated {what} corpus: preset", preset, presets)
    size = presets[preset]
    counts = size.speakers if speakers is None else tuple(speakers)
    if len(counts) != 3 or not all(isinstance(count, int) and 1 <= count <= 100 for count in counts):
        raise UserError(f"simulated {what} corpus: speakers is {counts}, expected three counts from 1 to 100")
    return size, counts


def write_once(root: Path, parameters: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Write a corpus whole or not at all, unless it exists already.

    It is written to `.<name>.part` and renamed. If the process is killed, the next one clears that folder; a second
    process that needs the same corpus waits for the first.

    Args:
      root: the folder of the corpus.
      parameters: everything that the corpus depends on, as JSON values, for the marker file.
      fill: writes the files into a given folder, which has an empty `wav/` and `lab/`.

    Raises:
      UserError: `root` contains something else.
    """
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
        for name in ("wav", "lab"):
            (part / name).mkdir()
        fill(part)
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


def loudness_baseline(corpus: Corpus) -> pd.DataFrame:
    """Predict the belt from loudness alone: a ridge regression on the level from 4 s before to 4 s after a label.

    Args:
      corpus: a Breathing corpus with test recordings; trained on train and devel.

    Returns:
      The prediction table of the test partition.
    """
    known = corpus.partition("train", "devel")
    model = Ridge(alpha=PENALTY)
    model.fit(
        np.concatenate([_levels(recording, corpus.label_rate_hz) for recording in known]),
        np.concatenate([recording.labels for recording in known]),
    )
    test = corpus.partition("test")
    scores = [model.predict(_levels(recording, corpus.label_rate_hz)) for recording in test]
    return predictions_of(test, np.concatenate(scores)[:, None], *ENSEMBLE)


def _levels(recording: Recording, label_rate_hz: float) -> np.ndarray:
    """Return `[label, lag]` the audio level around each label in standard deviations of the file."""
    audio, rate_hz = soundfile.read(recording.path, dtype="float32", always_2d=True)
    step = round(rate_hz / label_rate_hz)
    count = len(recording.times_s)
    frames = np.resize(audio[: count * step, 0], count * step).reshape(count, step)
    level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 10 ** (FLOOR_DB / 10))
    level = ((level - level.mean()) / (level.std() + 1e-9)).astype(np.float32)  # 200 columns: half the memory
    reach = round(CONTEXT_S * label_rate_hz)
    return np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, mode="edge"), 2 * reach + 1)
