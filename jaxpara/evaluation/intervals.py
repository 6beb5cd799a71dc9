"""Confidence intervals from sums per unit, so that a resample needs a few numbers instead of a pass over the rows.

A measure here is a function of sums over rows (Pearson's r: moments; UAR: the confusion matrix). A resample of units,
each drawn some number of times, has the sums `counts @ sums_per_unit`; all resamples are one matrix product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from jaxpara.evaluation.metrics import Undefined

LEVEL = 0.95
RESAMPLES = 10_000
MAX_UNDEFINED = 0.05  # of the resamples
CHUNK = 1_000  # resamples in memory at once
# Of scores on the line of their measure: mean, squared standard error, and the degrees of freedom of that.
MeanScore = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Units:
    """Units that are drawn with replacement, or left out: speakers, recordings or blocks of time.

    `sums` is `[unit, sum]`; `copies`, `[unit]`, counts the equal units, drawn separately, that an entry stands for.
    """

    sums: np.ndarray
    copies: np.ndarray

    def __len__(self) -> int:
        return int(self.copies.sum())


@dataclass(frozen=True)
class SumMeasure:
    """A measure as a function of sums.

    Attributes:
      of_sums: `[..., sum]` to `[...]`; NaN where the measure is undefined.
      to_line: maps the range of the measure to the whole real line, where its spread depends less on its value.
      from_line: the inverse.
    """

    name: str
    of_sums: Callable[[np.ndarray], np.ndarray]
    to_line: Callable[..., np.ndarray]
    from_line: Callable[..., np.ndarray]


def moments(truth: np.ndarray, prediction: np.ndarray, unit: np.ndarray) -> Units:
    """Sum n, x, y, xx, yy, xy, from which Pearson's r follows, over each unit; `unit` `[row]` numbers them from 0."""
    # r does not change with offset and scale; standardised, the sums lose no digits to a large offset.
    x, y = (np.asarray(series, np.float64) for series in (truth, prediction))
    x, y = ((s - s.mean()) / (s.std() or 1.0) for s in (x, y))
    columns = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(unit, weights=column) for column in columns], 1)
    return Units(sums, np.ones(len(sums), int))


def _pcc_of_sums(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        x_varies, y_varies = xx - x * x / n, yy - y * y / n
        r = np.clip((xy - x * y / n) / np.sqrt(x_varies * y_varies), -1, 1)  # rounding may exceed the limits
    # Of a constant series, rounding errors of about 1e-16 of its sum of squares remain.
    return np.where((x_varies > 1e-12 * xx) & (y_varies > 1e-12 * yy), r, np.nan)


def confusions(truth: np.ndarray, predicted: np.ndarray, unit: np.ndarray, classes: int) -> Units:
    """Count the flattened confusion matrix of each unit; `unit` `[row]` numbers them from 0."""
    cells = classes * classes
    flat = (np.asarray(unit) * classes + np.asarray(truth, int)) * classes + np.asarray(predicted, int)
    sums = np.bincount(flat, minlength=(int(np.max(unit)) + 1) * cells).reshape(-1, cells).astype(np.float64)
    return Units(sums, np.ones(len(sums), int))


def single_rows(counts: np.ndarray) -> Units:
    """Make a unit of each row of a confusion matrix; the rows of one cell are alike, so its count is enough."""
    return Units(np.eye(counts.size), np.asarray(counts, int).ravel())


def _uar_of_sums(sums: np.ndarray) -> np.ndarray:
    classes = int(np.sqrt(sums.shape[-1]))
    counts = sums.reshape(*sums.shape[:-1], classes, classes)
    with np.errstate(invalid="ignore"):
        return (np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1)).mean(-1)


PCC = SumMeasure("PCC", _pcc_of_sums, np.arctanh, np.tanh)
UAR = SumMeasure("UAR", _uar_of_sums, special.logit, special.expit)


def draws(units: Units, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw how often each unit is in each resample, `[resample, unit]`, with as many draws as units."""
    return rng.multinomial(len(units), units.copies / len(units), size=resamples)


def bootstrap(units: Units, measure: SumMeasure, *, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Compute the measure `[resample]` of units drawn with replacement; NaN where it is undefined."""
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    return np.concatenate([measure.of_sums(draws(units, size, rng) @ units.sums) for size in sizes])


def bootstrap_interval(units: Units, measure: SumMeasure, *, seed: int = 0, resamples: int = RESAMPLES) -> list[float]:
    """Compute the percentile interval of the bootstrap; too narrow with few units, see `jackknife_interval`.

    Raises:
      Undefined: fewer than 2 units, or a measure that is undefined in more than `MAX_UNDEFINED` of the resamples.
    """
    if len(units) < 2:
        raise Undefined("one unit only, nothing to resample")
    values = bootstrap(units, measure, seed=seed, resamples=resamples)
    defined = values[np.isfinite(values)]
    if len(defined) < (1 - MAX_UNDEFINED) * len(values):
        raise Undefined(f"the measure is undefined in {1 - len(defined) / len(values):.0%} of the resamples")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def jackknife_interval(units: Units, measure: SumMeasure) -> list[float]:
    """Compute an interval that is valid with few units too: jackknife and Student's t, on the measure's line.

    On Fisher's z scale (r) or the logit scale (UAR) the spread of the leave-one-out values gives a standard
    error; Student's t with n - 1 degrees of freedom accounts for its uncertainty; mapped back, the interval
    stays within the range of the measure. In simulations with speakers who differ in size and in quality
    (benchmarks/interval_coverage.py) it covered, of nominal 95 %, 93 to 96 % for every number of speakers from 3 to 32,
    where the percentile bootstrap covered 74 to 76 % with 3, 87 to 89 % with 8 and 92 to 94 % with 32.

    Raises:
      Undefined: fewer than 2 units, a measure at the limit of its range, or one that depends on a single unit.

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 11; Student's t on a
      transformed scale after Miller, Biometrika 61 (1974).
    """
    n = len(units)
    if n < 2:
        raise Undefined("one unit only, nothing to leave out")
    total = units.copies @ units.sums
    present = units.copies > 0
    without_one, copies = total - units.sums[present], units.copies[present]
    with np.errstate(divide="ignore"):
        centre = measure.to_line(measure.of_sums(total))
        values = measure.to_line(measure.of_sums(without_one))
    if not np.isfinite(centre):
        raise Undefined("the measure is undefined or at the limit of its range")
    if not np.isfinite(values).all():
        raise Undefined("without one of the units the measure is undefined or at the limit of its range")
    spread = copies @ (values - copies @ values / n) ** 2
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt((n - 1) / n * spread)
    return [float(measure.from_line(centre - reach)), float(measure.from_line(centre + reach))]


def mean_score(
    values: Sequence[float],
    measure: SumMeasure,
    bounds: Sequence[Sequence[float]] = (),
    units: Sequence[int] = (),
    *,
    shared: bool = False,
) -> MeanScore:
    """Estimate the mean of `[score]` values.

    Args:
      bounds: `[score, 2]` from `jackknife_interval`, which give the error of each; without them, the scatter does.
      units: `[score]` number of units of each, with bounds only.
      shared: True if the scores share units. Their errors are then taken as equal, which is stricter than independent.
    """
    # A score at the limit of its range is infinite on the line; `differ` then returns False.
    with np.errstate(divide="ignore", invalid="ignore"):
        centres = measure.to_line(np.array(values))
        if not len(bounds):
            return centres.mean(), centres.var(ddof=1) / len(centres), len(centres) - 1
        freedom = np.array(units) - 1
        low, high = measure.to_line(np.array(bounds)).T
        errors = (high - low) / 2 / stats.t.ppf((1 + LEVEL) / 2, freedom)
        if shared:
            return centres.mean(), errors.mean() ** 2, freedom.min()
        parts = (errors / len(values)) ** 2
        return centres.mean(), parts.sum(), parts.sum() ** 2 / (parts**2 / freedom).sum()


def differ(one: MeanScore, other: MeanScore) -> bool:
    """Return True if two independent means differ at the 5 % level, by Welch's two-sided t-test.

    Reference: Welch, Biometrika 34 (1947); Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    (mean, variance, freedom), (other_mean, other_variance, other_freedom) = one, other
    both = variance + other_variance
    if not (np.isfinite(both) and both > 0):
        return False
    together = both**2 / (variance**2 / freedom + other_variance**2 / other_freedom)
    return bool(abs(mean - other_mean) > stats.t.ppf((1 + LEVEL) / 2, together) * np.sqrt(both))
