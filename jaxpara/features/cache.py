"""Features on disk: each computed once per audio content, then read through the page cache.

A feature with its settings has a folder of its own, and in it:
  data.bin     the arrays, one after the other, each at a multiple of 64 bytes
  index.jsonl  for each array the hash of its audio file, its place, shape and checksum
  files.jsonl  the hash of each audio file as it was seen at one size and time, so that a start need not read it all
  feature.json what the folder holds, for people
The files only grow. Nothing that was written is written over, so readers in other processes are never disturbed; an
array that a kill tore or a disk spoiled fails its checksum at the next start, and is computed and appended anew.
"""

import fcntl
import hashlib
import json
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features import lines
from jaxpara.features.contents import hash_of, hashes_of
from jaxpara.features.feature import Feature
from jaxpara.files import mapped

ALIGNMENT = 64  # bytes; a cache line
CHUNK = 1 << 20  # bytes read at once where a file is only checked


class Cached(Mapping[str, np.ndarray]):
    """Read-only features by recording name, in the order of the recordings; each is read when it is asked for."""

    def __init__(self, feature: Feature, data: Path, entries: dict[str, dict[str, Any]]):
        self._feature, self._data, self._entries = feature, data, entries

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        return self._feature.expand(mapped(self._data, entry["dtype"], entry["shape"], entry["offset"]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def store(
    feature: Feature,
    recordings: Sequence[Recording],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[str, np.ndarray]:
    """The features of all recordings, computed where the folder does not hold them yet.

    Two processes may share the folder: one computes, the other waits and takes what it finds. A process that is killed
    loses the recordings that it was at, no others.

    Args:
      feature: what to compute; its class, version and fields choose the folder.
      recordings: of which to compute it. A renamed or moved file is known by its content, a changed one is not.
      folder: for all features of all corpora.
      progress: called with the number of recordings computed and to compute, after each.

    Returns:
      `[time, ...]` or `[height, width, channel]` by recording name, memory-mapped.

    Raises:
      UserError: a recording that cannot be read, is too short, or changes while it is read.
      OSError: the disk is full, or the folder cannot be written; what was stored until then stays usable.
    """
    home = _home(feature, folder)
    hashes = hashes_of([recording.path for recording in recordings], home / "files.jsonl")
    # The recordings of one content need one array.
    paths = {content: recording.path for recording, content in zip(recordings, hashes, strict=True)}
    entries = _entries(home, paths)
    if len(entries) < len(paths):
        with _locked(home):
            entries = _entries(home, paths)  # another process may have been at it
            missing = {content: path for content, path in paths.items() if content not in entries}
            for done, entry in enumerate(_computed(feature, missing, home), 1):
                entries[entry["audio"]] = entry
                if progress:
                    progress(done, len(missing))
    by_name = {recording.name: entries[content] for recording, content in zip(recordings, hashes, strict=True)}
    return Cached(feature, home / "data.bin", by_name)


def _home(feature: Feature, folder: Path) -> Path:
    description = json.dumps(feature.description(), sort_keys=True, indent=2)
    home = folder / f"{type(feature).__name__}-{hashlib.sha256(description.encode()).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "feature.json").exists():
        (home / "feature.json").write_text(description + "\n", encoding="utf-8")
    return home


def _entries(home: Path, wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The index entries of the wanted contents whose arrays are there and whole."""
    entries = {e["audio"]: e for e in lines.read(home / "index.jsonl") if e["audio"] in wanted}
    if not entries:
        return {}
    # Read and not mapped, so that a corpus larger than memory does not fill it.
    with _opened(home / "data.bin") as data:
        return {a: e for a, e in entries.items() if _checksum(data, e["offset"], e["bytes"]) == e["crc32"]}


def _checksum(data: int, offset: int, count: int) -> int | None:
    """Of a part of a file; None where the file ends before it."""
    checksum = 0
    end = offset + count
    while offset < end:
        chunk = os.pread(data, min(CHUNK, end - offset), offset)
        if not chunk:
            return None
        checksum = zlib.crc32(chunk, checksum)
        offset += len(chunk)
    return checksum


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file descriptor to read and write; not in append mode, in which Linux ignores the place to write at."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Keeps other processes from writing; the system frees the lock of a process that dies."""
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.warning("%s: another process computes these features; waiting for it", home)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _computed(feature: Feature, missing: Mapping[str, Path], home: Path) -> Iterator[dict[str, Any]]:
    """Computes and appends, and yields the index entries as they are written."""

    def compute(item: tuple[str, Path]) -> tuple[str, np.ndarray]:
        content, path = item
        waveform = audio.read(path, feature.sample_rate_hz)
        if hash_of(path) != content:
            raise UserError(f"{path}: changed while it was read; run again once the corpus is complete")
        try:
            return content, np.ascontiguousarray(feature.extract(waveform))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    with _opened(home / "data.bin") as data, _opened(home / "index.jsonl") as index:
        for content, array in _ahead(compute, missing.items(), os.cpu_count() or 1):
            entry = {
                "audio": content,
                "offset": math.ceil(os.fstat(data).st_size / ALIGNMENT) * ALIGNMENT,
                "bytes": array.nbytes,
                "dtype": array.dtype.str,
                "shape": array.shape,
                "crc32": zlib.crc32(array.data),
            }
            _append(data, array.data, entry["offset"])
            # Only now, so that a kill in between leaves bytes that no entry names.
            _append(index, lines.encode([entry]), os.fstat(index).st_size)
            yield entry


def _ahead(work: Callable, items: Iterable, workers: int) -> Iterator:
    """`map` in threads that keeps at most a few results waiting."""
    items = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        pending = deque(pool.submit(work, item) for item in islice(items, 2 * workers))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(items, 1))


def _append(file: int, content: bytes | memoryview, offset: int) -> None:
    """Writes at or after the end of a file; where that fails, a full disk gets back what was written."""
    size = os.fstat(file).st_size
    rest = memoryview(content).cast("B")
    try:
        while rest:
            written = os.pwrite(file, rest, offset)
            rest, offset = rest[written:], offset + written
    except OSError:
        os.ftruncate(file, size)
        raise
