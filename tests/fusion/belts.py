"""Members that predict a belt, fused by r, and the same by plain loops."""

import dataclasses
from functools import partial

import numpy as np

from jaxpara.corpora.tasks import TASKS
from jaxpara.evaluation.official import official
from jaxpara.predictions import Predictions

ROWS = 120
PCC = partial(official, TASKS["breathing"])
GRID = np.array([(a, b, 100 - a - b) for a in range(101) for b in range(101 - a)]) / 100


def belt(folds):
    return np.sin(np.arange(ROWS * len(folds)) / 7) + 0.1


def member(seed, noise=1.0, sign=1.0, folds=(0, 1)):
    """Tune and test predictions of a belt: the truth of the tune part with noise on it."""
    rng = np.random.default_rng(seed)
    truth = belt(folds)
    n = len(truth)
    names, times = np.repeat([f"{fold}.wav" for fold in folds], ROWS), np.arange(n) / 25
    scores = sign * truth[:, None] + noise * rng.normal(size=(n, 1))
    tune = Predictions(names, times, scores, np.repeat("train", n), np.repeat(folds, ROWS))
    test = {
        f: Predictions(names[:9], times[:9], rng.normal(size=(9, 1)), np.repeat("test", 9), np.full(9, f))
        for f in folds
    }
    return tune, test


def with_scores(part, scores):
    return dataclasses.replace(part, scores=scores)


def fuse(fusion, *members, truth=None):
    names = [f"m{i}" for i in range(len(members))]
    truth = belt(np.unique(members[0][0].folds)) if truth is None else truth
    tune = {name: m[0] for name, m in zip(names, members, strict=True)}
    test = {name: m[1] for name, m in zip(names, members, strict=True)}
    return fusion(tune, test, dict.fromkeys(names, truth), PCC)


def weights_of(fused, fold=0):
    return np.array([weights[fold] for weights in fused.weights.values()])


def loop(candidates, members, fold):
    """r of every candidate, one after the other, with NumPy's own function."""
    rows = members[0][0].folds == fold
    truth = belt((0, 1))[rows]
    scores = [m[0].scores[rows, 0] for m in members]
    return np.array([np.corrcoef(np.dot(w, scores), truth)[0, 1] for w in candidates])
