"""What a fusion is given and gives: the members' predictions in, one system's out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxpara.predictions import Predictions

Shares = dict[str, dict[int, float]]
# Higher is better: truth [row], scores [row, score]. Pearson's r where there is one score (a sequence).
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Fused:
    """One system's predictions.

    Attributes:
      validation: of the recordings that the folds were tuned on, each by its own fold.
      test: of the test partition, of all folds together: the mix of its members and folds by `shares`.
      shares: by member and fold, how much it counts in what is not tuned on; the sum is 1.
      weights: what the fusion found: by member, a weight per fold in the order of the folds. None where it searches
        none.
      cross_fitted: `validation` once more, every fold with weights that the other folds found: its score is not
        flattered by
        having been searched on the same recordings. None where nothing is searched.
    """

    validation: Predictions
    test: Predictions
    shares: Shares
    weights: dict[str, list[float]] | None = None
    cross_fitted: Predictions | None = None


class Fusion(Protocol):
    def __call__(
        self,
        validation: Mapping[str, Predictions],
        test: Mapping[str, Mapping[int, Predictions]],
        truth: Mapping[str, np.ndarray],
        measure: Measure,
    ) -> Fused:
        """Fuses.

        Args:
          validation: by member, the predictions of the recordings that its folds were tuned on.
          test: by member and fold, predictions of the test partition.
          truth: by member, `[row]` the labels of `validation`; NaN where there are none.
          measure: the official measure, for fusions that search weights.

        Returns:
          The predictions of all members together, with how much each counts in them.

        Raises:
          UserError: the members' predictions do not fit together, or a search does not suit them.
        """
        ...
