"""Corpora and runs on the disk, as the comparison of systems reads them, and what it says when it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import soundfile

from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.tasks import TASKS
from jaxpara.evaluation import compare_systems
from jaxpara.evaluation.scores import cross_validation, score


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


def write_run(workdir, corpus, root, tune, test, task=None):
    """What of a workdir is read."""
    for part, predictions in (("validation", tune), ("test", test)):
        predictions.save(workdir / "predictions" / f"{part}.npz")
    results = {
        "task": task or corpus.task.name,
        "corpus": {"root": str(root)},
        "fusion": {"test": score(test, corpus), "cv": cross_validation(tune, corpus)},
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
        tune = fakes.concatenate(fakes.predict_folds(corpus, 2, skill, seed=number))
        write_run(folder / name, corpus, corpus.root, tune, tests[name])
        runs.append(str(folder / name))
    return SimpleNamespace(corpus=corpus, root=corpus.root, runs=runs, tests=tests, folder=folder)


def refused(capsys, *arguments):
    assert compare_systems.main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err
