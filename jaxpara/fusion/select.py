"""No fusion but a choice: the member that does best on what it was tuned on (paper §3.1.2, choice of a backbone)."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxpara.fusion.fused import Fused, Measure
from jaxpara.fusion.mean import by_fold, mix, others
from jaxpara.predictions import Predictions, concatenate


class Select:
    """One member for all folds: the one with the highest mean over its folds of the measure; of equals the first.

    The cross-fitted predictions of a fold come from the member that is best on those folds that share no recording
    with it; there are none where no fold is such.
    """

    def __call__(
        self,
        validation: Mapping[str, Predictions],
        test: Mapping[str, Mapping[int, Predictions]],
        truth: Mapping[str, np.ndarray],
        measure: Measure,
    ) -> Fused:
        values = {
            name: {fold: _value(part, truth[name], fold, measure) for fold in np.unique(part.folds).tolist()}
            for name, part in validation.items()
        }

        def best(among: Sequence[int] | None = None) -> str:
            means = {
                name: np.mean([value for fold, value in folds.items() if among is None or fold in among])
                for name, folds in values.items()
            }
            return max(means, key=means.__getitem__)

        chosen = best()
        folds = sorted(values[chosen])
        cross_fitted = None
        if all(sorted(own) == folds for own in values.values()):
            parts = by_fold(validation)
            elsewhere = others({fold: parts[fold][chosen] for fold in folds})
            if elsewhere:
                cross_fitted = concatenate([parts[fold][best(elsewhere[fold])] for fold in folds])
        shares = {chosen: {fold: 1 / len(folds) for fold in folds}}
        return Fused(
            validation=validation[chosen],
            test=mix(test, shares),
            shares=shares,
            weights={name: [float(name == chosen)] * len(folds) for name in validation},
            cross_fitted=cross_fitted,
        )


def _value(part: Predictions, truth: np.ndarray, fold: int, measure: Measure) -> float:
    rows = (part.folds == fold) & np.isfinite(truth)
    return measure(truth[rows], part.scores[rows])
