"""The simple baseline of every report: a linear model on simple features, which takes seconds.

Classes are predicted by a linear SVM and ordinal and real values by a ridge regression, both on log-Mel functionals;
sequences by a ridge regression on the audio level around each label. Where a system is no better than this, its
networks have learned nothing that needs them.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError, reason
from jaxpara.evaluation.measures import MEASURE
from jaxpara.features.cache import load_features
from jaxpara.features.functionals import LogMelFunctionals
from jaxpara.predictions import ENSEMBLE, concatenate, load, predictions_of, save
from jaxpara.progress import Progress
from jaxpara.runtime import cache_folder

VERSION = 1  # raise it when the same corpus gives other predictions
SVM_C = (1e-5, 1e-4, 1e-3, 1e-2)
RIDGE_PENALTIES = (1e1, 1e2, 1e3, 1e4)
INNER_FOLDS = 4  # of the training set, to choose one of these
LEVEL_PENALTY = 1e3  # for Breathing anything from 1e2 to 1e4 gives the same
CONTEXT_S = 4.0  # of audio level before and after each label
LEVEL_RATE_HZ = 25.0  # levels of the context per second, at most
FLOOR_DB = -80.0  # the level of digital silence
MAX_LABELS = 250_000  # of a sequence to train on, evenly spaced ones; their levels take 200 MB

Inputs = Callable[[Recording], np.ndarray]  # returns `[label, input]`


def predict(
    corpus: Corpus, folds: Sequence[Fold], workdir: Path, progress: Progress
) -> dict[str, tuple[str, pd.DataFrame]]:
    """Train the baseline on train and devel, and predict test.

    Where the truth of test is unknown, predict the validation set of each fold instead, trained on the training set of
    that fold. The predictions are stored in the workdir and used again.

    Returns:
      The description, a phrase, and the predictions, by the name of the baseline; empty, with a line that gives the
      reason, if it cannot be trained.
    """
    model = "linear SVM" if corpus.task.kind == "classes" else "ridge regression"
    name, description = f"log-Mel functionals, {model}", f"a {model} on log-Mel functionals"
    if corpus.task.kind == "sequence":
        name = "loudness, linear"
        description = "a ridge regression on the audio level from 4 s before to 4 s after each label"
    try:
        return {name: (description, _predict(corpus, folds, workdir, progress))}
    except Exception as error:  # no figure to compare with is worth losing a run
        progress.say(f"the baseline, {description}, is left out: {reason(error)}")
        return {}


def _predict(corpus: Corpus, folds: Sequence[Fold], workdir: Path, progress: Progress) -> pd.DataFrame:
    runs = {ENSEMBLE: (corpus.partition("train", "devel"), corpus.partition("test"))}
    if not any(np.isfinite(recording.truth).any() for recording in corpus.partition("test")):
        by_name = corpus.by_name
        runs = {
            fold.key: tuple(tuple(by_name[name] for name in names) for names in (fold.train_names, fold.val_names))
            for fold in folds
            if fold.seed == 0
        }
    names = [(key, [[recording.name for recording in side] for side in sides]) for key, sides in runs.items()]
    identity = json.dumps([VERSION, corpus.fingerprint, asdict(corpus.task), names])
    path = workdir / "baseline" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    with suppress(UserError):  # missing or damaged
        return load(path)
    read = _levels if corpus.task.kind == "sequence" else _functionals
    inputs = read(corpus, [recording for sides in runs.values() for side in sides for recording in side], progress)
    tables = []
    with progress.task("baseline", len(runs)) as bar:
        for key, (train, predicted) in runs.items():
            model = _train(corpus, train, inputs)
            scores = np.concatenate([_scores(model, inputs(recording), corpus.task) for recording in predicted])
            tables.append(predictions_of(predicted, scores, *key))
            bar.advance()
    save(table := concatenate(tables), path)
    return table


def _functionals(corpus: Corpus, recordings: Sequence[Recording], progress: Progress) -> Inputs:
    """Return a function of a recording that returns its functionals, `[1, functional]`."""
    rate_hz = corpus.task.sample_rate_hz
    feature = LogMelFunctionals(sample_rate_hz=rate_hz, fmax_hz=min(8000, rate_hz / 2))
    recordings = list({recording.name: recording for recording in recordings}.values())
    with progress.task("baseline: features", len(recordings)) as bar:
        arrays = load_features(feature, recordings, cache_folder() / "features", bar.update)
    return lambda recording: arrays[recording.name][None]


def _levels(corpus: Corpus, recordings: Sequence[Recording], progress: Progress) -> Inputs:
    """Return a function of a recording that returns the levels around its labels, `[label, lag]`.

    They are in standard deviations of the recording.
    """
    rate_hz, label_rate_hz = corpus.task.sample_rate_hz, corpus.label_rate_hz
    step, reach = round(rate_hz / label_rate_hz), round(CONTEXT_S * label_rate_hz)
    stride = max(1, round(label_rate_hz / LEVEL_RATE_HZ))

    def levels(recording: Recording) -> np.ndarray:
        starts = np.round(recording.times_s * rate_hz).astype(int)
        waveform = audio.read(recording.path, rate_hz)
        waveform = np.pad(waveform, (0, max(0, starts[-1] + step - len(waveform))))
        frames = np.lib.stride_tricks.sliding_window_view(waveform, step)[starts]
        level = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 10 ** (FLOOR_DB / 10))
        level = ((level - level.mean()) / (level.std() + 1e-9)).astype(np.float32)  # 200 columns: half the memory
        around = np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, mode="edge"), 2 * reach + 1)
        return around[:, ::stride]

    return levels


def _train(corpus: Corpus, recordings: Sequence[Recording], inputs: Inputs) -> Pipeline:
    """Train on the labelled recordings, with the strength that scores best in a cross-validation of them."""
    task = corpus.task
    labelled = [recording for recording in recordings if np.isfinite(recording.labels).any()]
    if not labelled:
        raise UserError("no labelled recordings to train on")
    spacing = -(-sum(len(recording.labels) for recording in labelled) // MAX_LABELS)
    x = np.concatenate([inputs(recording)[::spacing] for recording in labelled])
    y = np.concatenate([recording.labels[::spacing] for recording in labelled])
    known = np.isfinite(y)
    x, y = x[known], y[known]
    if task.kind == "classes" and len(set(y)) < 2:
        raise UserError("labels of one class only to train on")
    if task.kind == "sequence":
        return make_pipeline(Ridge(LEVEL_PENALTY)).fit(x, y)
    strengths = SVM_C if task.kind == "classes" else RIDGE_PENALTIES
    speakers = np.array([recording.speaker for recording in labelled])
    parts = list(_inner_folds(x, y, speakers, classes=task.kind == "classes"))

    def score(strength: float) -> float:
        """Return the score of all inner folds together, larger if better."""
        scores = [_scores(_fit(task, strength, x[train], y[train]), x[held_out], task) for train, held_out in parts]
        truth = np.concatenate([y[held_out] for _, held_out in parts])
        return MEASURE[task.measure].gain_of(truth, np.concatenate(scores))

    best = max(strengths, key=score) if parts else strengths[len(strengths) // 2]
    return _fit(task, best, x, y)


def _inner_folds(
    x: np.ndarray, y: np.ndarray, speakers: np.ndarray, *, classes: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows to train on and those held out, by speaker where all are known; none if there are too few."""
    grouped = bool((speakers != "").all())
    rarest = int(np.unique(y, return_counts=True)[1].min()) if classes else len(y)
    count = min(INNER_FOLDS, rarest, len(set(speakers)) if grouped else len(y))
    if count < 2:
        return
    shuffled = {"shuffle": True, "random_state": 0}
    if classes:
        splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(count, **shuffled)
    else:
        splitter = GroupKFold(count) if grouped else KFold(count, **shuffled)
    for train, held_out in splitter.split(x, y, speakers if grouped else None):
        if len(held_out) and (not classes or len(set(y[train])) > 1):
            yield train, held_out


def _fit(task: Task, strength: float, x: np.ndarray, y: np.ndarray) -> Pipeline:
    if task.kind == "classes":
        weight = "balanced" if task.measure in ("UAR", "F1") else None  # these count every class alike
        solver = LinearSVC(C=strength, class_weight=weight, random_state=0)
    else:
        solver = Ridge(strength)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return make_pipeline(StandardScaler(), solver).fit(x, y)


def _scores(model: Pipeline, x: np.ndarray, task: Task) -> np.ndarray:
    """Return `[row, score]`: numbers, or the softmax of the margins of the classes, 0 for one that was not trained."""
    if task.kind != "classes":
        return model.predict(x)[:, None]
    margins = model.decision_function(x)
    if margins.ndim == 1:  # with two classes there is one margin, of the second
        margins = np.stack([np.zeros_like(margins), margins], 1)
    scores = np.zeros((len(x), task.outputs))
    scores[:, model.classes_.astype(int)] = softmax(margins, axis=1)
    return scores
