"""Long recordings in blocks of the length that a system was trained on, and their predictions put together again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

OVERLAP = 1 / 8  # of a block, in which the sequence of one fades into that of the next


@dataclass(frozen=True)
class Blocks:
    """How recordings are cut.

    Attributes:
      size, step: samples in a block, and from one block to the next.
      cell: every block begins at a multiple of so many samples, where there is a prediction.
    """

    size: int
    step: int
    cell: int

    def cut(self, chunks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Cuts a recording that comes in chunks, and keeps no more than two blocks of it.

        The last block ends with the recording and is as long as the others, but for less than a cell.

        Args:
          chunks: `[sample]` each.

        Yields:
          The sample that a block begins with, and its samples; none for an empty recording.
        """
        kept, first, start = np.empty(0, np.float32), 0, 0  # what is kept begins with sample `first`
        for chunk in chunks:
            kept = np.concatenate([kept, chunk])
            # Only with more behind it a block is known not to be the last.
            while first + len(kept) > start + self.size:
                yield start, kept[start - first : start - first + self.size]
                start += self.step
                drop = max(0, start - self.size - first)
                kept, first = kept[drop:], first + drop
        end = first + len(kept)
        if end:
            start = max(0, -(-(end - self.size) // self.cell) * self.cell)
            yield start, kept[start - first :]


def for_sequences(longest_s: float, rate_hz: float, sample_rate_hz: int) -> Blocks:
    """Blocks that overlap.

    Args:
      longest_s: of a recording that is not cut.
      rate_hz: predictions per second.
      sample_rate_hz: of the recordings.

    Returns:
      Blocks of as many predictions as `longest_s` holds, two at least.
    """
    cell = (Fraction(sample_rate_hz) / Fraction(rate_hz).limit_denominator(1000)).numerator
    cells = max(2, round(longest_s * sample_rate_hz) // cell)
    return Blocks(cells * cell, (cells - max(1, round(cells * OVERLAP))) * cell, cell)


def for_classes(longest_s: float, sample_rate_hz: int) -> Blocks:
    """Clips one after the other, of which the last ends with the recording.

    Args:
      longest_s: of a recording that is not cut.
      sample_rate_hz: of the recordings.

    Returns:
      Blocks that do not overlap, but for the last.
    """
    size = max(1, round(longest_s * sample_rate_hz))
    return Blocks(size, size, 1)


def faded(starts: Sequence[int], parts: Sequence[np.ndarray]) -> np.ndarray:
    """One sequence from those of blocks: where two overlap, the first fades into the second.

    Args:
      starts: the row that each begins with, rising.
      parts: `[row, value]` each.

    Returns:
      `[row, value]` up to the end of the last.
    """
    if len(parts) == 1:
        return parts[0]
    rows = starts[-1] + len(parts[-1])
    total, weight = np.zeros((rows, parts[0].shape[1])), np.zeros((rows, 1))
    for start, part in zip(starts, parts, strict=True):
        # Rises and falls towards the ends; where nothing overlaps it cancels out.
        near = np.arange(1, len(part) + 1, dtype=np.float64)
        ramp = np.minimum(np.minimum(near, near[::-1]), max(1.0, len(part) * OVERLAP))[:, None]
        total[start : start + len(part)] += ramp * part
        weight[start : start + len(part)] += ramp
    return total / weight
