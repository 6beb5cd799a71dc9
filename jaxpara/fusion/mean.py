"""The plain mean of scores (paper §3.2: windows, folds and systems are averaged)."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxpara.fusion.fused import Fused
from jaxpara.predictions import Predictions, align


def mean(parts: Sequence[Predictions]) -> Predictions:
    """The mean of several predictions of the same things, in the order of the first; of no fold if their folds differ.

    Raises:
      UserError: they are not predictions of the same recordings and times.
    """
    parts = align(parts)
    first = parts[0]
    folds = np.stack([part.folds for part in parts])
    return Predictions(
        first.recordings,
        first.times_s,
        np.mean([part.scores for part in parts], axis=0),
        first.partitions,
        np.where((folds == folds[0]).all(0), folds[0], -1),
    )


class Mean:
    """Every member and every fold counts the same."""

    def __call__(self, tune: Mapping[str, Predictions], test: Mapping[str, Sequence[Predictions]]) -> Fused:
        return Fused(mean(list(tune.values())), mean([fold for folds in test.values() for fold in folds]))
