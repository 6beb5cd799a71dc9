"""Arrays on disk: one `.npy` file per recording, written whole or not at all, and memory-mapped when asked for.

A feature with its settings has a folder of its own. It contains feature.json, its settings, and a file per recording,
`<digest of the decoded samples>.npy`: a renamed or moved recording is found again, a changed one is not, and recordings
with the same samples share a file. Any of it may be deleted; missing and damaged files are computed again.
"""

import hashlib
import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxpara import processes
from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features.feature import Feature
from jaxpara.files import replacing

FITTED_FILE = "features.npz"


class ArrayFiles(Mapping[str, np.ndarray]):
    """Read-only arrays by recording name, each memory-mapped at access, so that no file is held open."""

    def __init__(self, paths: Mapping[str, Path], expand: Callable[[np.ndarray], np.ndarray] = lambda stored: stored):
        """Take files that `write_array` wrote, and what to make of an array at access."""
        self._paths, self._expand = paths, expand

    def __getitem__(self, name: str) -> np.ndarray:
        return self._expand(np.load(self._paths[name], mmap_mode="r").view(np.ndarray))

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array to a `.npy` file, whole or not at all. Several processes may write the same file at once.

    Raises:
      OSError: the disk is full, or the folder cannot be written.
    """
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        # Not by np.save, whose error would not name a full disk. Not synced to the disk either: that takes longer than
        # most features, and `is_intact` notices a file that a power cut left short.
        part.write_bytes(content.getbuffer())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_intact(path: Path) -> bool:
    """Return whether a file is an array with all its bytes, judged by its header and its size."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        return path.stat().st_size == array.offset + array.nbytes
    except Exception:  # NumPy raises many kinds for garbage
        return False


def load_features(
    feature: Feature,
    recordings: Sequence[Recording],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> ArrayFiles:
    """Return the features of all recordings, after computing those that the folder does not have yet.

    Several processes may share the folder. A process that is killed loses only the recordings it was working on.

    Args:
      feature: what to compute; its class, version and fields choose the subfolder.
      recordings: whose features; identified by `digest`, or by reading the audio if that is empty.
      folder: for all features of all corpora.
      progress: called with the number of recordings computed and to compute, after each.

    Returns:
      `[time, ...]` or a sequence of images by recording name, in the order of the recordings.

    Raises:
      UserError: a recording cannot be read, is too short, or has changed since its digest was computed.
      OSError: the disk is full, or the folder cannot be written; what was written until then stays usable.
    """
    home = _feature_folder(feature, folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(
            pool.map(lambda r: r.digest or digest_of(audio.read(r.path, feature.sample_rate_hz)), recordings)
        )
    paths = [home / f"{digest}.npy" for digest in digests]
    wanted = dict(zip(paths, zip(recordings, digests, strict=True), strict=True))
    missing = [path for path in wanted if not is_intact(path)]
    # Processes that share the folder start at different recordings, and skip what another one has finished by then.
    first = len(missing) * processes.index() // processes.count()

    def compute(path: Path) -> None:
        if is_intact(path):
            return
        recording, digest = wanted[path]
        waveform = audio.read(recording.path, feature.sample_rate_hz)
        if digest_of(waveform) != digest:
            raise UserError(f"{recording.path}: changed after it was checked; run again when the corpus is complete")
        try:
            array = feature.extract(waveform)
        except UserError as error:
            raise UserError(f"{recording.path}: {error}") from None
        write_array(path, array)

    # Threads help because NumPy, SciPy and libsndfile release the interpreter lock. Each writes what it has computed,
    # so that no results wait in memory.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done, _ in enumerate(pool.map(compute, missing[first:] + missing[:first]), 1):
            if progress:
                progress(done, len(missing))
    finally:
        pool.shutdown(cancel_futures=True)
    names = [recording.name for recording in recordings]
    return ArrayFiles(dict(zip(names, paths, strict=True)), feature.expand)


def digest_of(waveform: np.ndarray) -> str:
    """Return the SHA-256 of decoded float32 samples, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(waveform).data).hexdigest()


def _feature_folder(feature: Feature, folder: Path) -> Path:
    description = json.dumps(feature.description(), sort_keys=True, indent=2)
    home = folder / f"{type(feature).__name__}-{hashlib.sha256(description.encode()).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "feature.json").exists():
        (home / "feature.json").write_text(description + "\n", encoding="utf-8")
    return home


def fitted(folder: Path, names: Sequence[str], fit: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays that a feature has learned from a fold's training set, kept beside the fold.

    If they are missing or damaged, the main process computes and writes them first.

    Args:
      folder: of the fold.
      names: the recordings to learn from; empty for new audio after the training.
      fit: computes the arrays.

    Raises:
      UserError: they are missing or damaged, and there is nothing to learn from.
    """
    path = folder / FITTED_FILE

    def ensure() -> None:
        try:
            _read_fitted(path)
        except UserError:
            arrays = fit()
            with replacing(path) as part, part.open("wb") as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    if names:
        processes.on_main(ensure)
    return _read_fitted(path)


def _read_fitted(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except Exception as error:  # NumPy and zipfile raise many kinds
        found = "no such file" if isinstance(error, FileNotFoundError) else "not readable"
    raise UserError(f"{path}: {found}; run the training command once more with --mode=evaluate, which writes it")
