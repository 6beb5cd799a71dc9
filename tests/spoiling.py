"""Rows of the tables of user errors: what is damaged, how, with which flags, and the expected error message."""

import contextlib
import csv
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from commands import serving

RATE_HZ = 16_000
CONFIG = "--config=tests/small.py"
CNN, SVR, TOP = ("--config.members." + name for name in ("cnn", "svr", "top"))
EVALUATE = "--mode=evaluate"
LABELS = "corpus/lab/labels.csv"
NOISE = np.random.default_rng(7).uniform(-0.1, 0.1, 4 * RATE_HZ)

Spoil = Callable[[Path], None]


class Row(NamedTuple):
    """An error: `spoil` causes it in a copy of the corpus (with `run`, of a finished run); `flags` may use {folder}."""

    name: str
    line: str
    flags: tuple[str, ...] = ()
    spoil: Spoil | None = None
    run: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)
    config: str = CONFIG


class Hostile:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def text(path: str, content: str | bytes) -> Spoil:
    return lambda folder: (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)


def gone(*paths: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in (found for pattern in paths for found in folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def emptied(path: str) -> Spoil:
    return both(gone(path), lambda folder: (folder / path).mkdir())


def both(*spoils: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        for each in spoils:
            each(folder)

    return spoil


@contextlib.contextmanager
def valid(folder: Path, *, trained: bool):
    """Write a valid corpus to a folder, if `trained` also a finished run on it, and yield the server."""
    (folder / "corpus/wav").mkdir(parents=True)
    (folder / "corpus/lab").mkdir()
    rng, rows = np.random.default_rng(0), [("filename", "timeFrame", "upper_belt")]
    for part, count in (("train", 4), ("devel", 4), ("test", 2)):
        for number in range(count):
            name = f"{part}_{number:02d}.wav"
            soundfile.write(folder / "corpus/wav" / name, 0.1 * rng.uniform(-1, 1, 4 * RATE_HZ), RATE_HZ, "PCM_16")
            belt = np.round(np.sin(np.arange(100) / 8 + number), 5)
            rows += [(name, f"{t / 25:.2f}", "?" if part == "test" else belt[t] or 0.0) for t in range(100)]
    with (folder / LABELS).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    with serving(folder / "cache") as launch:
        if trained:
            outcome = launch(CONFIG, f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}")
            assert outcome.status == 0, outcome.err
        yield launch


def copied(whole_folder, folder, *, with_run):
    """Copy what `valid` wrote, and return the flags that name it."""
    for name in ("corpus", "run")[: 1 + with_run]:
        shutil.copytree(whole_folder / name, folder / name)
    return f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}"


def torn(folder):
    """Return the incomplete files of a workdir."""
    return {path for path in folder.rglob("*") if path.is_file() and not whole(path)}


def whole(path):
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".npz", ".skops"):
            return zipfile.is_zipfile(path)
        return path.suffix != ".part" and (path.suffix != ".html" or path.read_text().endswith("</html>"))
    except ValueError:
        return False


def assert_one_line(row, launch, whole_folder, folder):
    """Assert that a command fails with exit status 1 and one line: where the error is and how to fix it.

    No file is half-written, no code from a file is executed, and no traceback is shown.
    """
    defaults = copied(whole_folder, folder, with_run=row.run)
    if row.spoil:
        row.spoil(folder)
    before = torn(folder)
    flags = [flag.format(folder=folder) if "{folder}" in flag else flag for flag in (row.config, *defaults, *row.flags)]
    outcome = launch(*flags, **row.environment)
    assert outcome.status == 1, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in outcome.out
    assert re.search(row.line, line), line
    assert torn(folder) <= before
    assert not any(Path(where, "executed").exists() for where in (".", folder))
