"""Audio of any rate, number of channels and length, brought to what a system was trained on, chunk by chunk."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from jaxpara.errors import UserError

LOUDEST = 8.0  # decoders of compressed audio and mixes go a little beyond 1; whole numbers stored as floats go far


def brought(chunks: Iterable[np.ndarray], rate_hz: int, wanted_hz: int) -> Iterator[np.ndarray]:
    """One channel at another rate, without seams.

    Args:
      chunks: `[sample, channel]` or `[sample]` float.

    Yields:
      `[sample]` float32 in [-1, 1]; channels are averaged, and what goes beyond is clipped.

    Raises:
      UserError: a value that is no finite number, or values that are not in [-1, 1] by far.
    """
    stream = soxr.ResampleStream(rate_hz, wanted_hz, 1, dtype="float32") if rate_hz != wanted_hz else None
    seen = 0
    for chunk in chunks:
        mono = (chunk if chunk.ndim == 1 else chunk.mean(axis=1)).astype(np.float32, copy=False)
        peak = float(np.abs(mono).max()) if len(mono) else 0.0
        if not peak <= LOUDEST:  # also catches NaN
            raise UserError(
                f"samples reach {peak:g} between {seen / rate_hz:.2f} and {(seen + len(mono)) / rate_hz:.2f} s,"
                " expected finite numbers in [-1, 1]; rescale the recording"
            )
        seen += len(mono)
        yield np.clip(stream.resample_chunk(mono) if stream else mono, -1, 1)
    if stream:
        yield np.clip(stream.resample_chunk(np.empty(0, np.float32), last=True), -1, 1)


def as_float(waveform: np.ndarray) -> np.ndarray:
    """Whole numbers to floats in [-1, 1]; floats as they are.

    Args:
      waveform: `[sample]` or `[sample, channel]`.

    Returns:
      Of the same shape; float32 of whole numbers.

    Raises:
      UserError: it has another shape, or holds no numbers.
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
