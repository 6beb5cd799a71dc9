"""Corpora and runs on disk for the comparison of systems."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from conftest import data_of

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.read import read
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.evaluation import compare_systems
from jaxpara.evaluation.scores import cross_validation, score
from jaxpara.predictions import save


def write_corpus(root, corpus, speakers=True, truth=True):
    """A corpus in the challenge's layout; sequences with silence of their length, which is all that is read of it."""
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    sequence = corpus.task.kind == "sequence"
    header = "filename,timeFrame,upper_belt" if sequence else "file_name,label"
    lines = {"labels.csv": [header], "labels_confidential.csv": [header]}
    for recording in corpus.recordings:
        path = root / "wav" / recording.name
        if sequence:
            soundfile.write(path, np.zeros(640 * len(recording.times_s)), 16_000, "PCM_16")
        else:
            path.touch()
        for name, values in (("labels.csv", recording.labels), ("labels_confidential.csv", recording.truth)):
            texts = ["?" if np.isnan(v) else f"{v:.5f}" if sequence else corpus.task.classes[int(v)] for v in values]
            times = [f",{t:.2f}" if sequence else "" for t in recording.times_s]
            lines[name] += [f"{recording.name}{t},{text}" for t, text in zip(times, texts, strict=True)]
    if not truth:
        del lines["labels_confidential.csv"]
    if speakers:
        lines["speakers.csv"] = ["filename,speaker", *(f"{r.name},{r.speaker}" for r in corpus.recordings)]
    for name, text in lines.items():
        (root / "lab" / name).write_text("\n".join(text) + "\n")


def write_run(workdir, corpus, root, validation, test, task=None):
    """Write what is read of a workdir."""
    for part, predictions in (("validation", validation), ("test", test)):
        save(predictions, workdir / "predictions" / f"{part}.npz")
    results = {
        "task": task or corpus.task.name,
        "corpus": {"root": str(root)},
        "fusion": {"test": score(test, data_of(corpus)), "cv": cross_validation(validation, data_of(corpus))},
    }
    (workdir / "results.json").write_text(json.dumps(results))


def make(folder, fakes, kind, systems=("one", "two"), skills=(0.6, 1.5, 1.2), truth=True, told=True, **sizes):
    """A corpus on the disk, and runs on it."""
    made = {"breathing": fakes.breathing, "mask": fakes.mask}[kind]
    if kind == "breathing":
        sizes = {"audio": False, "seconds": 20.0, **sizes}
    like = made(folder, test_truth=truth, **sizes)
    corpus = Corpus(TASKS[kind], folder / "corpus", like.recordings, like.label_rate_hz, True)
    write_corpus(corpus.root, corpus, told, truth)
    runs, tests = [], {}
    for number, (name, skill) in enumerate(zip(systems, skills, strict=False)):
        tests[name] = fakes.predict(corpus, corpus.partition("test"), skill, seed=number)
        validation = fakes.concatenate(fakes.predict_folds(corpus, 2, skill, seed=number))
        write_run(folder / name, corpus, corpus.root, validation, tests[name])
        runs.append(str(folder / name))
    return SimpleNamespace(corpus=corpus, root=corpus.root, runs=runs, tests=tests, folder=folder)


def compare(*paths, root=None, task=None, output=None):
    def read_data(root, task):
        return data_of(read(root, TASKS[task]))

    root = None if root is None else Path(root)
    compare_systems.run([Path(path) for path in paths], root, task, output, tasks=TASKS, read=read_data)


def refused(capsys, *paths, **options):
    with pytest.raises(UserError) as error:
        compare(*paths, **options)
    assert capsys.readouterr() == ("", "")
    assert "\n" not in str(error.value)
    return str(error.value)
