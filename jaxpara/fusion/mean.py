"""The plain mean of scores (paper §3.2: overlaps, folds and systems are averaged)."""

from collections.abc import Sequence

import numpy as np

from jaxpara.predictions import Predictions, align


def mean(parts: Sequence[Predictions]) -> Predictions:
    """The mean of several predictions of the same things, in the order of the first; an ensemble, so of no fold.

    Raises:
      UserError: they are not predictions of the same recordings and times.
    """
    parts = align(parts)
    first = parts[0]
    scores = np.mean([part.scores for part in parts], axis=0)
    return Predictions(first.recordings, first.times_s, scores, first.partitions, np.full(len(first), -1))
