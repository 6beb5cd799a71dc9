"""Units that are drawn with replacement or left out, each with sums from which a measure of all of them follows.

A measure here is a function of sums over rows: Pearson's r of moments, UAR of counts by class, AUC of a histogram
of the scores. A resample of units, each drawn some number of times, has the sums `counts @ sums_per_unit`: all
resamples are one matrix product.

Each form below takes the `[row]` truth; the scores of one or more systems for these rows, `[row, score]` each; and the
`[row]` unit, numbered from 0, or None if every row is a unit of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse, stats

OfSums = Callable[[np.ndarray], np.ndarray]
Systems = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Units:
    """Speakers, recordings or blocks of time.

    Attributes:
      sums: `[unit, sum]`, dense or a sparse array; of several systems `[unit, system * sum]`.
      copies: `[unit]`, the number of equal units, drawn separately, that an entry stands for.
      of_sums: the measure of one system: `[..., sum]` to `[...]`, NaN where it is undefined.
    """

    sums: Any
    copies: np.ndarray
    of_sums: OfSums

    def __len__(self) -> int:
        return int(self.copies.sum())


def confusions(of_sums: OfSums, truth: np.ndarray, systems: Systems, unit: np.ndarray | None) -> Units:
    """Count the rows of each unit by true class, by predicted class, and where both agree, `[3 * class]` per system."""
    classes = systems[0].shape[1]
    rows = np.column_stack([np.asarray(truth, int), *(scores.argmax(1) for scores in systems)])
    if unit is None:
        # Rows equal in truth and in all predictions are equal in every resample, so that their counts are enough.
        rows, copies = np.unique(rows, axis=0, return_counts=True)
        unit = np.arange(len(rows))
    else:
        copies = np.ones(int(np.max(unit)) + 1, int)

    def counts(column: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(unit * classes + column, weights, len(copies) * classes).reshape(-1, classes)

    true, *predictions = rows.T
    sums = [part for of_one in predictions for part in (counts(true), counts(of_one), counts(true, true == of_one))]
    return Units(np.concatenate(sums, 1, dtype=np.float64), copies, of_sums)


def uar_of(sums: np.ndarray) -> np.ndarray:
    true, _, hits = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore"):
        return (hits / true).mean(-1)


def f1_of(sums: np.ndarray) -> np.ndarray:
    true, predicted, hits = np.split(sums, 3, axis=-1)
    return (2 * hits / np.where(true > 0, true + predicted, np.nan)).mean(-1)


def accuracy_of(sums: np.ndarray) -> np.ndarray:
    true, _, hits = np.split(sums, 3, axis=-1)
    return hits.sum(-1) / true.sum(-1)


def _each_row(unit: np.ndarray | None, rows: int) -> np.ndarray:
    return np.arange(rows) if unit is None else unit


def _summed(columns: Sequence[np.ndarray], unit: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(unit, weights=column) for column in columns], 1)


def moments(of_sums: OfSums, truth: np.ndarray, systems: Systems, unit: np.ndarray | None, *, common: bool) -> Units:
    """Sum n, x, y, xx, yy, xy over each unit, of standardised truth and predictions, as sums lose digits to an offset.

    Args:
      common: True to shift and scale predictions as the truth, for measures that compare the two; False to standardise
        each system on its own, for those that ignore offset and scale.
    """
    unit = _each_row(unit, len(truth))
    x, *predictions = (np.asarray(series, np.float64) for series in (truth, *(scores[:, 0] for scores in systems)))

    def standardised(series: np.ndarray) -> np.ndarray:
        like = x if common else series
        return (series - like.mean()) / (like.std() or 1.0)

    true, sums = standardised(x), []
    for y in map(standardised, predictions):
        sums.append(_summed((np.ones_like(true), true, y, true * true, y * y, true * y), unit))
    return Units(np.concatenate(sums, 1), np.ones(len(sums[0]), int), of_sums)


def _varies(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of squares of x and of y about their means, and where neither series is constant."""
    n, x, y, xx, yy, _ = np.moveaxis(sums, -1, 0)
    x_varies, y_varies = xx - x * x / n, yy - y * y / n
    # Of a constant series, rounding errors of about 1e-16 of its sum of squares remain.
    return x_varies, y_varies, (x_varies > 1e-12 * xx) & (y_varies > 1e-12 * yy)


def pcc_of(sums: np.ndarray) -> np.ndarray:
    n, x, y, _, _, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x_varies, y_varies, both = _varies(sums)
        r = np.clip((xy - x * y / n) / np.sqrt(x_varies * y_varies), -1, 1)  # rounding may exceed the limits
    return np.where(both, r, np.nan)


def ccc_of(sums: np.ndarray) -> np.ndarray:
    n, x, y, _, _, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x_varies, y_varies, both = _varies(sums)
        value = np.clip(2 * (xy - x * y / n) / (x_varies + y_varies + (x - y) ** 2 / n), -1, 1)
    return np.where(both, value, np.nan)


def squared_errors(of_sums: OfSums, truth: np.ndarray, systems: Systems, unit: np.ndarray | None) -> Units:
    """Sum n and the squared error over each unit."""
    unit = _each_row(unit, len(truth))
    sums = [_summed((np.ones(len(truth)), (truth - scores[:, 0]) ** 2), unit) for scores in systems]
    return Units(np.concatenate(sums, 1), np.ones(len(sums[0]), int), of_sums)


def rmse_of(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.sqrt(sums[..., 1] / sums[..., 0])


def histograms(
    of_cells: Callable[[np.ndarray, np.ndarray], OfSums], truth: np.ndarray, systems: Systems, unit: np.ndarray | None
) -> Units:
    """Count the rows of each unit by cell; the rows of a cell are equal in truth and in scores.

    For measures of ranks, which no few sums determine. Each system's scores are replaced by their ranks over all rows,
    which such measures ignore; the cells are those of all systems, so that rows of several systems can be mixed.

    Args:
      of_cells: makes the measure of `[..., cell]` counts from `[cell]` truth and `[cell, score]` ranks.
    """
    unit = _each_row(unit, len(truth))
    ranked = [stats.rankdata(scores, axis=0) for scores in systems]
    rows = np.concatenate([np.column_stack([truth, of_one]) for of_one in ranked])
    cells, cell = np.unique(rows, axis=0, return_inverse=True)
    shape = int(np.max(unit)) + 1, len(cells)
    ones = np.ones(len(truth))
    sums = [sparse.csr_array((ones, (unit, of_one)), shape) for of_one in np.split(cell.ravel(), len(systems))]
    of_sums = of_cells(cells[:, 0], cells[:, 1:])
    return Units(sparse.hstack(sums, format="csr"), np.ones(shape[0], int), of_sums)


class _Ranks:
    """Midranks of weighted cells by a `[cell]` value.

    Cells of equal value share a rank: half of their own weight after the weight of all smaller ones.
    """

    def __init__(self, values: np.ndarray):
        self._order = np.argsort(values, kind="stable")
        _, self._starts, self.group = np.unique(values[self._order], return_index=True, return_inverse=True)
        self.group = self.group[np.argsort(self._order, kind="stable")]  # [cell]

    def weights(self, counts: np.ndarray) -> np.ndarray:
        """Sum `[..., cell]` counts by value, `[..., group]` from the smallest value on."""
        return np.add.reduceat(counts[..., self._order], self._starts, axis=-1)

    @staticmethod
    def of(weights: np.ndarray) -> np.ndarray:
        """Return the ranks, `[..., group]`."""
        return np.cumsum(weights, axis=-1) - weights / 2


def spearman_of(truth: np.ndarray, scores: np.ndarray) -> OfSums:
    by_truth, by_score = _Ranks(truth), _Ranks(scores[:, 0])

    def of_counts(counts: np.ndarray) -> np.ndarray:
        n = counts.sum(-1)
        ranks, varies = [], []
        for by in (by_truth, by_score):
            weights = by.weights(counts)
            of_group = by.of(weights)
            varies.append(np.einsum("...i,...i,...i", weights, of_group, of_group) - n**3 / 4)  # the mean rank is n / 2
            ranks.append(of_group[..., by.group])
        covary = np.einsum("...i,...i,...i", counts, *ranks) - n**3 / 4
        with np.errstate(divide="ignore", invalid="ignore"):
            r = covary / np.sqrt(varies[0] * varies[1])
        return np.where((varies[0] > 0) & (varies[1] > 0), np.clip(r, -1, 1), np.nan)

    return of_counts


def auc_of(truth: np.ndarray, scores: np.ndarray) -> OfSums:
    classes = scores.shape[1]
    wanted = (1,) if classes == 2 else range(classes)
    ranks = {index: _Ranks(scores[:, index]) for index in wanted}

    def of_counts(counts: np.ndarray) -> np.ndarray:
        values = []
        for index, by in ranks.items():
            positive = by.weights(counts * (truth == index))
            negative = by.weights(counts) - positive
            wins = np.einsum("...i,...i", positive, by.of(negative))
            with np.errstate(invalid="ignore"):
                values.append(wins / (positive.sum(-1) * negative.sum(-1)))
        return np.mean(values, axis=0)

    return of_counts


UAR, F1, ACCURACY = (partial(confusions, of_sums) for of_sums in (uar_of, f1_of, accuracy_of))
PCC, CCC = partial(moments, pcc_of, common=False), partial(moments, ccc_of, common=True)
RMSE = partial(squared_errors, rmse_of)
SPEARMAN, AUC = partial(histograms, spearman_of), partial(histograms, auc_of)
