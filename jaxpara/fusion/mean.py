"""The plain mean of scores (paper §3.2: windows, folds and systems are averaged)."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxpara.fusion.fused import Fused, Measure, Shares
from jaxpara.predictions import Predictions, align, concatenate


def mean(parts: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """The weighted mean of several predictions of the same things, in the order of the first.

    Args:
      parts: one or more.
      weights: one a part; equal by default.

    Returns:
      Predictions of a fold where all parts are of that fold, else of fold -1.

    Raises:
      UserError: they are not predictions of the same recordings and times.
    """
    parts = align(parts)
    first = parts[0]
    folds = np.stack([part.folds for part in parts])
    return Predictions(
        first.recordings,
        first.times_s,
        np.average([part.scores for part in parts], axis=0, weights=weights),
        first.partitions,
        np.where((folds == folds[0]).all(0), folds[0], -1),
    )


def mix(parts: Mapping[str, Mapping[int, Predictions]], shares: Shares) -> Predictions:
    """The weighted mean of what members and their folds predict of the same things; without a share they are not asked.

    Args:
      parts: by member and fold.
      shares: by member and fold; the sum is 1.
    """
    counted = [(parts[name][fold], share) for name, of in shares.items() for fold, share in of.items() if share]
    equal = len({share for _, share in counted}) == 1
    return mean([part for part, _ in counted], None if equal else [share for _, share in counted])


def by_fold(validation: Mapping[str, Predictions]) -> dict[int, dict[str, Predictions]]:
    """`{fold: {member: predictions}}` from each member's predictions of all its folds."""
    numbers = sorted({int(fold) for part in validation.values() for fold in np.unique(part.folds)})
    return {
        fold: {name: part.select(part.folds == fold) for name, part in validation.items() if (part.folds == fold).any()}
        for fold in numbers
    }


def others(parts: Mapping[int, Predictions]) -> dict[int, list[int]]:
    """By fold, the folds that were tuned on none of its recordings; empty where a fold has no such other.

    Fits of one fold with several seeds share all of them.
    """
    names = {fold: frozenset(part.recordings.tolist()) for fold, part in parts.items()}
    found = {fold: [f for f in names if not names[f] & names[fold]] for fold in names}
    return found if all(found.values()) else {}


class Mean:
    """Every fit (one fold of one member) counts the same."""

    def __call__(
        self,
        validation: Mapping[str, Predictions],
        test: Mapping[str, Mapping[int, Predictions]],
        truth: Mapping[str, np.ndarray],
        measure: Measure,
    ) -> Fused:
        fits = sum(len(folds) for folds in test.values())
        shares = {name: {fold: 1 / fits for fold in folds} for name, folds in test.items()}
        tuned = concatenate([mean(list(members.values())) for members in by_fold(validation).values()])
        return Fused(tuned, mix(test, shares), shares)
