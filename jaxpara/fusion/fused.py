"""What a fusion is given and gives: the members' predictions in, one system's out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jaxpara.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Fused:
    """One system's predictions.

    Attributes:
      tune: of the recordings that the folds were tuned on, each by its own fold.
      test: of the test partition, of all folds together.
      weights: what the fusion found, for the report; JSON.
    """

    tune: Predictions
    test: Predictions
    weights: dict[str, Any] = field(default_factory=dict)


class Fusion(Protocol):
    def __call__(self, tune: Mapping[str, Predictions], test: Mapping[str, Sequence[Predictions]]) -> Fused:
        """Args:
        tune: by member, the predictions of the recordings that its folds were tuned on.
        test: by member, one prediction of the test partition per fold.
        """
        ...
