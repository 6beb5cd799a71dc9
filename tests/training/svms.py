"""Fits of the SVM learner, for its tests."""

import io
from pathlib import Path

from rich.console import Console

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import official
from jaxpara.progress import Progress
from jaxpara.training.fit import Fit
from jaxpara.training.svm import SVM

GRID = (1e-4, 1e-2, 1.0)


def corpus(task, recordings):
    return Corpus(task, Path(), tuple(recordings), 25.0 if task.kind == "sequence" else 0.0)


def fit_of(corpus, features, folder, rate_hz=0.0, seed=12):
    return Fit("svm, fold 0", corpus, official(corpus)[0], features, rate_hz, folder, seed)


def machine(fit, **fields):
    fields = {"c": GRID} | fields
    return SVM(task=fit.corpus.task, frame_rate_hz=fit.frame_rate_hz, where="members.svm.learner", **fields)


def quiet():
    return Progress(Console(file=io.StringIO()))


def said(progress):
    return progress.console.file.getvalue()


def fitted(fit, **fields):
    """The learner, what it summarised, and its tune and test predictions."""
    svm = machine(fit, **fields)
    (summary,) = svm.fit([fit], quiet())
    (choice,) = svm.choose([summary])
    return svm, summary, svm.predict(fit, fit.fold.val_names, choice), svm.predict(fit, fit.fold.test_names, choice)
