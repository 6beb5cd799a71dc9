"""Systems compared by the command: on workdirs and files, and what is refused."""

import csv
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.compare import TASKS
from jaxpara.corpora.corpus import Corpus
from jaxpara.evaluation import compare, paired, submission
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
    for part, predictions in (("tune", tune), ("test", test)):
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


KINDS = pytest.mark.parametrize("kind", ["breathing", "mask"])


@KINDS
def test_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, ("one", "two_$", "thr&ee"))
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert printed == (output / "comparison.txt").read_text()
    assert "test partition" in printed
    with (output / "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["system"], row["against"]) for row in table] == [
        *[("one", ""), ("two_$", ""), ("thr&ee", "")],
        *[("one", "two_$"), ("one", "thr&ee"), ("two_$", "thr&ee")],
    ]
    scores = {name: score(test, made.corpus) for name, test in made.tests.items()}
    for row in table[:3]:
        assert float(row["value"]) == pytest.approx(scores[row["system"]]["pooled"])
        bounds = [float(row["low_95"]), float(row["high_95"])]
        assert bounds == pytest.approx(scores[row["system"]]["interval_95"])
    for row in table[3:]:
        expected = scores[row["system"]]["pooled"] - scores[row["against"]]["pooled"]
        assert float(row["value"]) == pytest.approx(expected)
        assert float(row["low_95"]) <= float(row["value"]) <= float(row["high_95"])
        assert row["over"] == "speakers"
    ps = [float(row["p"]) for row in table[3:]]
    assert [float(row["p_holm"]) for row in table[3:]] == pytest.approx(paired.holm(ps))
    tex = (output / "comparison.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2
    assert r"two\_\$ - thr\&ee" in tex
    assert "$-$" in tex
    assert "| two\\_$ - thr&ee |" in (output / "comparison.md").read_text()
    svg = ET.parse(output / "comparison.svg").getroot()
    words = " ".join(svg.itertext())
    assert "one - thr&ee" in words
    assert "no difference" in words


def test_the_words_and_figures_of_a_table(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    difference = 100 * np.subtract(*(score(made.tests[name], made.corpus)["pooled"] for name in ("one", "two")))
    line = next(line for line in printed.splitlines() if line.startswith("one - two"))
    assert line.split()[3] == f"{difference:+.1f}"
    assert "of 4 speakers" in printed
    assert "all 16 ways to swap" in printed
    # 2 / 2^4: no difference can be shown, and that is said.
    assert "p cannot fall below 0.1250" in printed


def test_a_simulated_corpus_is_stamped_on_everything(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    output = tmp_path / "out"
    for simulated in (False, True):
        if simulated:
            (made.root / "SIMULATED.json").write_text("{}")
        assert compare.main([*made.runs, f"--output={output}"]) == 0
        stamp = {".csv": ",True," if simulated else ",False,"}
        for path in output.iterdir():
            assert (stamp.get(path.suffix, "SIMULATED") in path.read_text()) == (simulated or path.suffix == ".csv")
        assert ("says anything about the real one" in capsys.readouterr().out) == simulated


@KINDS
def test_files_tell_the_same_as_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind)
    files = []
    for name, test in made.tests.items():
        files.append(str(tmp_path / "csv" / f"{name}.csv"))
        submission.write(tmp_path / "csv" / f"{name}.csv", test, made.corpus)
    assert compare.main(made.runs) == 0
    expected = capsys.readouterr().out
    # What a folder is called says nothing, so that the columns and the classes have to tell the task.
    task = ["--task=mask"] if kind == "mask" else []
    assert compare.main([*files, f"--corpus={made.root}", *task]) == 0
    assert capsys.readouterr().out == expected
    assert compare.main([made.runs[0], files[1]]) == 0
    assert capsys.readouterr().out == expected


def test_the_classes_in_a_file_tell_the_task(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    files = [str(tmp_path / f"{name}.csv") for name in made.tests]
    for path, test in zip(files, made.tests.values(), strict=True):
        submission.write(tmp_path / path, test, made.corpus)
    assert compare.main([*files, f"--corpus={made.root}"]) == 0
    assert "ComParE2020_Mask" in capsys.readouterr().out
    for path in files:
        (tmp_path / path).write_text(
            (tmp_path / path).read_text().replace("mask", "positive").replace("clear", "negative")
        )
    assert "--task, one of covid_cough, covid_speech" in refused(capsys, *files, f"--corpus={made.root}")
    assert "--task is 'masc', expected one of" in refused(capsys, *files, f"--corpus={made.root}", "--task=masc")


@KINDS
def test_without_truth_the_tuned_on_recordings_are_compared(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, truth=False)
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "recordings that the folds were tuned on" in printed
    assert "every system is flattered" in printed
    told = [json.loads((tmp_path / name / "results.json").read_text())["fusion"]["cv"]["pooled"] for name in made.tests]
    scale, places = (100, 1) if kind == "mask" else (1, 3)
    assert f"{scale * (told[0] - told[1]):+.{places}f}" in printed
    submission.write(tmp_path / "one.csv", made.tests["one"], made.corpus)
    assert "the test partition has no truth" in refused(capsys, made.runs[1], str(tmp_path / "one.csv"))


def test_unknown_speakers_are_said(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", told=False, known=False)
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "Speakers are unknown" in printed
    assert "95 % interval over samples" in printed
    assert "10,000 random ways to swap the two systems sample by sample" in printed


def test_a_constant_prediction_is_undefined_with_the_reason(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing", ("one", "two", "flat"))
    flat = made.tests["flat"]
    flat = replace(flat, scores=np.zeros_like(flat.scores))
    # The run says what it reached, or that it cannot be said.
    flat.save(tmp_path / "flat" / "predictions" / "test.npz")
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    printed = capsys.readouterr().out
    assert "flat: undefined (value): the prediction is constant." in printed
    assert "one - flat: undefined (value, interval, bootstrap, p): flat: the prediction is constant." in printed
    with (output / "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table[4]["value"] == table[4]["p_holm"] == ""
    assert table[4]["undefined"].startswith("value: flat: the prediction is constant")
    assert table[3]["p"] == table[3]["p_holm"] != ""


def test_one_speaker(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing", speakers=(2, 2, 1))
    assert compare.main(made.runs) == 0
    printed = capsys.readouterr().out
    assert "500 labels of 1 speaker." in printed
    assert "one: undefined (interval): one unit only, nothing to leave out." in printed
    assert "one - two: undefined (p): one unit only, nothing to swap." in printed


def test_one_class(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    path = made.root / "lab" / "labels_confidential.csv"
    path.write_text(re.sub(r"(test_.*),mask", r"\1,clear", path.read_text()))
    for run in made.runs:
        results = json.loads((tmp_path / run / "results.json").read_text())
        results["fusion"]["test"]["pooled"] = None
        (tmp_path / run / "results.json").write_text(json.dumps(results))
    output = tmp_path / "out"
    assert compare.main([*made.runs, f"--output={output}"]) == 0
    assert "one: undefined (value): no label of class 1 (of 2 classes)." in capsys.readouterr().out
    assert sorted(path.suffix for path in output.iterdir()) == [".csv", ".md", ".svg", ".tex", ".txt"]


# ---- what is refused


def refused(capsys, *arguments):
    assert compare.main([str(argument) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def spoil(predictions, how):
    every, names, scores = np.arange(len(predictions)), predictions.recordings.copy(), predictions.scores.copy()
    if how == "missing":
        return predictions.select(every[every != 7])
    if how == "extra":
        names[[7, 9]] = "train_00.wav"
        return replace(predictions, recordings=names)
    if how == "doubled":
        return predictions.select(np.r_[every, 7, 7])
    if how == "NaN":
        scores[[7, 8]] = np.nan
        return replace(predictions, scores=scores)
    return replace(predictions, scores=np.hstack([scores] * 3))


REFUSED = {
    "missing": "two: of the 1500 labels of the test partition and the 1499 predictions for them, 1 missing; the first"
    " missing is test_00.wav at 0.28 s",
    "extra": "2 missing, 2 of no such label; the first missing is test_00.wav at 0.28 s",
    "doubled": "and the 1502 predictions for them, 1 doubled; the first doubled is test_00.wav at 0.28 s",
    "NaN": "2 NaN or infinite; the first NaN or infinite is test_00.wav at 0.28 s",
    "wide": "3 scores a row, expected 1 for ComParE2020_Breathing; these are predictions for another task",
}


@pytest.mark.parametrize("how", REFUSED)
def test_predictions_that_do_not_fit(tmp_path, fakes, capsys, how):
    made = make(tmp_path, fakes, "breathing")
    spoil(made.tests["two"], how).save(tmp_path / "two" / "predictions" / "test.npz")
    assert REFUSED[how] in refused(capsys, *made.runs)


def test_tuned_on_recordings_that_differ(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", truth=False)
    path = tmp_path / "two" / "predictions" / "tune.npz"
    tune = fakes.concatenate(fakes.predict_folds(made.corpus, 2))
    tune.select(tune.partitions == "devel").save(path)
    devel, both = len(made.corpus.partition("devel")), len(tune)
    error = refused(capsys, *made.runs)
    assert f"of the {both} labels that {tmp_path / 'one'} was tuned on and the {devel} predictions" in error
    assert f"{both - devel} missing; the first missing is train_" in error


FILES = {
    "a row is missing": (lambda lines: lines[:8] + lines[9:], "1 missing; the first missing is test_00.wav at 0.28 s"),
    "a row stands twice": (lambda lines: [*lines, lines[8]], "1 doubled; the first doubled is test_00.wav at 0.28 s"),
    "another file": (
        lambda lines: [*lines, "nobody.wav,0.00,0.1"],
        "1 of no such label; the first of no such label is nobody.wav at 0 s",
    ),
    "NaN": (
        lambda lines: [line.replace(",0.28,", ",0.28,nan;").split(";")[0] for line in lines],
        "row 9: 'nan' for 'test_00.wav', expected a finite number (3 such rows)",
    ),
    "a comma": (lambda lines: [*lines[:8], lines[8] + ",5", *lines[9:]], "row 9: 4 columns, the header has 3"),
    "a word": (
        lambda lines: [*lines[:8], "test_00.wav,0.28,high", *lines[9:]],
        "row 9: 'high' for 'test_00.wav', expected a finite number (1 such rows)",
    ),
    "no time": (
        lambda lines: [*lines[:8], "test_00.wav,,0.5", *lines[9:]],
        "row 9: '' for 'test_00.wav', expected seconds (1 such rows)",
    ),
    "another task": (lambda lines: ["file_name,prediction", "test_00.wav,mask"], "no time column among"),
    "labels": (lambda lines: ["filename,timeFrame,upper_belt", *lines[1:]], "no prediction column among"),
    "nothing": (lambda lines: [], "the first line is empty"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_do_not_fit(tmp_path, fakes, capsys, what):
    made = make(tmp_path, fakes, "breathing")
    change, message = FILES[what]
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], made.corpus)
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    error = refused(capsys, made.runs[0], path)
    assert str(path) in error
    assert message in error


def test_a_class_that_is_none(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], made.corpus)
    lines = path.read_text().splitlines()
    name = lines[3].split(",")[0]
    path.write_text("\n".join([*lines[:3], f"{name},scarf", *lines[4:]]) + "\n")
    assert f"row 4: 'scarf' for '{name}', expected one of clear, mask (1 such rows)" in refused(
        capsys, made.runs[0], path
    )


def test_runs_that_do_not_belong_together(tmp_path, fakes, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    breathing, mask = make(tmp_path / "a", fakes, "breathing"), make(tmp_path / "b", fakes, "mask")
    assert "is a run on the task ComParE2020_Mask" in refused(capsys, breathing.runs[0], mask.runs[0])
    other = make(tmp_path / "c", fakes, "breathing", seed=5)
    error = refused(capsys, breathing.runs[0], other.runs[1])
    assert f"is a run on the corpus {other.root}" in error
    assert "give --corpus=ROOT" in error
    # The names of the recordings are the same, so that only the scores tell.
    error = refused(capsys, breathing.runs[0], other.runs[1], f"--corpus={breathing.root}")
    assert "its results.json says" in error
    assert compare.main([*breathing.runs, f"--corpus={breathing.root}"]) == 0


def test_paths_that_lead_nowhere(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing")
    one, two_ = made.runs
    assert "1 system to compare" in refused(capsys, one)
    assert "is given twice" in refused(capsys, one, two_, f"{one}/../one")
    assert f"{tmp_path / 'three'}: no such file or folder" in refused(capsys, one, tmp_path / "three")
    assert "results.json: no such file; give the workdir of a finished run" in refused(capsys, one, made.root)
    assert "no lab/ in this folder" in refused(capsys, one, two_, f"--corpus={tmp_path}")
    (tmp_path / "two" / "predictions" / "test.npz").unlink()
    error = refused(capsys, one, two_)
    assert "test.npz: no such predictions; run the command of that run once more" in error
    assert "written without training" in error
    (tmp_path / "two" / "results.json").write_text("{}")
    assert "not the results of a run (KeyError('fusion'))" in refused(capsys, one, two_)
    submission.write(tmp_path / "x.csv", made.tests["one"], made.corpus)
    submission.write(tmp_path / "y.csv", made.tests["two"], made.corpus)
    assert "no corpus: give --corpus=ROOT" in refused(capsys, tmp_path / "x.csv", tmp_path / "y.csv")
    made.root.rename(tmp_path / "moved")
    write_run(tmp_path / "two", made.corpus, made.root, made.tests["two"], made.tests["two"])
    assert f"its corpus {made.root} is not there; give --corpus=ROOT" in refused(capsys, one, two_)
    assert compare.main([one, two_, f"--corpus={tmp_path / 'moved'}"]) == 0


def test_systems_of_one_name_are_told_apart_by_their_folders(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", ("first/run", "second/run"))
    assert compare.main(made.runs) == 0
    assert f"{made.runs[0]} - {made.runs[1]}" in capsys.readouterr().out


def test_as_a_program(tmp_path, fakes):
    made = make(tmp_path, fakes, "mask")
    command = [sys.executable, "-m", "jaxpara.evaluation.compare", *made.runs]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "one - two" in done.stdout
    assert done.stderr == ""
