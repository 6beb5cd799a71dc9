"""Audio files to predict: finding them, reading them in chunks, cutting them into blocks."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from jaxpara.corpora import labels
from jaxpara.corpora.audio import LEVELS_HZ, AudioInfo, Reader, check_file, not_a_file, resample
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.names import SUFFIXES, did_you_mean
from jaxpara.errors import UserError
from jaxpara.files import name_in_tables

TABLES = (".csv", ".tsv")
OVERLAP = 1 / 8  # of a block: the part that is crossfaded with the next block


@dataclass(eq=False)
class AudioFile:
    """An audio file to predict.

    Attributes:
      path: where the file is.
      name: its name in the output, which is the path below the folder in `--input`, or that in the table.
      columns: by name, what the output has about the file before its predictions.
      row: of the table in `--input` that names the file; 0 if there is none.
      info: its properties; set by `read`.
      levels: largest amplitude of all channels, `LEVELS_HZ` times a second; set by `read`.
      starts, values: first samples and predictions of the blocks predicted so far.
      failure: why it cannot be predicted.
    """

    path: Path
    name: str
    columns: dict[str, str] = field(default_factory=dict)
    row: int = 0
    info: AudioInfo = field(default_factory=AudioInfo)
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
          UserError: the file is unreadable, damaged or truncated, or its samples are far outside [-1, 1].
        """
        reader = Reader(self.path)
        if not (reader.info.failure or reader.info.missing or reader.info.more):
            yield from resample(self._with_levels(reader), reader.info.rate_hz, sample_rate_hz)
        self.info = reader.info
        if problem := self.info.failure or self.info.missing or self.info.more:
            findings = Findings()
            check_file(self.path, self.info, findings)
            raise UserError(next((finding.what for finding in findings.listed()), problem))

    def _with_levels(self, reader: Reader) -> Iterator[np.ndarray]:
        for chunk in reader:
            peaks = np.abs(chunk).max(axis=1)
            period = max(1, round(reader.info.rate_hz / LEVELS_HZ))
            self.levels.append(np.maximum.reduceat(peaks, np.arange(0, len(peaks), period)))
            yield chunk


def find(given: str, say: Callable[[str], None] = print) -> list[AudioFile]:
    """Return the audio files that `--input` names, sorted by name, or in the order of a table.

    Args:
      given: a file; a table of files, see `_in_table`; a folder, searched at any depth; or a pattern with `*`, `?`,
        `[...]` or `**`.
      say: gets a line about each named pipe, socket, device and broken link, which are not opened.

    Raises:
      UserError: there are none.
    """
    path = folder = Path(given)
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_audio(file.relative_to(path))]
        problem = "no audio in this folder; expected files that end in .wav, .flac, .mp3, .ogg, ..."
    elif path.suffix.lower() in TABLES and path.is_file():
        return _in_table(path)
    elif os.path.lexists(path) or not glob.has_magic(given):
        folder, found = path.parent, [path] if os.path.lexists(path) else []
        problem = "no such file or folder"
    else:
        folder = Path(re.split(r"[*?\[]", given, maxsplit=1)[0] + "x").parent  # the folder before the first wildcard
        found = [Path(match) for match in glob.glob(given, recursive=True)]
        problem = "no file matches this pattern"
    names = {file: name_in_tables(file.relative_to(folder)) for file in sorted(found) if not file.is_dir()}
    kinds = {file: kind for file in names if (kind := not_a_file(file))}
    if not kinds.keys() < names.keys():
        problem = f"{kinds[path]}, expected a file or folder" if path in kinds else problem
        raise UserError(f"--input={given}: {problem}")
    for file, kind in kinds.items():
        say(f"{names[file]!r} is skipped: it is {kind}")
    return [AudioFile(file, name, {"file": name}) for file, name in names.items() if file not in kinds]


def _in_table(path: Path) -> list[AudioFile]:
    """Return a file for each row of a CSV or TSV table with a column `file`, `filename`, `file_name` or `path`.

    Paths are relative to the folder of the table. Files that do not exist have a `failure`.

    Raises:
      UserError: it is not such a table, or has no rows.
    """
    findings = Findings()
    rows = labels.records(path, findings)
    _, header = next(rows)
    key, files, missing = labels.file_column(header), [], 0
    for row, cells in rows:
        name = cells[key]
        file = AudioFile(path.parent / name, name, dict(zip(header, cells, strict=True)), row)
        folder = file.path.parent
        if not os.path.exists(file.path):
            missing += 1
            siblings = os.listdir(folder) if missing == 1 and folder.is_dir() else []  # a folder may be large
            file.failure = f"no such file in {folder}{did_you_mean(file.path.name, siblings)}"
        elif not os.path.isfile(file.path):  # folders; and pipes and devices, which are never opened
            file.failure = "not a file"
        files.append(file)
    findings.require_no_error()
    if not files:
        raise UserError(f"--input={path}: no rows below the header, expected one per audio file")
    return files


def _is_audio(name: Path) -> bool:
    return name.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in name.parts)


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


@dataclass(frozen=True)
class Blocks:
    """A scheme that cuts long recordings into blocks.

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
        waiting: list[np.ndarray] = []  # the samples after it: a block may have thousands of chunks
        for chunk in chunks:
            waiting.append(chunk)
            # Only samples after a block show that it is not the last one.
            if first + len(kept) + sum(map(len, waiting)) <= start + self.size:
                continue
            kept, waiting = np.concatenate([kept, *waiting]), []
            while first + len(kept) > start + self.size:
                yield start, kept[start - first : start - first + self.size]
                start += self.step
                drop = max(0, start - self.size - first)  # the last block may start up to its size earlier
                kept, first = kept[drop:], first + drop
        kept = np.concatenate([kept, *waiting])
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
