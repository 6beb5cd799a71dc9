"""Arrays on disk: one `.npy` file per recording, written whole or not at all, and memory-mapped at access.

Every feature configuration has a folder with its settings, `feature.json`, and a file per recording,
`<digest>.npy` after the decoded samples and their rate: a renamed or moved recording is found again, a changed one is
not, and recordings with the same samples share a file. All of them may be deleted; missing and damaged files are
computed again.
"""

import hashlib
import io
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxpara import processes
from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.features.feature import Feature
from jaxpara.files import replacing

FITTED_FILE = "features.npz"
# NumPy parses the header of a file with `ast`, which Python 3.11 cannot do in two threads at once ("AST constructor
# recursion depth mismatch").
_READING = threading.Lock()


class LazyArrays(Mapping[str, np.ndarray]):
    """Arrays by recording name, each made by `load` at access."""

    def __init__(self, names: Iterable[str], load: Callable[[str], np.ndarray]):
        self._names, self._load = dict.fromkeys(names), load

    def __getitem__(self, name: str) -> np.ndarray:
        return self._load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_array(path: Path) -> np.ndarray:
    """Return the array in a file of `write_array`, memory-mapped; the file is open as long as the array exists."""
    with _READING:
        return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array to a `.npy` file, whole or not at all. Several processes may write the same file at once."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        # Not with np.save, whose error does not mention a full disk. Not synced to the disk: that is slower than most
        # features, and `is_intact` detects a file that was cut short by a power failure.
        part.write_bytes(content.getbuffer())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def is_intact(path: Path) -> bool:
    """Return True if a file is an array of the size in its header."""
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
) -> LazyArrays:
    """Return the features of all recordings, after computing those that the folder does not have yet.

    Several processes may share the folder. A killed process loses only the recordings that it was computing.

    Args:
      recordings: identified by `audio.digest`, or by reading the audio if that is empty.
      folder: for all features of all corpora.
      progress: called after each recording with the number of computed recordings and of those to compute.

    Returns:
      `[time, ...]` or a sequence of images by recording name, in the order of the recordings.

    Raises:
      Unavailable: there are features to compute, and a package that they need is not installed.
      UserError: a recording cannot be read, is too short, or has changed since its digest was computed.
      OSError: the disk is full, or the folder cannot be written; the files written before stay usable.
    """
    description = json.dumps(feature.description(), sort_keys=True, indent=2)
    home = folder / f"{type(feature).__name__}-{hashlib.sha256(description.encode()).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "feature.json").exists():
        (home / "feature.json").write_text(description + "\n", encoding="utf-8")
    digests = audio.in_threads(
        lambda r: r.audio.digest or audio.load(r.path, feature.sample_rate_hz)[1].digest, recordings
    )
    paths = [home / f"{digest}.npy" for digest in digests]
    wanted = dict(zip(paths, zip(recordings, digests, strict=True), strict=True))
    missing = [path for path in wanted if not is_intact(path)]
    if missing:
        feature.require()
    # The processes of a run start at different recordings, and skip those that another one has finished.
    first = len(missing) * processes.index() // processes.count()

    def compute(path: Path) -> None:
        if is_intact(path):
            return
        recording, digest = wanted[path]
        waveform, info = audio.load(recording.path, feature.sample_rate_hz)
        if info.digest != digest:
            raise UserError(f"{recording.path}: changed after it was checked; run again when the corpus is complete")
        try:
            array = feature.extract(waveform)
        except UserError as error:
            raise UserError(f"{recording.path}: {error}") from None
        write_array(path, array)

    # Each thread writes its arrays itself, so that no results wait in memory.
    audio.in_threads(compute, missing[first:] + missing[:first], progress)
    files = dict(zip([recording.name for recording in recordings], paths, strict=True))
    return LazyArrays(files, lambda name: feature.expand(read_array(files[name])))


def fitted(folder: Path, names: Sequence[str], fit: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays that a feature has learned from a fold's training set, stored in the folder of the fold.

    If they are missing or damaged, the main process computes and writes them first.

    Args:
      names: the recordings to learn from; empty for new audio.
      fit: computes the arrays.

    Raises:
      UserError: they are missing or damaged, and there are no recordings to learn from.
    """
    path = folder / FITTED_FILE

    def ensure() -> None:
        if not _read_fitted(path):
            with replacing(path) as part, part.open("wb") as file:
                np.savez(file, **fit())  # pyright: ignore[reportArgumentType]

    if names:
        processes.on_main(ensure)
    if arrays := _read_fitted(path):
        return arrays
    found = "not readable" if path.exists() else "no such file"
    raise UserError(f"{path}: {found}; run the training command again with --mode=evaluate, which writes it")


def _read_fitted(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file; none if it is missing or damaged."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except Exception:  # NumPy and zipfile raise many kinds
        return {}
