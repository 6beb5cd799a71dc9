"""Fusion: combine the predictions of several members, with NumPy and SciPy only.

A fusion averages the scores of all trained models with weights: equal ones (`mean`), those of one member (`select`,
`best`), or those that a search finds for each fold on its validation set (`grid`, `dirichlet`, `convex`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from jaxpara.errors import UserError
from jaxpara.predictions import MODEL, FoldSeed, align, by_model, concatenate, model_name, scores_of, with_scores

ByMember = Mapping[str, pd.DataFrame]
ByModel = Mapping[str, Mapping[FoldSeed, pd.DataFrame]]


class Goal(Protocol):
    """The aim of a search: the largest measure, or the smallest if it is an error."""

    @property
    def name(self) -> str: ...

    def gain_of(self, truth: np.ndarray, scores: np.ndarray) -> float:
        """Compute it from `[row]` truth and `[row, score]` scores; -inf where it is undefined."""
        ...


@dataclass(frozen=True, eq=False)
class Fused:
    """The predictions of one system.

    Attributes:
      validation: of all validation sets, each predicted by the models of its own fold.
      test: of the test partition, by all models together with `model_weights`.
      model_weights: {member: {(fold, seed): weight}} for recordings that are in no validation set; the sum is 1.
      searched_weights: {member: [weight per model, the folds of the first seed first]}; None where none are searched.
      cross_fitted: `validation` again, but each fold uses the weights that other folds found. Its score is not
        inflated by a search on the same recordings. None where nothing is searched or no other fold is disjoint.
    """

    validation: pd.DataFrame
    test: pd.DataFrame
    model_weights: dict[str, dict[FoldSeed, float]]
    searched_weights: dict[str, list[float]] | None = None
    cross_fitted: pd.DataFrame | None = None


def average(tables: Sequence[pd.DataFrame], weights: Sequence[float] | None = None) -> pd.DataFrame:
    """Average predictions of the same recordings and times in the order of the first table, with weights or equally."""
    tables = align(tables)
    if tables[0].empty:  # no test partition
        return tables[0]
    models = np.stack([table[MODEL].to_numpy() for table in tables])
    same = (models == models[0]).all((0, 2))[:, None]
    scores = np.stack([scores_of(table) for table in tables])
    mean = with_scores(tables[0], np.average(scores, axis=0, weights=weights) if scores.size else scores[0])
    mean[MODEL] = np.where(same, models[0], -1)  # rows of several models are an ensemble's
    return mean


def mix(parts: ByModel, model_weights: Mapping[str, Mapping[FoldSeed, float]]) -> pd.DataFrame:
    """Average the predictions of several members' models with weights of sum 1; weight 0 needs no predictions."""
    used = [(parts[name][key], weight) for name, of in model_weights.items() for key, weight in of.items() if weight]
    equal = len({weight for _, weight in used}) == 1
    return average([part for part, _ in used], None if equal else [weight for _, weight in used])


def correlations(candidates: np.ndarray, truth: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Return Pearson's r, `[candidate]`, of the truth, `[row]`, and of many weighted sums of `[member, row]` series.

    The weights are `candidates`, `[candidate, member]`. Where a sum or the truth is constant, r is -inf.
    """
    truth, series = _compress(truth, series)
    sums = candidates @ series
    lengths = np.linalg.norm(sums, axis=1) * np.linalg.norm(truth)
    return np.divide(sums @ truth, lengths, out=np.full(len(sums), -np.inf), where=lengths > 0)


def _compress(truth: np.ndarray, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate centred series into an orthonormal basis of their span: few numbers with the same inner products."""
    both = np.vstack([series, truth])
    # A constant series becomes exactly 0, which its rounded mean would not give.
    both = np.where(np.ptp(both, axis=1, keepdims=True) == 0, 0, both - both.mean(1, keepdims=True))
    rotated = np.asarray(np.linalg.qr(both.T, mode="r"))
    return rotated[:, -1], rotated[:, :-1].T


def _by_model(validation: ByMember) -> dict[FoldSeed, dict[str, pd.DataFrame]]:
    """Turn {member: predictions of all its models} into {(fold, seed): {member: predictions}}."""
    parts = {name: by_model(table) for name, table in validation.items()}
    keys = by_model(concatenate([table[MODEL] for table in validation.values()]))
    return {key: {name: parts[name][key] for name in parts if key in parts[name]} for key in keys}


def _aligned(key: FoldSeed, members: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the predictions of a fold's members with the rows in the same order; a UserError if they differ."""
    try:
        return align(list(members.values()))
    except UserError as error:
        fix = "give the members the same folds, or name fewer in config.fusion.members"
        raise UserError(f"config.fusion: fold {model_name(key)} of {', '.join(members)}: {error}; {fix}") from None


def _disjoint(parts: Mapping[FoldSeed, pd.DataFrame]) -> dict[FoldSeed, list[FoldSeed]]:
    """List for each model those whose validation sets share no recording with its own; empty if any has none."""
    # Models of one fold with several seeds share all recordings, so that they are never in each other's list.
    names = {key: frozenset(part["recording"]) for key, part in parts.items()}
    found = {key: [other for other in names if not names[other] & names[key]] for key in names}
    return found if all(found.values()) else {}


class Mean:
    """The plain mean: every trained model counts the same (paper §3.2)."""

    def __call__(self, validation: ByMember, test: ByModel, truth: Mapping[str, np.ndarray], measure: Goal) -> Fused:
        """Fuse; every fusion has these arguments.

        Args:
          validation: {member: predictions of all its validation sets}.
          test: {member: {(fold, seed): predictions of the test partition}}.
          truth: {member: `[row]` labels of `validation`}; NaN where there are none.
          measure: the official measure, for fusions that search.
        """
        count = sum(len(models) for models in test.values())
        weights = {name: {key: 1 / count for key in models} for name, models in test.items()}
        validated = concatenate([average(_aligned(key, members)) for key, members in _by_model(validation).items()])
        return Fused(validated, mix(test, weights), weights)


class Select:
    """One member for all folds: the first with the highest mean measure over its folds.

    A fold's cross-fitted predictions come from the member that is best on folds that share no recording (paper §3.1.2).
    """

    def __call__(self, validation: ByMember, test: ByModel, truth: Mapping[str, np.ndarray], measure: Goal) -> Fused:
        values: dict[str, dict[FoldSeed, float]] = {}
        for name, table in validation.items():
            parts = by_model(table.assign(truth=truth[name]))
            known = {key: part[np.isfinite(part["truth"])] for key, part in parts.items()}
            values[name] = {
                key: measure.gain_of(part["truth"].to_numpy(), scores_of(part)) for key, part in known.items()
            }

        def best(among: Collection[FoldSeed]) -> str:
            return max(values, key=lambda name: np.mean([v for key, v in values[name].items() if key in among]))

        models = _by_model(validation)
        chosen = best(models)
        keys = list(values[chosen])
        cross_fitted = None
        if all(list(own) == keys for own in values.values()):
            elsewhere = _disjoint({key: models[key][chosen] for key in keys})
            cross_fitted = [models[key][best(others)] for key, others in elsewhere.items()]
        weights = {chosen: {key: 1 / len(keys) for key in keys}}
        return Fused(
            validation=validation[chosen],
            test=mix(test, weights),
            model_weights=weights,
            searched_weights={name: [float(name == chosen)] * len(keys) for name in validation},
            cross_fitted=concatenate(cross_fitted) if cross_fitted else None,
        )


class WeightSearch:
    """Base of the fusions that search, for each fold, the weights with the highest measure on its validation set.

    On test, every model has the weight of its fold. The cross-fitted predictions of a fold use the mean weights of the
    folds that share no recording with it.
    """

    def require(self, members: int, scores: int) -> None:
        """Raise a UserError unless so many members with so many scores per row can be fused."""

    def candidates(self, members: int) -> np.ndarray:
        """Return the weights to try, `[candidate, member]` with rows of sum 1, unless `search` is another search."""
        raise NotImplementedError

    def search(self, truth: np.ndarray, scores: np.ndarray, measure: Goal) -> np.ndarray:
        """Return the best weights for one fold, `[member]` with sum 1: the first best candidate.

        Args:
          truth: `[row]`, all known.
          scores: `[member, row, score]`.
        """
        candidates = self.candidates(len(scores))
        if measure.name == "PCC":
            # Pearson's r needs no pass over the rows for every candidate.
            values = correlations(candidates, truth, scores[..., 0])
        else:
            values = [measure.gain_of(truth, np.tensordot(weights, scores, 1)) for weights in candidates]
        return candidates[int(np.argmax(values))]

    def __call__(self, validation: ByMember, test: ByModel, truth: Mapping[str, np.ndarray], measure: Goal) -> Fused:
        names = sorted(validation)
        models = _by_model({name: validation[name] for name in names})
        labels = by_model(validation[names[0]].assign(truth=truth[names[0]]))
        found: dict[FoldSeed, np.ndarray] = {}
        for key, members in models.items():
            if sorted(members) != names:
                what = f"fold {model_name(key)} has only {sorted(members)}; a search needs all members"
                raise UserError(f"config.fusion: {what}")
            # The rows are in the order of the first member, and so is its truth.
            scores = np.stack([scores_of(part) for part in _aligned(key, {name: members[name] for name in names})])
            self.require(*scores.shape[::2])
            known = np.isfinite(of_fold := labels[key]["truth"].to_numpy())
            found[key] = self.search(of_fold[known], scores[:, known], measure)

        def fuse(weights: Mapping[FoldSeed, np.ndarray]) -> pd.DataFrame:
            return concatenate([average([m[n] for n in names], list(weights[key])) for key, m in models.items()])

        elsewhere = _disjoint({key: members[names[0]] for key, members in models.items()})
        of_others = {key: np.mean([found[other] for other in keys], axis=0) for key, keys in elsewhere.items()}
        weights = {name: {key: float(w[i]) / len(found) for key, w in found.items()} for i, name in enumerate(names)}
        return Fused(
            validation=fuse(found),
            test=mix(test, weights),
            model_weights=weights,
            searched_weights={name: [float(w[i]) for w in found.values()] for i, name in enumerate(names)},
            cross_fitted=fuse(of_others) if of_others else None,
        )


class Best(WeightSearch):
    """One member per fold: the one with the highest measure (Mask systems 2 and 4)."""

    def candidates(self, members: int) -> np.ndarray:
        return np.eye(members)


@dataclass(frozen=True)
class Grid(WeightSearch):
    """The best of `points` evenly spaced weights of two members (Mask system 5: a in 0, 1/40, ..., 1)."""

    points: int = 41

    def require(self, members: int, scores: int) -> None:
        if members != 2:
            raise UserError(f"config.fusion.name is 'grid', which is for 2 members, not {members}; try 'dirichlet'")
        if self.points < 2:
            raise UserError(f"config.fusion.points is {self.points}, expected at least 2")

    def candidates(self, members: int) -> np.ndarray:
        first = np.linspace(0, 1, self.points)
        return np.stack([first, 1 - first], axis=1)


@dataclass(frozen=True)
class Dirichlet(WeightSearch):
    """The best of random weights of any number of members; every fold tries the same ones.

    Attributes:
      draws: weights to try.
      alpha: concentration of the distribution, for all members; 1 is uniform. (The paper gives none.)

    Reference: paper §3.2.3, `numpy.random.dirichlet`, 1000 draws (Breathing system 5).
    """

    draws: int = 1000
    alpha: float = 1.0
    seed: int = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.draws < 1 or not self.alpha > 0:
            raise UserError(f"config.fusion has draws {self.draws} and alpha {self.alpha:g}: expected both above 0")

    def candidates(self, members: int) -> np.ndarray:
        return np.random.default_rng(self.seed).dirichlet(np.full(members, self.alpha), self.draws)


class Convex(WeightSearch):
    """The exact non-negative weights with the highest Pearson's r, for sequences.

    r does not change with the scale of the weights, so the non-negative least-squares fit of the centred truth by the
    centred members has the highest r; its weights are scaled to sum to 1. Where no member correlates positively, that
    fit is empty and no combination is better than the best single member, which gets all the weight.

    Reference: `scipy.optimize.nnls` (Lawson and Hanson, *Solving Least Squares Problems*, 1974, chapter 23).
    """

    def require(self, members: int, scores: int) -> None:
        if scores != 1:
            what = f"for sequences with one score per row; here each row has {scores}, one per class: try 'dirichlet'"
            raise UserError(f"config.fusion.name is 'convex', which is {what}")

    def search(self, truth: np.ndarray, scores: np.ndarray, measure: Goal) -> np.ndarray:
        target, series = _compress(truth, scores[..., 0])
        weights, _ = nnls(series.T, target)
        if not weights.any():
            single = np.eye(len(series))
            weights = single[int(np.argmax(correlations(single, truth, scores[..., 0])))]
        return weights / weights.sum()


FUSIONS = {"mean": Mean, "best": Best, "grid": Grid, "select": Select, "dirichlet": Dirichlet, "convex": Convex}
