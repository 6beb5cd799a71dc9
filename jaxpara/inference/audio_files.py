"""The audio files that a user names, and their sound, chunk by chunk."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from jaxpara.corpora.audio import AUDIO_ERRORS, reason
from jaxpara.errors import UserError
from jaxpara.inference.sound import brought

SUFFIXES = (
    *("wav", "flac", "mp3", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "snd", "caf", "w64", "rf64"),
    *("wave", "sph", "nist", "voc"),
)
CHUNK = 1 << 19  # samples that are read at once
LEVELS_HZ = 100  # peaks per second that are kept for pictures


@dataclass
class AudioFile:
    """One file.

    Attributes:
      path: where it lies.
      name: what it is called in the table: its path below the folder that was given.
      rate_hz, channels, seconds: once it is read; what it has.
      levels: `LEVELS_HZ` times a second, once it is read, the largest amplitude of all channels.
    """

    path: Path
    name: str
    rate_hz: int = 0
    channels: int = 0
    seconds: float = 0.0
    levels: list[np.ndarray] = field(default_factory=list)

    def sound(self, wanted_hz: int) -> Iterator[np.ndarray]:
        """Reads it, at another rate and with one channel.

        Yields:
          `[sample]` float32.

        Raises:
          UserError: it cannot be read, is empty, ends before its time, or its samples are not in [-1, 1] by far.
        """
        try:
            with soundfile.SoundFile(self.path) as file:
                self.rate_hz, self.channels = file.samplerate, file.channels
                yield from brought(self._chunks(file), file.samplerate, wanted_hz)
                promised_s = 0 if file.format == "MP3" else file.frames / file.samplerate  # MP3's is an estimate
        except AUDIO_ERRORS as error:
            raise UserError(f"not readable as audio ({reason(error)})") from None
        if not self.seconds:
            raise UserError("holds no samples")
        if self.seconds < promised_s:
            raise UserError(f"ends after {self.seconds:.2f} s of the {promised_s:.2f} s that it promises")

    def _chunks(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        # Whole stretches of time, so that their peaks can be taken chunk by chunk.
        stretch, read = max(1, round(file.samplerate / LEVELS_HZ)), 0
        size = max(1, CHUNK // file.channels // stretch) * stretch
        while len(chunk := file.read(size, dtype="float32", always_2d=True)):
            peaks = np.abs(chunk).max(axis=1)
            self.levels.append(np.maximum.reduceat(peaks, np.arange(0, len(peaks), stretch)))
            read += len(chunk)
            self.seconds = read / file.samplerate
            yield chunk


def found(given: str) -> list[AudioFile]:
    """The files that a user means, in the order of their names.

    Args:
      given: a file; a folder, of which all audio at any depth is meant; or a pattern with `*`, `?`, `[...]` or `**`.

    Raises:
      UserError: there are none.
    """
    path = Path(given)
    if path.is_dir():
        files = sorted(_below(path))
        if not files:
            raise UserError(
                f"--input={given}: no audio in this folder; its files end in {', '.join(SUFFIXES[:6])}, ..."
            )
        return [AudioFile(file, _name(file, path)) for file in files]
    if path.exists():
        return [AudioFile(path, _name(path, path.parent))]
    if not glob.has_magic(given):
        raise UserError(f"--input={given}: no such file or folder")
    files = sorted(Path(match) for match in glob.glob(given, recursive=True) if os.path.isfile(match))
    if not files:
        raise UserError(f"--input={given}: no file has a name like this")
    fixed = Path(re.split(r"[*?\[]", given, maxsplit=1)[0] + "x").parent
    return [AudioFile(file, _name(file, fixed)) for file in files]


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().rpartition(".")[2] in SUFFIXES:
                yield Path(parent, name)


def _name(path: Path, folder: Path) -> str:
    """The path below a folder; bytes that are no UTF-8 are shown as escapes."""
    name = path.relative_to(folder).as_posix()
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
