"""Audio files of any format, rate and length: finding, reading in chunks, resampling, cutting into blocks."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import soxr

from jaxpara.corpora import file_tables
from jaxpara.corpora.audio import AUDIO_ERRORS, reason
from jaxpara.errors import UserError

SUFFIXES = (
    *("wav", "flac", "mp3", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf", "w64", "rf64"),
    *("wave", "sph", "nist", "voc"),
)
TABLES = (".csv", ".tsv")
CHUNK = 1 << 19  # samples per read
LEVELS_HZ = 100  # peaks per second of audio, for images
MAX_PEAK = 8.0  # decoders and mixes exceed 1 a little; integers stored as floats exceed it by far
OVERLAP = 1 / 8  # of a block: the part that is crossfaded with the next block


@dataclass(eq=False)
class AudioFile:
    """An audio file to predict.

    Attributes:
      path: where the file is.
      name: its name in the output, which is the path below the folder in `--input`, or that in the table.
      columns: by name, what the output has about the file before its predictions.
      row: of the table in `--input` that names the file; 0 if there is none.
      rate_hz, channels, seconds: of the file; set by `read`.
      levels: largest amplitude of all channels, `LEVELS_HZ` times a second; set by `read`.
      starts, values: first samples and predictions of the blocks predicted so far.
      failure: why it cannot be predicted.
    """

    path: Path
    name: str
    columns: dict[str, str] = field(default_factory=dict)
    row: int = 0
    rate_hz: int = 0
    channels: int = 0
    seconds: float = 0.0
    levels: list[np.ndarray] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    failure: str = ""

    @property
    def place(self) -> str:
        """The name for messages, with the row that names the file."""
        return f"{self.name!r} (row {self.row})" if self.row else repr(self.name)

    def read(self, sample_rate_hz: int) -> Iterator[np.ndarray]:
        """Read the file in chunks `[sample]` float32, mixed down to one channel and resampled.

        Raises:
          UserError: the file is unreadable or truncated, or its samples are far outside [-1, 1].
        """
        try:
            with soundfile.SoundFile(self.path) as file:
                self.rate_hz, self.channels = file.samplerate, file.channels
                yield from resample(self._chunks(file), file.samplerate, sample_rate_hz)
                # The length in an MP3 header is only an estimate.
                promised_s = 0 if file.format == "MP3" else file.frames / file.samplerate
        except AUDIO_ERRORS as error:
            raise UserError(f"not readable as audio ({reason(error)})") from None
        if self.seconds < promised_s:
            raise UserError(f"ends after {self.seconds:.2f} s, but its header promises {promised_s:.2f} s")

    def _chunks(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        # A chunk is a whole number of `LEVELS_HZ` periods, so that peaks can be taken chunk by chunk.
        period, read = max(1, round(file.samplerate / LEVELS_HZ)), 0
        size = max(1, CHUNK // file.channels // period) * period
        while len(chunk := file.read(size, dtype="float32", always_2d=True)):
            peaks = np.abs(chunk).max(axis=1)
            self.levels.append(np.maximum.reduceat(peaks, np.arange(0, len(peaks), period)))
            read += len(chunk)
            self.seconds = read / file.samplerate
            yield chunk


def find(given: str) -> list[AudioFile]:
    """Return the audio files that `--input` names, sorted by name, or in the order of a table.

    Args:
      given: a file; a table of files, see `_in_table`; a folder, searched at any depth; or a pattern with `*`, `?`,
        `[...]` or `**`.

    Raises:
      UserError: there are none.
    """
    path = folder = Path(given)
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_audio(file, path)]
        problem = f"no audio in this folder; expected files that end in {', '.join(SUFFIXES[:6])}, ..."
    elif path.suffix.lower() in TABLES and path.is_file():
        return _in_table(path)
    elif path.exists() or not glob.has_magic(given):
        folder = path.parent
        found = [path] if path.exists() else []
        problem = "no such file or folder"
    else:
        folder = Path(re.split(r"[*?\[]", given, maxsplit=1)[0] + "x").parent  # the folder before the first wildcard
        found = [Path(match) for match in glob.glob(given, recursive=True) if os.path.isfile(match)]
        problem = "no file matches this pattern"
    if not found:
        raise UserError(f"--input={given}: {problem}")
    names = {file: file.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") for file in sorted(found)}
    # Not every name is UTF-8.
    names = {file: name.decode("utf-8", "backslashreplace") for file, name in names.items()}
    return [AudioFile(file, name, {"file": name}) for file, name in names.items()]


def _in_table(path: Path) -> list[AudioFile]:
    """Return a file for each row of a CSV or TSV table with a column `file`, `filename`, `file_name`, `path` or `name`.

    Paths are relative to the folder of the table. Files that do not exist have a `failure`.

    Raises:
      UserError: it is not such a table, or has no rows.
    """
    rows = file_tables.read(path)
    _, header = next(rows)
    files, missing = [], 0
    for row, cells in rows:
        columns = dict(zip(header, cells, strict=True))
        name = columns[file_tables.file_column(header)]
        file = AudioFile(path.parent / name, name, columns, row)
        folder = file.path.parent
        if not os.path.exists(file.path):
            missing += 1
            siblings = os.listdir(folder) if missing == 1 and folder.is_dir() else []  # a folder may be large
            file.failure = f"no such file in {folder}{file_tables.did_you_mean(file.path.name, siblings)}"
        elif not os.path.isfile(file.path):  # folders; and pipes and devices, which are never opened
            file.failure = "not a file"
        files.append(file)
    if not files:
        raise UserError(f"--input={path}: no rows below the header, expected one per audio file")
    return files


def _is_audio(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower()[1:] in SUFFIXES and not hidden and file.is_file()


def to_float(waveform: np.ndarray) -> np.ndarray:
    """Scale integers to float32 in [-1, 1]; floats are returned unchanged.

    Raises:
      UserError: the array is not numeric, or neither `[sample]` nor `[sample, channel]`.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim not in (1, 2) or waveform.dtype.kind not in "iuf":
        raise UserError(
            f"waveform is {list(waveform.shape)} of {waveform.dtype}, expected [sample] or [sample, channel] numbers"
        )
    if waveform.dtype.kind == "f":
        return waveform
    limits = np.iinfo(waveform.dtype)
    middle = (limits.max + 1) / 2 if waveform.dtype.kind == "u" else 0
    return ((waveform.astype(np.float64) - middle) / (limits.max + 1 - middle)).astype(np.float32)


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
                " expected finite numbers in [-1, 1]; rescale the recording"
            )
        read += len(mono)
        yield np.clip(stream.resample_chunk(mono) if stream else mono, -1, 1)
    if stream:
        yield np.clip(stream.resample_chunk(np.empty(0, np.float32), last=True), -1, 1)


@dataclass(frozen=True)
class Blocks:
    """A scheme that cuts recordings into blocks no longer than the training recordings.

    Attributes:
      size, step: samples per block, and from the start of one block to the next.
      cell: samples per prediction; every block starts at a multiple of it.
    """

    size: int
    step: int
    cell: int

    @classmethod
    def of(cls, longest_s: float, label_rate_hz: float, sample_rate_hz: int) -> "Blocks":
        """Return overlapping blocks of at least two predictions; adjacent clips if the label rate is 0."""
        size = round(longest_s * sample_rate_hz)
        if not label_rate_hz:
            return cls(max(1, size), max(1, size), 1)
        cell = (Fraction(sample_rate_hz) / Fraction(label_rate_hz).limit_denominator(1000)).numerator
        cells = max(2, size // cell)
        return cls(cells * cell, (cells - max(1, round(cells * OVERLAP))) * cell, cell)

    def cut(self, chunks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Cut a recording that is read in chunks `[sample]`; at most two blocks of it are in memory.

        The last block ends with the recording, and is less than one cell shorter than the others.

        Yields:
          Each block's first sample and its samples; nothing for an empty recording.
        """
        kept, first, start = np.empty(0, np.float32), 0, 0  # `kept` starts at sample `first`
        for chunk in chunks:
            kept = np.concatenate([kept, chunk])
            # Only samples after a block show that it is not the last one.
            while first + len(kept) > start + self.size:
                yield start, kept[start - first : start - first + self.size]
                start += self.step
                drop = max(0, start - self.size - first)  # the last block may start up to its size earlier
                kept, first = kept[drop:], first + drop
        end = first + len(kept)
        if end:
            start = max(0, -(-(end - self.size) // self.cell) * self.cell)
            yield start, kept[start - first :]


def crossfade(starts: Sequence[int], parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join the sequences of overlapping blocks, `[row, value]` each, by crossfading; `starts` are their first rows."""
    if len(parts) == 1:
        return parts[0]
    rows = starts[-1] + len(parts[-1])
    total, weight = np.zeros((rows, parts[0].shape[1])), np.zeros((rows, 1))
    for start, part in zip(starts, parts, strict=True):
        # The weight rises and falls towards the ends of a part; without overlap it cancels out.
        row = np.arange(1, len(part) + 1, dtype=np.float64)
        ramp = np.minimum(np.minimum(row, row[::-1]), max(1.0, len(part) * OVERLAP))[:, None]
        total[start : start + len(part)] += ramp * part
        weight[start : start + len(part)] += ramp
    return total / weight
