"""The exact best weights for a sequence: what random or evenly spaced ones come near to."""

import numpy as np
from scipy.optimize import nnls

from jaxpara.errors import UserError
from jaxpara.fusion.correlation import compress, correlations
from jaxpara.fusion.fused import Measure
from jaxpara.fusion.weighted import Searched


class Convex(Searched):
    """The non-negative weights with the highest Pearson's r, for sequences; nothing is left to chance.

    r does not change with the scale of the weights, so the nonnegative least-squares fit of the centred truth by the
    centred members has the highest one; its weights are scaled to sum to 1. Where no member correlates positively that
    fit is empty, and no mix is better than the best single member, which is taken instead.

    Reference: `scipy.optimize.nnls` (Lawson and Hanson, *Solving Least Squares Problems*, 1974, chapter 23).
    """

    def search(self, truth: np.ndarray, scores: np.ndarray, measure: Measure) -> np.ndarray:
        if scores.shape[-1] != 1:
            raise UserError(
                "config.fusion.name is 'convex', which is for sequences, with one score a row; here each row has"
                f" {scores.shape[-1]}, one a class: try 'dirichlet'"
            )
        target, series = compress(truth, scores[..., 0])
        weights, _ = nnls(series.T, target)
        if not weights.any():
            single = np.eye(len(series))
            weights = single[int(np.argmax(correlations(single, truth, scores[..., 0])))]
        return weights / weights.sum()
