"""Members that predict two classes, and the measure of these."""

import numpy as np
from sklearn.metrics import recall_score

from jaxpara.predictions import Predictions

ROWS = 60


def uar(truth, scores):
    return recall_score(truth, scores.argmax(1), average="macro")


def member(seed, folds=(0, 1), skill=1.0):
    rng = np.random.default_rng(seed)
    n = ROWS * len(folds)
    truth = np.arange(n) % 2
    p = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + rng.normal(size=n))))
    names = np.array([f"{i}.wav" for i in range(n)])
    tune = Predictions(names, np.zeros(n), np.stack([1 - p, p], 1), np.repeat("devel", n), np.repeat(folds, ROWS))
    test = {
        fold: Predictions(names[:5], np.zeros(5), rng.dirichlet([1, 1], 5), np.repeat("test", 5), np.full(5, fold))
        for fold in folds
    }
    return tune, test, truth.astype(float)
