"""Weights searched per fold (paper §3.1.2, Mask systems 2, 4 and 5): the best member, or the best mix of two."""

from collections.abc import Mapping

import numpy as np

from jaxpara.errors import UserError
from jaxpara.fusion.correlation import correlations
from jaxpara.fusion.fused import Fused, Measure
from jaxpara.fusion.mean import by_fold, mean, mix, others
from jaxpara.predictions import Predictions, align, concatenate


class Searched:
    """Per fold, the weights with the highest measure on what the fold was tuned on; the folds are averaged.

    The cross-fitted predictions of a fold use the mean of the weights of those folds that share no recording with it.
    """

    def search(self, truth: np.ndarray, scores: np.ndarray, measure: Measure) -> np.ndarray:
        """The weights of one fold.

        Args:
          truth: `[row]`, all known.
          scores: `[member, row, score]`.
          measure: the official measure.

        Returns:
          `[member]`, with sum 1.
        """
        raise NotImplementedError

    def __call__(
        self,
        validation: Mapping[str, Predictions],
        test: Mapping[str, Mapping[int, Predictions]],
        truth: Mapping[str, np.ndarray],
        measure: Measure,
    ) -> Fused:
        names = sorted(validation)
        folds = by_fold({name: validation[name] for name in names})
        found: dict[int, np.ndarray] = {}
        for fold, members in folds.items():
            if sorted(members) != names:
                raise UserError(
                    f"config.fusion: fold {fold} has only {sorted(members)}; a search needs every member there"
                )
            # In the order of the first member, and so is its truth.
            scores = np.stack([part.scores for part in align([members[name] for name in names])])
            labels = truth[names[0]][validation[names[0]].folds == fold]
            known = np.isfinite(labels)
            found[fold] = self.search(labels[known], scores[:, known], measure)

        def fuse(weights: Mapping[int, np.ndarray]) -> Predictions:
            return concatenate([mean([m[n] for n in names], list(weights[f])) for f, m in folds.items()])

        elsewhere = others({fold: members[names[0]] for fold, members in folds.items()})
        of_others = {fold: np.mean([found[other] for other in of], axis=0) for fold, of in elsewhere.items()}
        shares = {name: {fold: float(w[i]) / len(found) for fold, w in found.items()} for i, name in enumerate(names)}
        return Fused(
            validation=fuse(found),
            test=mix(test, shares),
            shares=shares,
            weights={name: [float(found[fold][i]) for fold in sorted(found)] for i, name in enumerate(names)},
            cross_fitted=fuse(of_others) if of_others else None,
        )


class Tried(Searched):
    """The best of a list of weights; of equals the first."""

    def candidates(self, members: int) -> np.ndarray:
        """`[candidate, member]` weights to try; each row sums to 1."""
        raise NotImplementedError

    def search(self, truth: np.ndarray, scores: np.ndarray, measure: Measure) -> np.ndarray:
        candidates = self.candidates(len(scores))
        if scores.shape[-1] == 1:
            # A sequence is measured by Pearson's r, which needs no pass over the rows for every candidate.
            values = correlations(candidates, truth, scores[..., 0])
        else:
            values = [measure(truth, np.tensordot(w, scores, 1)) for w in candidates]
        return candidates[int(np.argmax(values))]


class Best(Tried):
    """One member per fold: the one with the highest measure (Mask systems 2 and 4)."""

    def candidates(self, members: int) -> np.ndarray:
        return np.eye(members)


class Weighted(Tried):
    """The best of evenly spaced mixes of two members (Mask system 5: a in 0, 1/40, ..., 1).

    Attributes:
      points: mixes tried.
    """

    def __init__(self, points: int = 41):
        self._points = points

    def candidates(self, members: int) -> np.ndarray:
        if members != 2:
            raise UserError(f"config.fusion.name is 'weighted', which mixes 2 members, not {members}; try 'dirichlet'")
        first = np.linspace(0, 1, self._points)
        return np.stack([first, 1 - first], axis=1)
