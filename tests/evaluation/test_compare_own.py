"""The comparison of systems on corpora that are no sub-challenge: all that is needed is in the workdirs."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from conftest import data_of
from systems_on_disk import compare, refused, write_run

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import Task
from jaxpara.evaluation import paired, submission
from jaxpara.evaluation.scores import join
from jaxpara.predictions import table_of, with_scores

AGES = Task("voices", "values", "age", "RMSE", limits=(20.0, 80.0))
MOODS = Task("voices", "classes", "mood", "AUC", classes=("calm", "NA", "1"))


def ages(folder, task=AGES, speakers=8, each=6, test_truth=True):
    """A corpus of numbers, or of class indices, per recording."""
    rng = np.random.default_rng(0)
    recordings = []
    for number in range(speakers * each):
        partition = ("train", "devel", "test")[number // each % 3]
        label = np.array([rng.uniform(20, 80) if task.kind == "values" else float(number % 3)])
        known = label if test_truth or partition != "test" else np.array([np.nan])
        speaker = f"s{number // each}"
        recordings.append(Recording(f"{number}.wav", folder, partition, speaker, np.zeros(1), known, known))
    return Corpus(task, folder / "audio", tuple(recordings), 0.0)


def predicted(corpus, partitions, error, fold=-1):
    rng = np.random.default_rng(round(10 * error) + 1)
    recordings = corpus.partition(*partitions)
    truth = np.array([np.nan_to_num(r.truth[0]) for r in recordings])
    scores = (truth + error * rng.standard_normal(len(truth)))[:, None]
    if corpus.task.kind == "classes":
        scores = np.eye(3)[truth.astype(int)] + error * rng.random((len(truth), 3))
        scores /= scores.sum(1, keepdims=True)
    return table_of([r.name for r in recordings], 0, [r.partition for r in recordings], scores, fold, min(fold, 0))


def workdir(corpus, folder, error):
    """A run's predictions, results.json, system.json and predictions.csv."""
    test, validation = predicted(corpus, ["test"], error), predicted(corpus, ["devel"], error, fold=0)
    write_run(folder, corpus, corpus.root, validation, test)
    results = json.loads((folder / "results.json").read_text()) | {"measure": corpus.task.measure, "simulated": False}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "system.json").write_text(json.dumps({"task": asdict(corpus.task)}))
    table = pd.concat([validation, test]).merge(corpus.labels[["recording", "speaker", "truth"]], on="recording")
    names = pd.Series(corpus.task.classes, dtype=object)
    truth = table["truth"].map(names) if corpus.task.kind == "classes" else table["truth"].map("{:.10g}".format)
    columns = {"file": table["recording"], "speaker": table["speaker"], "partition": table["partition"]}
    columns |= {"fold": table["fold"], "truth": truth.where(table["truth"].notna(), ""), "prediction": "x"}
    pd.DataFrame(columns).to_csv(folder / "predictions.csv", index=False)
    return str(folder), test, validation


@pytest.mark.parametrize("task", [AGES, MOODS], ids=["values", "classes"])
@pytest.mark.parametrize("test_truth", [True, False])
def test_workdirs_need_no_corpus(tmp_path, capsys, task, test_truth):
    corpus = ages(tmp_path, task, test_truth=test_truth)
    one, two = workdir(corpus, tmp_path / "one", 5.0), workdir(corpus, tmp_path / "two", 0.7)
    compare(one[0], two[0], output=tmp_path / "out")
    part = 1 if test_truth else 2
    first, second = (join(system[part], data_of(corpus)) for system in (one, two))
    expected = paired.difference(("one", "two"), first, second)
    assert expected.undefined == {}
    found = pd.read_csv(tmp_path / "out" / "comparison.csv").iloc[2]
    assert (found["measure"], found["over"]) == (task.measure, "speakers")
    names = ["value", "low_95", "high_95", "bootstrap_low_95", "bootstrap_high_95", "p"]
    numbers = [expected.value, *expected.interval_95, *expected.interval_95_bootstrap, expected.p]
    np.testing.assert_allclose(found[names].to_numpy(float), numbers, rtol=1e-6)
    text = capsys.readouterr().out
    assert ("where it is negative, the first is better" in text) == (task == AGES)
    assert task.measure in text


def test_a_file_of_numbers_is_compared_with_a_workdir(tmp_path, capsys):
    corpus = ages(tmp_path)
    one = workdir(corpus, tmp_path / "one", 5.0)
    path = tmp_path / "file.csv"
    other = with_scores(one[1], one[1][["score_0"]].to_numpy() + 1e7 / 3)
    submission.write(path, other, data_of(corpus))
    assert path.read_text().splitlines()[0] == "file_name,prediction"
    compare(one[0], path, output=tmp_path / "out")
    expected = join(other, data_of(corpus)).value()
    found = pd.read_csv(tmp_path / "out" / "comparison.csv")["value"]
    assert found[1] == pytest.approx(expected, rel=1e-6)
    assert found[2] == pytest.approx(join(one[1], data_of(corpus)).value() - expected, rel=1e-6)
    name, number = path.read_text().splitlines()[3].split(",")
    path.write_text(path.read_text().replace(number, "old"))
    capsys.readouterr()
    assert f"row 4: 'old' for '{name}', expected a finite number (1 such rows)" in refused(capsys, one[0], path)


def test_workdirs_that_do_not_belong_together(tmp_path, capsys):
    corpus = ages(tmp_path)
    one, two = (workdir(corpus, tmp_path / name, error)[0] for name, error in (("one", 5.0), ("two", 7.0)))
    results = json.loads((tmp_path / "two" / "results.json").read_text())
    (tmp_path / "two" / "results.json").write_text(json.dumps(results | {"measure": "CCC"}))
    assert "the systems have the measures CCC and RMSE, expected one for all" in refused(capsys, one, two)
    (tmp_path / "two" / "results.json").write_text(json.dumps(results))
    (tmp_path / "two" / "system.json").write_text(json.dumps({"task": asdict(AGES) | {"target": "height"}}))
    assert "is a run on the target height" in refused(capsys, one, two)
    (tmp_path / "two" / "system.json").write_text(json.dumps({"task": asdict(AGES)}))
    (tmp_path / "one" / "predictions.csv").write_text("file\n")
    error = refused(capsys, one, two)
    assert f"{tmp_path / 'one' / 'predictions.csv'}: not readable as the predictions of a run" in error
    assert "run the command of that run again" in error
