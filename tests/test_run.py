"""The whole way, with a tiny network on a tiny simulated corpus: train, evaluate, stop, kill, go on."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from configs import breathing_e2e
from jaxpara.errors import UserError
from jaxpara.evaluation.results import keep_others
from jaxpara.run import run

ROOT = Path(__file__).parent.parent
CONFIG = "--config=configs/breathing_e2e.py"
TINY = [
    "--config.corpus.speakers=(2,2,2)",
    "--config.corpus.seconds=20",
    "--config.members.cnn.learner.model.filters=(4,4,4,4)",
    "--config.members.cnn.learner.model.lstm=(4,4)",
    "--config.members.cnn.learner.epochs=3",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def launch(cache):
    """Starts the command line in a process of its own, on one device, as a user would."""
    environment = {**os.environ, "JAXPARA_CACHE": str(cache), "XLA_FLAGS": ""}

    def start(workdir, *flags):
        return subprocess.Popen(
            [sys.executable, "launch.py", CONFIG, *TINY, f"--workdir={workdir}", *flags],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def finish(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def finished(launch, tmp_path_factory):
    """A run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    status, out, err = finish(launch(workdir))
    assert status == 0, err
    return workdir, out


def arrays(workdir):
    return {
        f"{path.relative_to(workdir)}/{name}": array
        for path in sorted(workdir.rglob("predictions/*.npz"))
        for name, array in np.load(path).items()
    }


def assert_same_predictions(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    assert len(one) == (4 + 1) * 2 * 5  # folds and their fusion, parts, columns
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_a_run_leaves_what_it_promises(finished):
    workdir, out = finished
    report = (workdir / "report.html").read_text()
    assert results(workdir)["simulated"] is True
    assert "simulated" in report.lower()
    assert "http://" not in report.replace("http://www.w3.org", "")
    for fold in range(4):
        folder = workdir / "members" / "cnn" / f"fold_{fold}"
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines if line["kind"] == "tune"] == [0, 1, 2]
        assert all(0 <= line["waiting"] <= 1 for line in lines if line["kind"] == "train")
        assert list((folder / "tensorboard").glob("events.*"))
        assert list((folder / "checkpoints").iterdir())
    assert f"{workdir}/report.html" in out.splitlines()[-1]
    assert "left" in out or "1/" in out  # plain lines of progress, as this is no terminal


def test_the_submission_has_every_test_label_in_corpus_order(finished, cache):
    workdir, _ = finished
    (table,) = (workdir / "submission").glob("*.csv")
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["filename", "timeFrame", "prediction"]
    (labels,) = cache.glob("simulated/*/lab/labels.csv")
    everything = csv.reader(labels.read_text().splitlines())
    wanted = [row[:2] for row in everything if row[0].startswith("test")]
    assert [row[:2] for row in rows[1:]] == wanted


def test_evaluation_from_checkpoints_gives_the_same_numbers(finished, launch, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    for path in workdir.rglob("predictions"):
        shutil.rmtree(path)
    (workdir / "results.json").unlink()
    status, _, err = finish(launch(workdir, "--mode=evaluate"))
    assert status == 0, err
    assert_same_predictions(workdir, finished[0])
    assert results(workdir) == results(finished[0])


def wait_for(condition, process, timeout_s=120):
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the run never got there"
        time.sleep(0.02)


def test_killed_again_and_again_a_run_ends_in_the_same_bits(finished, launch, tmp_path):
    workdir = tmp_path / "killed"
    cnn = workdir / "members" / "cnn"
    for moment in (
        lambda: list(cnn.glob("fold_0/checkpoints/[0-9]*")),
        lambda: list(cnn.glob("fold_1/checkpoints/*tmp*")) or list(cnn.glob("fold_1/checkpoints/[0-9]*")),
        lambda: (cnn / "fold_2" / "fit.json").exists(),
    ):
        process = launch(workdir)
        wait_for(moment, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    status, _, err = finish(launch(workdir))
    assert status == 0, err
    assert_same_predictions(workdir, finished[0])
    scores = [{k: v for k, v in results(w)["fusion"].items()} for w in (workdir, finished[0])]
    assert scores[0] == scores[1]
    # What a killed run wrote after its last checkpoint is not there twice.
    for fold in range(4):
        lines = (cnn / f"fold_{fold}" / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines if json.loads(line)["kind"] == "tune"]
        assert steps == sorted(set(steps))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_a_run_says_how_to_go_on(finished, launch, tmp_path, number):
    workdir = tmp_path / "stopped"
    process = launch(workdir)
    wait_for(lambda: (workdir / "members/cnn/fold_0/metrics.jsonl").exists(), process)
    time.sleep(1)
    process.send_signal(number)
    status, _, err = finish(process)
    assert status == 130, err
    assert "the same command goes on" in err
    assert "Traceback" not in err


def test_a_finished_run_trains_nothing_again(finished, launch, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("members/**/*") if path.is_file()}
    status, _, err = finish(launch(workdir))
    assert status == 0, err
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("members/**/*") if path.is_file()}


def test_a_changed_config_is_refused_with_the_difference(finished, launch):
    status, _, err = finish(launch(finished[0], "--config.members.cnn.learner.optimizer.lr=0.01"))
    assert status == 1
    assert "learner.optimizer.lr: 0.001 there, 0.01 now" in err
    assert len(err.strip().splitlines()) == 1


def test_a_second_run_in_the_same_workdir_is_refused(launch, tmp_path):
    workdir = tmp_path / "shared"
    first = launch(workdir)
    try:
        wait_for(lambda: (workdir / ".lock").exists(), first)
        status, _, err = finish(launch(workdir))
        assert status == 1
        assert "another run is at work" in err
    finally:
        first.kill()
        first.communicate()


def test_an_experiment_in_the_same_workdir_does_not_overwrite_anothers_results(tmp_path):
    (tmp_path / "results.json").write_text('{"experiment": "mask_s4"}')
    (tmp_path / "report.html").write_text("four")
    keep_others(tmp_path, "mask_s4")
    assert (tmp_path / "results.json").exists()
    keep_others(tmp_path, "mask_s5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask_s4.report.html", "mask_s4.results.json"]
    assert (tmp_path / "mask_s4.report.html").read_text() == "four"
    keep_others(tmp_path, "mask_s5")  # nothing there


def test_the_fused_predictions_are_kept_too(finished):
    workdir, _ = finished
    with np.load(workdir / "predictions" / "test.npz") as test, np.load(workdir / "predictions" / "tune.npz") as tune:
        assert len(test["scores"]) == 2 * 500
        assert len(tune["scores"]) == 4 * 500
        assert set(tune["folds"].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(("field", "known"), [("parallel", "data, folds"), ("precision", "float32, bfloat16")])
def test_a_setting_of_the_run_that_is_none_is_refused(field, known, tmp_path):
    config = breathing_e2e.get_config()
    config[field] = "fold"
    known = known.replace(", ", "', '")
    with pytest.raises(UserError, match=rf"config.{field} is 'fold', expected one of \['{known}'\]"):
        run(config, overrides={}, name="breathing_e2e", workdir=tmp_path, mode="train")
