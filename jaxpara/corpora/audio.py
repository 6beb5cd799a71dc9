"""Audio files: read one of any format, rate and number of channels, scan one for its properties, and check these."""

import contextlib
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr

from jaxpara.corpora.containers import Container
from jaxpara.corpora.findings import Findings
from jaxpara.errors import UserError
from jaxpara.runtime import quiet

# libsndfile's errors are RuntimeErrors; the others come from odd names and odd headers, which promise terabytes.
AUDIO_ERRORS = (OSError, RuntimeError, TypeError, ValueError, MemoryError, LookupError, ArithmeticError)
LOSSY = ("MPEG_LAYER", "VORBIS", "OPUS")  # decode to a little more than full scale, which is cut off
FULL_SCALE = 32767 / 32768  # in 16 bits
MAX_CLIPPED_FRACTION = 1e-3
MAX_SILENT = 1e-4  # -80 dB of full scale
MAX_CANCELLED = 0.01  # of the variance of the channels is left in their mean, -20 dB; -3 dB is usual
MAX_PEAK = 2.0  # resampling, decoding and mixing exceed 1 a little, which is clipped; other scales exceed it by far
CHUNK = 1 << 19  # samples per read
LEVELS_HZ = 100  # chunks are a whole number of these periods
MPEG_FRAME = 1152  # samples
COPY_AGAIN = "copy it again from where it came from"

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class AudioInfo:
    """The properties of an audio file, from one pass over it."""

    failure: str = ""  # why the file cannot be read; fields that need the samples are not set then
    digest: str = ""  # SHA-256 of the samples as float32, their rate and channels: the key of stored features
    frames: int = 0  # samples per channel
    rate_hz: int = 0
    channels: int = 0
    missing: str = ""  # audio that the header promises and the file lacks, such as "44 bytes"
    more: str = ""  # what follows the audio that the header promises, such as "another file starts at byte 44"
    unread: int = 0  # bytes after the audio that belong to no chunk of the file
    bad_samples: int = 0  # NaN and infinite ones
    silent: bool = False  # True if no channel has a signal above -80 dB of full scale
    cancels: bool = False  # True if the channels are nearly opposite, so that their mean has nearly no signal
    clipped_fraction: float = 0.0  # of the samples, at or beyond full scale
    peak: float = 0.0  # the largest amplitude; 1 is full scale

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz if self.rate_hz else 0.0


def _fault(error: BaseException) -> str:
    """Return the reason of an error: one line without the name of the file and without a full stop."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def not_a_file(path: Path) -> str:
    """Return what a path is if it is not a file, such as "a named pipe", without opening it; empty if it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a broken link" if path.is_symlink() else _fault(error)
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return "" if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "a device")


class Reader:
    """One pass over an audio file, in chunks `[sample, channel]` float32.

    Attributes:
      info: `failure`, `rate_hz` and `channels`, and after the last chunk all other properties.
    """

    def __init__(self, path: Path):
        self._stack = contextlib.ExitStack()
        if not os.path.lexists(path):
            self.info = AudioInfo("no such file")
            return
        if kind := not_a_file(path) or ("" if path.stat().st_size else "0 bytes"):
            self.info = AudioInfo(f"not readable as audio ({kind})")
            return
        self.info = AudioInfo()
        try:
            container = Container.of(path)
            self.info = AudioInfo(missing=container.missing, more=container.more, unread=container.unread)
            with quiet():
                self._file = self._stack.enter_context(soundfile.SoundFile(container.source(path, self._stack)))
            self.info = replace(self.info, rate_hz=self._file.samplerate, channels=self._file.channels)
        except AUDIO_ERRORS as error:
            self._stack.close()
            self.info = replace(self.info, failure=f"not readable as audio ({_fault(error)})")

    def __iter__(self) -> Iterator[np.ndarray]:
        if self.info.failure:
            return
        file, digest, frames, bad, clipped = self._file, hashlib.sha256(), 0, 0, 0
        lossy = file.subtype.startswith(LOSSY)
        high, low = np.full(file.channels, -np.inf), np.full(file.channels, np.inf)
        power = mixed = 0.0  # the variances of the channels and of their mean, summed over all samples
        period = max(1, round(file.samplerate / LEVELS_HZ))
        size = max(1, CHUNK // file.channels // period) * period
        with self._stack:
            while True:
                try:
                    with quiet():
                        chunk = file.read(size, dtype="float32", always_2d=True)
                except AUDIO_ERRORS as error:
                    self.info = replace(self.info, failure=f"damaged or cut short ({_fault(error)})")
                    return
                if not len(chunk):
                    break
                if lossy:
                    np.clip(chunk, -1, 1, out=chunk)
                digest.update(chunk.data)
                frames += len(chunk)
                bad += chunk.size - int(np.count_nonzero(np.isfinite(chunk)))
                clipped += int(np.count_nonzero(np.abs(chunk) >= FULL_SCALE))
                high, low = np.maximum(high, chunk.max(axis=0)), np.minimum(low, chunk.min(axis=0))
                if file.channels > 1 and not bad:
                    power += len(chunk) * float(chunk.var(axis=0, dtype=np.float64).mean())
                    mixed += len(chunk) * float(chunk.mean(axis=1, dtype=np.float64).var())
                yield chunk
            promised, spare = file.frames, 2 * MPEG_FRAME if file.format == "MP3" else 0
        if (file.samplerate, file.channels) != (16_000, 1):  # as the digests of the first corpora are without them
            digest.update(f"{file.samplerate} Hz, {file.channels} channels".encode())
        if not self.info.missing and frames + spare < promised < 1 << 62:  # larger ones mean an unknown length
            self.info = replace(self.info, missing=f"{promised - frames} samples")
        if not frames:
            return
        self.info = replace(
            self.info,
            digest=digest.hexdigest(),
            frames=frames,
            bad_samples=bad,
            silent=bool((high - low).max() < 2 * MAX_SILENT),
            cancels=mixed < MAX_CANCELLED * power,
            clipped_fraction=clipped / (frames * file.channels),
            peak=float(max(high.max(), -low.min())),
        )


def load(path: Path, sample_rate_hz: int) -> tuple[np.ndarray, AudioInfo]:
    """Read a file: `[sample]` float32 in [-1, 1], mixed down and resampled, and its properties.

    Raises:
      UserError: the first error of `check_file`, or too short for one sample.
    """
    reader = Reader(path)
    chunks, findings = list(reader), Findings()
    check_file(path, reader.info, findings)
    findings.require_no_error()
    waveform = np.concatenate(list(resample(chunks, reader.info.rate_hz, sample_rate_hz)))
    if not len(waveform):  # of an absurd rate in a damaged header
        what = f"{reader.info.frames} samples at {reader.info.rate_hz} Hz are none at {sample_rate_hz} Hz"
        raise UserError(f"{path}: {what}; {COPY_AGAIN}")
    return waveform, reader.info


def read(path: Path, sample_rate_hz: int) -> np.ndarray:
    """Return the samples of `load`."""
    return load(path, sample_rate_hz)[0]


def scan(path: Path) -> AudioInfo:
    """Decode a file of any format and width that libsndfile reads; failures are part of the result."""
    reader = Reader(path)
    deque(reader, maxlen=0)
    return reader.info


def resample(chunks: Iterable[np.ndarray], rate_hz: int, target_hz: int) -> Iterator[np.ndarray]:
    """Mix `[sample, channel]` down to `[sample]` float32 in [-1, 1] and resample, without seams between chunks.

    Raises:
      UserError: samples are not finite, or far outside [-1, 1].
    """
    stream = soxr.ResampleStream(rate_hz, target_hz, 1, dtype="float32") if rate_hz != target_hz else None
    read = 0
    for chunk in chunks:
        mono = (chunk if chunk.ndim == 1 else chunk.mean(axis=1)).astype(np.float32, copy=False)
        peak = float(np.abs(mono).max()) if len(mono) else 0.0
        if not peak <= MAX_PEAK:  # also catches NaN
            raise UserError(
                f"samples reach {peak:g} between {read / rate_hz:.2f} and {(read + len(mono)) / rate_hz:.2f} s,"
                f" expected finite numbers from -1 to 1, or up to {MAX_PEAK:g} with clipping; rescale the recording"
            )
        read += len(mono)
        yield np.clip(stream.resample_chunk(mono) if stream else mono, -1, 1)
    if stream:
        yield np.clip(stream.resample_chunk(np.empty(0, np.float32), last=True), -1, 1)


def check_file(path: Path, info: AudioInfo, findings: Findings) -> None:
    """Add everything that is wrong with one audio file."""
    if info.more:
        what = f"has more than its header promises: {info.more}"
        findings.error("joined files", path, what, "split it into its parts, or decode and join them")
    if info.missing:
        what = f"cut short: {info.missing} of audio less than its header promises"
        findings.error("truncated files", path, what, COPY_AGAIN)
    elif info.failure and not info.more:
        return findings.error("unreadable files", path, info.failure, COPY_AGAIN)
    if not info.frames:
        if not info.more and not info.missing:
            findings.error("empty files", path, "no samples", COPY_AGAIN)
        return None
    if info.unread:
        what = f"{info.unread} bytes after its audio are not read: they are no chunk of such a file"
        findings.warning("files with other bytes at the end", path, what, "compare its length with the original")
    if info.bad_samples:
        what = f"{info.bad_samples} samples are NaN or infinite"
        findings.error("files with non-finite samples", path, what, COPY_AGAIN)
    elif info.silent:
        fix = "listen to it; leave it out if that is not intended"
        findings.warning("silent files", path, "silent: nothing is above -80 dB of full scale", fix)
    elif info.cancels:
        what = f"its {info.channels} channels cancel each other: their mean is nearly silent"
        findings.warning("files whose channels cancel", path, what, "keep one channel, or invert one of them")
    if info.peak > MAX_PEAK and not info.bad_samples:
        what = f"float samples reach {info.peak:g}, expected -1 to 1, or up to {MAX_PEAK:g} with clipping"
        findings.error("files beyond full scale", path, what, "rescale the file")
    elif info.clipped_fraction > MAX_CLIPPED_FRACTION:
        what = f"clipped: {info.clipped_fraction:.1%} of the samples are at or beyond full scale"
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
