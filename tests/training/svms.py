"""Runs of the SVM learner, for its tests."""

import io
from pathlib import Path

from rich.console import Console

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.splits import official
from jaxpara.progress import Progress
from jaxpara.training.fold_run import FoldRun, summary_of
from jaxpara.training.svm import SVM

GRID = (1e-4, 1e-2, 1.0)


def corpus(task, recordings):
    return Corpus(task, Path(), tuple(recordings), 25.0 if task.kind == "sequence" else 0.0)


def run_of(corpus, features, folder, rate_hz=0.0, seed=12):
    return FoldRun("svm, fold 0", corpus, official(corpus)[0], features, rate_hz, folder, seed)


def learner(run, **fields):
    fields = {"c": GRID} | fields
    return SVM(task=run.corpus.task, frame_rate_hz=run.frame_rate_hz, where="members.svm.learner", **fields)


def quiet():
    return Progress(Console(file=io.StringIO()))


def said(progress):
    return progress.console.file.getvalue()


def predicted(svm, run, part="validation"):
    """Return the predictions of the validation or test set, from the folder of the run alone."""
    names = run.fold.val_names if part == "validation" else run.fold.test_names
    return svm.predict(run, names, svm.load(run, {}, part=part))


def trained(run, **fields):
    """Return the learner, its summary, and its predictions of the validation and the test set."""
    svm = learner(run, **fields)
    svm.train([run], quiet())
    summary = summary_of(run.folder)
    assert svm.choose([summary]) == [summary["chosen"]]
    return svm, summary, predicted(svm, run), predicted(svm, run, "test")
