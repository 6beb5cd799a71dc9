"""Helpers of the tables of user errors: each row damages something, runs a command and expects one error line."""

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
    """One mistake and the error line that it must cause, a regular expression.

    With `run` the workdir has a finished run; `flags` may contain {folder}.
    """

    name: str
    line: str
    flags: tuple[str, ...] = ()
    spoil: Spoil | None = None
    run: bool = False
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)
    config: str = CONFIG


class Hostile:
    """A pickle that writes a file when it is loaded."""

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
def valid_corpus(folder: Path, *, trained: bool):
    """Write a valid corpus to a folder, with a finished run if `trained`, and yield the command server."""
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


def copied(source, folder, *, with_run):
    """Copy the files of `valid_corpus`, and return the flags for them."""
    for name in ("corpus", "run")[: 1 + with_run]:
        shutil.copytree(source / name, folder / name)
    return f"--config.corpus.root={folder / 'corpus'}", f"--workdir={folder / 'run'}"


def damaged(folder):
    """Return the files in a folder that are incomplete."""
    return {path for path in folder.rglob("*") if path.is_file() and not complete(path)}


def complete(path):
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".npz", ".skops"):
            return zipfile.is_zipfile(path)
        return path.suffix != ".part" and (path.suffix != ".html" or path.read_text().endswith("</html>"))
    except ValueError:
        return False


def assert_one_line(row, launch, source, folder):
    """Assert that the command fails with exit status 1 and one line about the mistake and its fix.

    No file is incomplete afterwards, no content of a file is executed, and no traceback is shown.
    """
    defaults = copied(source, folder, with_run=row.run)
    if row.spoil:
        row.spoil(folder)
    before = damaged(folder)
    flags = [flag.format(folder=folder) if "{folder}" in flag else flag for flag in (row.config, *defaults, *row.flags)]
    outcome = launch(*flags, **row.environment)
    assert outcome.status == 1, outcome
    *others, line = outcome.err.splitlines()
    assert all(each.startswith("error: ") for each in (*others, line))
    assert not others or "more error" in line  # a corpus can have several errors
    assert "Traceback" not in outcome.out
    assert re.search(row.line, line), line
    assert damaged(folder) <= before
    assert not any(Path(where, "executed").exists() for where in (".", folder))
