"""Audio files: read one, scan one for its properties, and check these."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile

from jaxpara.corpora.findings import Findings

# libsndfile's errors are RuntimeErrors; the others come from odd names and from headers that promise terabytes.
AUDIO_ERRORS = (OSError, RuntimeError, TypeError, ValueError, MemoryError)
FULL_SCALE = 32767 / 32768  # in 16 bits
MAX_CLIPPED_FRACTION = 1e-3
# Programs that write into a pipe do not know the length and put the largest possible one into the header.
UNKNOWN_LENGTH_BYTES = 0x7FFF0000
COPY_AGAIN = "copy it again from the corpus"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class AudioInfo:
    """The properties of an audio file, from one pass over it."""

    failure: str = ""  # why the file cannot be read; the other fields are empty then
    digest: str = ""  # SHA-256 of the samples as float32, the key of stored features
    frames: int = 0  # samples per channel
    rate_hz: int = 0
    channels: int = 0
    missing: str = ""  # audio that the header promises and the file lacks, such as "44 bytes"
    bad_samples: int = 0  # NaN and infinite ones
    silent: bool = False  # True if all samples are equal
    clipped_fraction: float = 0.0  # of the samples, at full scale
    peak: float = 0.0  # the largest amplitude; 1 is full scale

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz if self.rate_hz else 0.0


def reason(error: BaseException) -> str:
    """Return the reason of an error: one line without the name of the file and without a full stop."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def load(path: Path, sample_rate_hz: int) -> tuple[np.ndarray, AudioInfo]:
    """Read a mono file, `[sample]` float32 in [-1, 1], and its properties; raise the first error of `check_file`."""
    samples, info = _decode(path)
    findings = Findings()
    check_file(path, info, sample_rate_hz, findings)
    findings.require_no_error()
    return samples[:, 0], info


def read(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Return the samples of `load`."""
    return load(path, sample_rate_hz)[0]


def scan(path: Path) -> AudioInfo:
    """Decode a file of any format and width that libsndfile reads; failures are part of the result."""
    return _decode(path)[1]


def _decode(path: Path) -> tuple[np.ndarray, AudioInfo]:
    """Return the samples, `[sample, channel]` float32, and their properties."""
    try:
        with soundfile.SoundFile(path) as file:
            samples = file.read(dtype="float32", always_2d=True)
            rate_hz, frames, log = file.samplerate, file.frames, file.extra_info
    except AUDIO_ERRORS as error:
        failure = f"not readable as audio ({reason(error)})" if os.path.exists(path) else "no such file"
        return np.empty((0, 1), np.float32), AudioInfo(failure)
    # libsndfile corrects a wrong length silently; only its log mentions it.
    lengths = re.search(r"^\s*data\s*: (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    promised, found = (int(lengths[1]), int(lengths[2])) if lengths else (0, 0)
    missing = f"{promised - found} bytes" if found < promised < UNKNOWN_LENGTH_BYTES else ""
    if len(samples) < frames:
        missing = f"{frames - len(samples)} samples"
    if not samples.size:
        return samples, AudioInfo()
    amplitudes = np.abs(samples)
    return samples, AudioInfo(
        digest=hashlib.sha256(samples.tobytes()).hexdigest(),
        frames=len(samples),
        rate_hz=rate_hz,
        channels=samples.shape[1],
        missing=missing,
        bad_samples=int(samples.size - np.count_nonzero(np.isfinite(samples))),
        silent=bool(samples.max() == samples.min()),
        clipped_fraction=float(np.mean(amplitudes >= FULL_SCALE)),
        peak=float(amplitudes.max()),
    )


def check_file(path: Path, info: AudioInfo, sample_rate_hz: int, findings: Findings) -> None:
    """Add everything that is wrong with one audio file."""
    if info.failure:
        return findings.error("unreadable files", path, info.failure, COPY_AGAIN)
    if not info.frames:
        return findings.error("empty files", path, "no samples", COPY_AGAIN)
    if info.missing:
        what = f"cut short: {info.missing} of audio less than its header promises"
        findings.error("truncated files", path, what, COPY_AGAIN)
    if info.rate_hz != sample_rate_hz:
        what = f"{info.rate_hz} Hz, expected {sample_rate_hz} Hz"
        findings.error("files of another sample rate", path, what, "resample it")
    if info.channels != 1:
        what = f"{info.channels} channels, expected one"
        findings.error("files of several channels", path, what, "keep one channel, or mix them")
    if info.bad_samples:
        what = f"{info.bad_samples} samples are NaN or infinite"
        findings.error("files with non-finite samples", path, what, COPY_AGAIN)
    elif info.silent:
        fix = "listen to it; leave it out if that is not intended"
        findings.warning("silent files", path, "silent: every sample is the same", fix)
    if info.peak > 1 and not info.bad_samples:
        what = f"float samples reach {info.peak:g}, expected -1 to 1"
        findings.error("files beyond full scale", path, what, "rescale the file")
    elif info.clipped_fraction > MAX_CLIPPED_FRACTION:
        what = f"clipped: {info.clipped_fraction:.1%} of the samples are at full scale"
        findings.warning("clipped files", path, what, "export it again at a lower level")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    progress: Callable[[int, int], None] | None = None,
    max_threads: int = 1000,
) -> list[Result]:
    """Map a function over items in threads; NumPy, SciPy and libsndfile release the interpreter lock.

    There are no more threads than CPU cores. After an exception in `work` or `progress` no further items are started.

    Args:
      progress: called from the calling thread with the number of finished items and of all items.
    """
    results: list[Result] = []
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, max_threads))
    try:
        for result in pool.map(work, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
