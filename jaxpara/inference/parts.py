"""What is finished of many files is kept on disk, so that a stopped prediction goes on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpara.files import replacing
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.system import Estimate


@dataclass(frozen=True, eq=False)
class Part:
    """One file, predicted.

    Attributes:
      levels: `[stretch]` see `AudioFile`.
      rate_hz, channels, seconds: of the file.
    """

    estimate: Estimate
    levels: np.ndarray
    rate_hz: int
    channels: int
    seconds: float


class Parts:
    """A folder of finished files, by path, size, time of change and system."""

    def __init__(self, folder: Path, system: str, classes: tuple[str, ...]):
        """Says where; what is kept makes the folder.

        Args:
          system: what tells it from others.
          classes: of what it predicts, see `Estimate`.
        """
        self.folder, self._system, self._classes = folder, system, classes

    def path(self, file: AudioFile) -> Path:
        """Where it is kept."""
        try:
            status = file.path.stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = ()
        key = repr((self._system, str(file.path.absolute()), *state))
        return self.folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.npz"

    def save(self, path: Path, file: AudioFile, estimate: Estimate) -> None:
        """Keeps what was predicted, whole or not at all."""
        with replacing(path) as part, part.open("wb") as raw:
            np.savez(
                raw,
                times_s=estimate.times_s,
                values=estimate.values,
                levels=np.concatenate(file.levels).astype(np.float16),
                about=np.array([file.rate_hz, file.channels, file.seconds]),
            )

    def load(self, path: Path) -> Part | None:
        """What is kept; None where nothing whole is."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as kept:
                rate_hz, channels, seconds = kept["about"].tolist()
                estimate = Estimate(kept["times_s"], kept["values"], self._classes)
                return Part(estimate, kept["levels"].astype(np.float32), int(rate_hz), int(channels), seconds)
        except Exception:  # NumPy and zipfile raise many kinds; whatever it is, the file is predicted again
            return None
