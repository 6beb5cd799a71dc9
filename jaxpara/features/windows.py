"""Cutting a long sequence into overlapping windows, and averaging or cross-fading their outputs (paper §3.2.1)."""

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


def crossfade(window: int, step: int) -> np.ndarray:
    """Return the weight of every position of a window, `[position]`, with which neighbours are cross-faded.

    The weights rise as a squared sine over the overlap with the window before, and fall in the same way over the one
    with the next. Those of two windows that overlap by at most half sum to 1. Where a recurrent network has just
    started, they are small: 1 % on average over the first half second of windows that overlap by 4 s.
    """
    overlap = max(0, window - step)
    ramp = np.sin(np.pi / 2 * np.minimum(1, np.arange(1, window + 1) / (overlap + 1))) ** 2
    return ramp * ramp[::-1]


def overlap_average(
    length: int, starts: np.ndarray, windows: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean of all windows, `[window, position, value]`, at every position, `[length, value]` float64.

    Positions past the end of the sequence are ignored.

    Args:
      weights: of the positions of a window, `[position]`, above 0, as from `crossfade`; None for equal ones.
    """
    weights = np.ones(windows.shape[1]) if weights is None else weights
    total, count = np.zeros((length, windows.shape[2])), np.zeros((length, 1))
    for start, values in zip(starts, windows, strict=True):
        own = weights[: length - start, None]
        total[start : start + len(own)] += own * values[: len(own)]
        count[start : start + len(own)] += own
    return total / count
