"""Pearson's r of many mixes of series at once."""

import numpy as np


def compress(truth: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A handful of numbers that have all correlations of the series, and of their mixes, with the truth.

    The centred series are rotated into an orthonormal basis of what they span, which keeps every inner product.

    Args:
      truth: `[row]`.
      series: `[member, row]`.

    Returns:
      The truth, `[coordinate]`, and the series, `[member, coordinate]`; a constant one is exactly 0.
    """
    both = np.vstack([series, truth])
    both = np.where(np.ptp(both, axis=1, keepdims=True) == 0, 0, both - both.mean(1, keepdims=True))
    rotated = np.asarray(np.linalg.qr(both.T, mode="r"))
    return rotated[:, -1], rotated[:, :-1].T


def correlations(candidates: np.ndarray, truth: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Pearson's r of every mix with the truth.

    Args:
      candidates: `[candidate, member]` weights.
      truth: `[row]`.
      series: `[member, row]`.

    Returns:
      `[candidate]`; -inf where r is not defined because the mix or the truth is constant.
    """
    truth, series = compress(truth, series)
    mixes = candidates @ series
    lengths = np.linalg.norm(mixes, axis=1) * np.linalg.norm(truth)
    return np.divide(mixes @ truth, lengths, out=np.full(len(mixes), -np.inf), where=lengths > 0)
