"""Cutting a long sequence into overlapping windows, and averaging their outputs (paper §3.2.1)."""

import numpy as np


def starts(length: int, window: int, step: int, *, keep_duplicates: bool = False) -> np.ndarray:
    """Return the start of every window of a sequence, `[window]`, ascending; all arguments are in positions.

    Windows follow each other by `step` as long as they fit; one more ends exactly at the end of the sequence, so that
    every position is covered. A sequence shorter than a window has one window, which the caller pads.

    Args:
      keep_duplicates: append the last window even if a regular window already ends at the end, as the authors'
        published scripts do (with 16-s windows in 240 s the last window counts twice).
    """
    if length <= window:
        return np.zeros(1, int)
    regular = np.arange(0, length - window + 1, step)
    ends_at_end = regular[-1] + window == length
    # The published rule appends a window unless the next one would start at the end of the sequence (step = window).
    append = regular[-1] + step != length if keep_duplicates else not ends_at_end
    return np.append(regular, length - window) if append else regular


def overlap_average(length: int, starts: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the mean of all windows, `[window, position, value]`, at every position, `[length, value]` float64.

    Positions past the end of the sequence are ignored.
    """
    total = np.zeros((length, windows.shape[2]))
    count = np.zeros((length, 1))
    for start, values in zip(starts, windows, strict=True):
        end = min(start + windows.shape[1], length)
        total[start:end] += values[: end - start]
        count[start:end] += 1
    return total / count
