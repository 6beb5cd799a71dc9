"""Reads audio files, and refuses those that are not what the rest of the program takes them for."""

from pathlib import Path

import numpy as np
import soundfile

from jaxpara.corpora.check_audio import REFUSALS, reason
from jaxpara.errors import UserError


def read(path: Path, sample_rate_hz: int) -> np.ndarray:
    """The samples of a mono file.

    Args:
      path: WAV or any other format that libsndfile reads; integer PCM of any width, or float.
      sample_rate_hz: the rate that the file must have.

    Returns:
      `[sample]` float32 in [-1, 1]; 16-bit amplitudes come divided by 32768.

    Raises:
      UserError: the file is missing, unreadable, empty, of another rate, not mono, or its samples are not finite
        numbers in [-1, 1].
    """
    try:
        waveform, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except REFUSALS as error:
        found = "not readable as audio" if path.exists() else "no such file"
        raise UserError(f"{path}: {found} ({reason(error)}); put an intact recording there") from None
    if rate_hz != sample_rate_hz:
        raise UserError(f"{path}: sampled at {rate_hz} Hz, expected {sample_rate_hz} Hz; resample the file")
    return _mono(waveform, path)


def _mono(waveform: np.ndarray, path: Path) -> np.ndarray:
    """`[sample, 1]` to `[sample]`, checked."""
    count, channels = waveform.shape
    if channels != 1:
        raise UserError(f"{path}: {channels} channels, expected 1; mix the file down to mono")
    if count == 0:
        raise UserError(f"{path}: holds no samples; put an intact recording there")
    # Also catches NaN, which is greater than nothing.
    if not (peak := np.abs(waveform).max()) <= 1:
        raise UserError(f"{path}: float samples reach {peak:g}, expected finite numbers in [-1, 1]; rescale the file")
    return waveform[:, 0]
