"""Made-up predictions of members, of two classes and of a belt, and the fusion of them."""

from types import SimpleNamespace

import numpy as np
from sklearn.metrics import recall_score

from jaxpara.evaluation.measures import MEASURE
from jaxpara.predictions import scores_of, table_of

ROWS = 120
PCC = MEASURE["PCC"]


def _recall(truth, scores):
    return recall_score(truth, scores.argmax(1), average="macro")


UAR = SimpleNamespace(name="UAR", gain_of=_recall)  # not ours


def table(names, scores, fold, seed=0, times=0.0, partition="test"):
    n = len(names)
    return table_of(list(names), np.broadcast_to(times, n), [partition] * n, np.array(scores, float), fold, seed)


def belt(folds=(0, 1)):
    return np.sin(np.arange(ROWS * len(folds)) / 7) + 0.1


def belt_member(seed, noise=1.0, sign=1.0, folds=(0, 1)):
    """Validation and test predictions of a belt, and the truth: the validation part is the truth with noise on it."""
    rng = np.random.default_rng(seed)
    truth = belt(folds)
    names, times = np.repeat([f"{fold}.wav" for fold in folds], ROWS), np.arange(len(truth)) / 25
    scores = sign * truth[:, None] + noise * rng.normal(size=(len(truth), 1))
    validation = table(names, scores, np.repeat(folds, ROWS), 0, times, "train")
    test = {(f, 0): table(names[:9], rng.normal(size=(9, 1)), f, 0, times[:9]) for f in folds}
    return validation, test, truth


def class_member(seed, folds=(0, 1), skill=1.0, rows=60):
    rng = np.random.default_rng(seed)
    n = rows * len(folds)
    truth = np.arange(n) % 2
    p = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + rng.normal(size=n))))
    names = [f"{i}.wav" for i in range(n)]
    validation = table(names, np.stack([1 - p, p], 1), np.repeat(folds, rows), partition="devel")
    test = {(f, 0): table(names[:5], rng.dirichlet([1, 1], 5), f) for f in folds}
    return validation, test, truth.astype(float)


def fuse(fusion, *members, truth=None, measure=PCC):
    names = [f"m{i}" for i in range(len(members))]
    validation, test, truths = ({n: m[part] for n, m in zip(names, members, strict=True)} for part in range(3))
    return fusion(validation, test, truths if truth is None else dict.fromkeys(names, truth), measure)


def weights_of(fused, fold=0):
    return np.array([weights[fold] for weights in fused.searched_weights.values()])


def of_fold(part, fold, seed=0):
    return scores_of(part[(part["fold"] == fold) & (part["seed"] == seed)])
