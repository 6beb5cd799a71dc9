"""Workdirs and files that are refused: each with what is wrong, and where."""

import json

import pytest
from systems_on_disk import compare, make, refused, write_run

from jaxpara.evaluation import submission
from jaxpara.predictions import save

REFUSED = {
    "missing": "two: of the 1500 labels of the test partition and the 1499 predictions for them, 1 missing; the first"
    " missing is test_00.wav at 0.28 s",
    "extra": "2 missing, 2 of no such label; the first missing is test_00.wav at 0.28 s",
    "duplicated": "and the 1502 predictions for them, 1 duplicated; the first duplicated is test_00.wav at 0.28 s",
    "NaN": "2 NaN or infinite; the first NaN or infinite is test_00.wav at 0.28 s",
    "wide": "3 scores per row, expected 1 for ComParE2020_Breathing; these are predictions for another task",
}


@pytest.mark.parametrize("how", REFUSED)
def test_predictions_that_do_not_fit(tmp_path, fakes, capsys, how):
    made = make(tmp_path, fakes, "breathing")
    save(fakes.spoil(made.tests["two"], how), tmp_path / "two" / "predictions" / "test.npz")
    assert REFUSED[how] in refused(capsys, *made.runs)


def test_validation_sets_that_differ(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask", truth=False)
    path = tmp_path / "two" / "predictions" / "validation.npz"
    validation = fakes.concatenate(fakes.predict_folds(made.corpus, 2))
    save(validation[validation["partition"] == "devel"], path)
    devel, both = len(made.corpus.partition("devel")), len(validation)
    error = refused(capsys, *made.runs)
    assert f"of the {both} labels of the validation sets of {tmp_path / 'one'} and the {devel} predictions" in error
    assert f"{both - devel} missing; the first missing is train_" in error


FILES = {
    "a row is missing": (lambda lines: lines[:8] + lines[9:], "1 missing; the first missing is test_00.wav at 0.28 s"),
    "a row appears twice": (
        lambda lines: [*lines, lines[8]],
        "1 duplicated; the first duplicated is test_00.wav at 0.28 s",
    ),
    "another file": (
        lambda lines: [*lines, "nobody.wav,0.00,0.1"],
        "1 of no such label; the first of no such label is nobody.wav at 0 s",
    ),
    "NaN": (
        lambda lines: [line.replace(",0.28,", ",0.28,nan;").split(";")[0] for line in lines],
        "row 9: 'nan' for 'test_00.wav', expected a finite number (3 such rows)",
    ),
    "a comma": (lambda lines: [*lines[:8], lines[8] + ",5", *lines[9:]], "Expected 3 fields in line 9, saw 4"),
    "a word": (
        lambda lines: [*lines[:8], "test_00.wav,0.28,high", *lines[9:]],
        "row 9: 'high' for 'test_00.wav', expected a finite number (1 such rows)",
    ),
    "no time": (
        lambda lines: [*lines[:8], "test_00.wav,,0.5", *lines[9:]],
        "row 9: '' for 'test_00.wav', expected seconds (1 such rows)",
    ),
    "another task": (
        lambda lines: ["file_name,prediction", "test_00.wav,mask"],
        "no time column; name one timeFrame or",
    ),
    "labels": (lambda lines: ["filename,timeFrame,upper_belt", *lines[1:]], "no prediction column among"),
    "nothing": (lambda lines: [], "no name column among '' in the first row"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_do_not_fit(tmp_path, fakes, capsys, what):
    made = make(tmp_path, fakes, "breathing")
    change, message = FILES[what]
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], fakes.data(made.corpus))
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
    error = refused(capsys, made.runs[0], path)
    assert str(path) in error
    assert message in error


def test_a_class_that_is_none(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "mask")
    path = tmp_path / "file.csv"
    submission.write(path, made.tests["two"], fakes.data(made.corpus))
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
    assert "give --corpus_root" in error
    # The names of the recordings are the same, so that only the scores differ.
    error = refused(capsys, breathing.runs[0], other.runs[1], root=breathing.root)
    assert "its results.json has" in error
    compare(*breathing.runs, root=breathing.root)


@pytest.mark.parametrize("told", ["high", [0.5], 10**400], ids=["a word", "a list", "beyond float"])
def test_a_score_that_is_no_number_is_no_result_of_a_run(tmp_path, fakes, capsys, told):
    made = make(tmp_path, fakes, "breathing")
    path = tmp_path / "two" / "results.json"
    results = json.loads(path.read_text())
    results["fusion"]["test"]["pooled"] = told
    path.write_text(json.dumps(results))
    assert f"{path}: not the results of a run" in refused(capsys, *made.runs)


def test_paths_that_lead_nowhere(tmp_path, fakes, capsys):
    made = make(tmp_path, fakes, "breathing")
    one, two_ = made.runs
    assert "1 system to compare" in refused(capsys, one)
    assert "is given twice; give two different systems" in refused(capsys, one, two_, f"{one}/../one")
    assert f"{tmp_path / 'three'}: no such file or folder" in refused(capsys, one, tmp_path / "three")
    assert "results.json: no such file; give the workdir of a finished run" in refused(capsys, one, made.root)
    assert "no lab/ in this folder" in refused(capsys, one, two_, root=tmp_path)
    (tmp_path / "two" / "predictions" / "test.npz").unlink()
    error = refused(capsys, one, two_)
    assert "test.npz: no such predictions; run the command of that run again" in error
    assert "it trains only what is missing" in error
    (tmp_path / "two" / "results.json").write_text("{}")
    assert "not the results of a run (KeyError('fusion'))" in refused(capsys, one, two_)
    submission.write(tmp_path / "x.csv", made.tests["one"], fakes.data(made.corpus))
    submission.write(tmp_path / "y.csv", made.tests["two"], fakes.data(made.corpus))
    assert "no corpus: give --corpus_root" in refused(capsys, tmp_path / "x.csv", tmp_path / "y.csv")
    made.root.rename(tmp_path / "moved")
    write_run(tmp_path / "two", made.corpus, made.root, made.tests["two"], made.tests["two"])
    assert f"its corpus {made.root} does not exist; give --corpus_root" in refused(capsys, one, two_)
    compare(one, two_, root=tmp_path / "moved")
