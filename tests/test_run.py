"""The whole way, with a tiny network on a tiny simulated corpus: train, evaluate, stop, kill, resume."""

import csv
import json
import shutil
import signal

import numpy as np
import pytest
from commands import ended, serving, started, wait_for

from jaxpara.errors import UserError
from jaxpara.evaluation.results import keep_others
from jaxpara.run import _members_to_fuse

CONFIG = "--config=configs/breathing_e2e.py"
TINY = [
    "--config.corpus.speakers=(2,2,2)",
    "--config.corpus.seconds=20",
    "--config.members.cnn.folds.n=2",
    "--config.members.cnn.learner.model.filters=(4,4,4,4)",
    "--config.members.cnn.learner.model.lstm=(4,4)",
    "--config.members.cnn.learner.epochs=3",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def start(cache):
    """Return a function that starts the command in a process of its own, on one device, as a user would."""
    with serving(cache) as commands:
        yield lambda workdir, *flags: commands.start(CONFIG, *TINY, f"--workdir={workdir}", *flags)


@pytest.fixture(scope="module")
def launch(start):
    """Return a function that runs the command to its end."""
    return lambda workdir, *flags: ended(start(workdir, *flags))


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    """Return the workdir and the output of a run that was not interrupted, started as a user does."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    small_programs_too = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    outcome = ended(started("launch.py", CONFIG, *TINY, f"--workdir={workdir}", cache=cache, **small_programs_too))
    assert outcome.status == 0, outcome.err
    return workdir, outcome.out


def arrays(workdir):
    return {
        f"{path.relative_to(workdir)}/{name}": array
        for path in sorted(workdir.rglob("predictions/*.npz"))
        for name, array in np.load(path).items()
    }


def assert_same_predictions(one, other):
    one, other = arrays(one), arrays(other)
    assert one.keys() == other.keys()
    assert len(one) == (2 + 1) * 2 * 6  # folds and their fusion, parts, columns
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def results(workdir):
    """Return results.json without the programs that the last command compiled."""
    found = json.loads((workdir / "results.json").read_text())
    assert found.pop("compiled").keys() == {"programs", "from_cache", "seconds"}
    return found


def test_a_run_compiles_three_programs_and_finds_them_in_the_cache_next_time(finished, launch, tmp_path):
    """They are the start of training, its step, and the one that validates and predicts; each program is a wait."""
    compiled = json.loads((finished[0] / "results.json").read_text())["compiled"]
    assert (compiled["programs"], compiled["from_cache"]) == (3, 0)
    assert compiled["seconds"] > 0
    assert "JAX compiled 3 programs in" in finished[1]
    assert launch(tmp_path / "again").status == 0
    again = json.loads((tmp_path / "again/results.json").read_text())["compiled"]
    assert (again["programs"], again["from_cache"]) == (3, 3)


def test_a_run_writes_all_its_outputs(finished):
    workdir, out = finished
    report = (workdir / "report.html").read_text()
    assert results(workdir)["simulated"] is True
    assert "simulated" in report.lower()
    assert "http://" not in report.replace("http://www.w3.org", "")
    for fold in range(2):
        folder = workdir / "members" / "cnn" / f"fold_{fold}_seed_0"
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines if line["kind"] == "validation"] == [0, 1, 2]
        assert all(0 <= line["waiting"] <= 1 for line in lines if line["kind"] == "train")
        assert list((folder / "tensorboard").glob("events.*"))
        assert list((folder / "checkpoints").iterdir())
    assert f"{workdir}/report.html" in out.splitlines()[-1]
    assert "cnn: features 6/6" in out  # plain lines of progress, as this is no terminal


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
    outcome = launch(workdir, "--mode=evaluate")
    assert outcome.status == 0, outcome.err
    assert_same_predictions(workdir, finished[0])
    assert results(workdir) == results(finished[0])


def test_a_run_that_is_killed_several_times_gives_the_same_bits(finished, start, launch, tmp_path):
    workdir = tmp_path / "killed"
    cnn = workdir / "members" / "cnn"
    for moment in (
        lambda: list(cnn.glob("fold_0_seed_0/checkpoints/[0-9]*")),
        lambda: list(cnn.glob("fold_1_seed_0/checkpoints/*tmp*")) or list(cnn.glob("fold_1_seed_0/checkpoints/[0-9]*")),
        lambda: (cnn / "fold_1_seed_0" / "summary.json").exists(),
    ):
        process = start(workdir)
        wait_for(moment, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    outcome = launch(workdir)
    assert outcome.status == 0, outcome.err
    assert_same_predictions(workdir, finished[0])
    scores = [{k: v for k, v in results(w)["fusion"].items()} for w in (workdir, finished[0])]
    assert scores[0] == scores[1]
    # Lines that a killed run wrote after its last checkpoint are not duplicated.
    for fold in range(2):
        lines = (cnn / f"fold_{fold}_seed_0" / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines if json.loads(line)["kind"] == "validation"]
        assert steps == sorted(set(steps))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_refuses_a_second_one_and_prints_how_to_resume_when_it_is_stopped(start, launch, tmp_path, number):
    workdir = tmp_path / "stopped"
    process = start(workdir)
    wait_for(lambda: (workdir / ".lock").exists(), process)
    second = launch(workdir)
    assert second.status == 1
    assert "another run is using it" in second.err
    wait_for(lambda: (workdir / "members/cnn/fold_0_seed_0/metrics.jsonl").exists(), process)
    process.send_signal(number)
    outcome = ended(process)
    assert outcome.status == 130, outcome.err
    assert "rerun the same command to resume" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_finished_run_trains_nothing_again(finished, launch, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("members/**/*") if path.is_file()}
    outcome = launch(workdir)
    assert outcome.status == 0, outcome.err
    assert before == {path: path.stat().st_mtime_ns for path in workdir.rglob("members/**/*") if path.is_file()}


def test_seeds_are_added_to_a_finished_run_by_a_process_that_compiles_nothing(finished, launch, cache, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished[0], workdir)
    compiled = {path.name for path in (cache / "compiled").glob("*-cache")}
    assert compiled
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("members/**/*") if path.is_file()}
    outcome = launch(workdir, "--config.seeds=2")
    assert outcome.status == 0, outcome.err
    assert before.items() <= {p: p.stat().st_mtime_ns for p in workdir.rglob("members/**/*") if p.is_file()}.items()
    assert {path.name for path in (cache / "compiled").glob("*-cache")} == compiled
    member = results(workdir)["members"]["cnn"]
    assert [(fold["fold"], fold["seed"]) for fold in member["folds"]] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    alone = results(finished[0])["members"]["cnn"]
    assert member["seeds"]["0"] == {"cv": alone["cv"]["mean_of_folds"], "test": alone["test"]["pooled"]}
    assert member["seeds"]["1"]["test"] not in (None, member["seeds"]["0"]["test"])
    assert "With a single seed cnn reaches" in (workdir / "report.html").read_text()


def test_a_changed_config_is_refused_with_the_difference(finished, launch):
    outcome = launch(finished[0], "--config.members.cnn.learner.optimizer.lr=0.01")
    assert outcome.status == 1
    assert "learner.optimizer.lr: 0.001 there, 0.01 now" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_an_experiment_in_the_same_workdir_does_not_overwrite_anothers_results(tmp_path):
    (tmp_path / "results.json").write_text('{"experiment": "mask_s4"}')
    (tmp_path / "report.html").write_text("four")
    keep_others(tmp_path, "mask_s4")
    assert (tmp_path / "results.json").exists()
    keep_others(tmp_path, "mask_s5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask_s4.report.html", "mask_s4.results.json"]
    assert (tmp_path / "mask_s4.report.html").read_text() == "four"
    keep_others(tmp_path, "mask_s5")  # nothing there


@pytest.mark.parametrize(
    ("members", "only", "fused"),
    [
        ((), (), ["a", "b"]),
        ((), ("b", "coder"), ["b"]),
        (("b",), (), ["b"]),
        (("b", "missing"), (), ["b"]),
        (("a",), ("b",), ["a"]),  # given on the command line
    ],
)
def test_the_chosen_members_that_predict_are_fused(members, only, fused):
    settings = {"fusion": {"name": "mean", "members": members}, "only": only}
    assert _members_to_fuse(settings, ["a", "b"], {"missing": "no weights"}) == fused


def test_members_that_predict_nothing_are_not_fused():
    with pytest.raises(UserError, match=r"^config.only is \('coder',\): no member is left that predicts"):
        _members_to_fuse({"fusion": {}, "only": ("coder",)}, [], ())


def test_the_fused_predictions_are_saved(finished):
    workdir, _ = finished
    with (
        np.load(workdir / "predictions" / "test.npz") as test,
        np.load(workdir / "predictions" / "validation.npz") as validation,
    ):
        assert len(test["score_0"]) == 2 * 500
        assert len(validation["score_0"]) == 4 * 500
        assert set(validation["fold"].tolist()) == {0, 1}
