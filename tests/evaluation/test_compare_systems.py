"""Systems compared by the command: on workdirs and files."""

import csv
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from systems_on_disk import compare, make, refused, write_run

from jaxpara.evaluation import paired, submission
from jaxpara.evaluation.scores import score
from jaxpara.predictions import save, scores_of, with_scores

KINDS = pytest.mark.parametrize("kind", ["breathing", "mask"])


@KINDS
def test_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, ("one", "two_$", "thr&ee"))
    output = tmp_path / "out"
    compare(*made.runs, output=output)
    printed = capsys.readouterr().out
    assert printed == (output / "comparison.txt").read_text()
    assert "test partition" in printed
    with (output / "comparison.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["system"], row["against"]) for row in table] == [
        *[("one", ""), ("two_$", ""), ("thr&ee", "")],
        *[("one", "two_$"), ("one", "thr&ee"), ("two_$", "thr&ee")],
    ]
    scores = {name: score(test, fakes.data(made.corpus)) for name, test in made.tests.items()}
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
    compare(*made.runs)
    printed = capsys.readouterr().out
    difference = 100 * np.subtract(
        *(score(made.tests[name], fakes.data(made.corpus))["pooled"] for name in ("one", "two"))
    )
    line = next(line for line in printed.splitlines() if line.startswith("one - two"))
    assert line.split()[3] == f"{difference:+.1f}"
    assert "of 4 speakers" in printed
    assert "all 16 ways to swap" in printed
    # 2 / 2^4: no difference can be shown, and that is said.
    assert "p cannot fall below 0.1250" in printed


def test_a_simulated_corpus_is_named_in_everything(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    output = tmp_path / "out"
    for simulated in (False, True):
        if simulated:
            (made.root / "SIMULATED.json").write_text("{}")
        compare(*made.runs, output=output)
        notice = {".csv": ",True," if simulated else ",False,"}
        for path in output.iterdir():
            assert (notice.get(path.suffix, "SIMULATED") in path.read_text()) == (simulated or path.suffix == ".csv")
        assert ("no figure here is about real recordings" in capsys.readouterr().out) == simulated


@KINDS
def test_files_tell_the_same_as_workdirs(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind)
    files = []
    for name, test in made.tests.items():
        files.append(str(tmp_path / "csv" / f"{name}.csv"))
        submission.write(tmp_path / "csv" / f"{name}.csv", test, fakes.data(made.corpus))
    compare(*made.runs)
    expected = capsys.readouterr().out
    # The name of the folder is neutral, so that the task has to follow from the columns and the classes.
    task = "mask" if kind == "mask" else None
    compare(*files, root=made.root, task=task)
    assert capsys.readouterr().out == expected
    compare(made.runs[0], files[1])
    assert capsys.readouterr().out == expected


def test_the_classes_in_a_file_tell_the_task(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    files = [str(tmp_path / f"{name}.csv") for name in made.tests]
    for path, test in zip(files, made.tests.values(), strict=True):
        submission.write(tmp_path / path, test, fakes.data(made.corpus))
    compare(*files, root=made.root)
    assert "ComParE2020_Mask" in capsys.readouterr().out
    for path in files:
        (tmp_path / path).write_text(
            (tmp_path / path).read_text().replace("mask", "positive").replace("clear", "negative")
        )
    assert "--task, one of covid_cough, covid_speech" in refused(capsys, *files, root=made.root)
    assert "--task is 'masc', expected one of" in refused(capsys, *files, root=made.root, task="masc")


@KINDS
def test_without_truth_the_validation_sets_are_compared(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, truth=False)
    compare(*made.runs)
    printed = capsys.readouterr().out
    assert "validation sets" in printed
    assert "every score is too high" in printed
    told = [json.loads((tmp_path / name / "results.json").read_text())["fusion"]["cv"]["pooled"] for name in made.tests]
    scale, places = (100, 1) if kind == "mask" else (1, 3)
    assert f"{scale * (told[0] - told[1]):+.{places}f}" in printed
    submission.write(tmp_path / "one.csv", made.tests["one"], fakes.data(made.corpus))
    assert "the test partition has no truth" in refused(capsys, made.runs[1], str(tmp_path / "one.csv"))


@KINDS
def test_models_with_several_seeds_count_as_their_mean(tmp_path, fakes, capsys, kind):
    made = make(tmp_path, fakes, kind, truth=False)
    other, again = (fakes.concatenate(fakes.predict_folds(made.corpus, 2, seed=seed)) for seed in (1, 7))
    write_run(
        tmp_path / "two",
        made.corpus,
        made.root,
        fakes.concatenate([other, again.assign(seed=1)]),
        made.tests["two"],
    )
    compare(*made.runs)
    one = fakes.concatenate(fakes.predict_folds(made.corpus, 2, 0.6, seed=0))
    both = with_scores(other, (scores_of(other) + scores_of(again)) / 2)
    values = [score(part, fakes.data(made.corpus))["pooled"] for part in (one, both)]
    scale, places = (100, 1) if kind == "mask" else (1, 3)
    assert f"{scale * (values[0] - values[1]):+.{places}f}" in capsys.readouterr().out


def test_unknown_speakers_are_said(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", told=False, known=False)
    compare(*made.runs)
    printed = capsys.readouterr().out
    assert "Speakers are unknown" in printed
    assert "95 % interval over samples" in printed
    assert "10,000 random ways to swap the two systems sample by sample" in printed


def test_a_constant_prediction_is_undefined_with_the_reason(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing", ("one", "two", "flat"))
    save(made.tests["flat"].assign(score_0=0.0), tmp_path / "flat" / "predictions" / "test.npz")
    output = tmp_path / "out"
    compare(*made.runs, output=output)
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
    compare(*made.runs)
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
    compare(*made.runs, output=output)
    assert "one: undefined (value): no label of class 1 (of 2 classes)." in capsys.readouterr().out
    assert sorted(path.suffix for path in output.iterdir()) == [".csv", ".md", ".svg", ".tex", ".txt"]


def test_systems_of_one_name_are_told_apart_by_their_folders(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", ("first/run", "second/run"))
    compare(*made.runs)
    assert f"{made.runs[0]} - {made.runs[1]}" in capsys.readouterr().out
