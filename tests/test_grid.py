"""A grid of runs: real ones of an SVM, and made-up results."""

import json

import pandas as pd
import pytest
import small

from configs import breathing_e2e
from jaxpara import grid
from jaxpara.config import grid_points
from jaxpara.errors import UserError

C = "members.svr.learner.c"
LR = "members.cnn.learner.optimizer.lr"


def test_a_grid_of_svms_with_an_interruption_and_a_run_that_fails(tmp_path, monkeypatch, capsys):
    """The config fuses three members, of which only one is chosen."""
    monkeypatch.setenv("JAXPARA_CACHE", str(tmp_path / "cache"))
    config = small.get_config()
    config.corpus.update({"speakers": (2, 2, 2), "seconds": 10.0})
    config.only = ("svr",)
    points = grid_points(config, [f"{C}=(0.001,),(-1.0,),(10.0,)", "sizes=full"])
    workdir, finished = tmp_path / "grid", []

    def all_runs():
        grid.run_grid(config, points, overrides={}, name="small", workdir=workdir)

    def interrupted(*args, **given):
        if finished:
            raise KeyboardInterrupt
        finished.append(given["workdir"])
        run(*args, **given)

    run = grid.run
    with monkeypatch.context() as patch:
        patch.setattr(grid, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            all_runs()
    (first,) = finished
    assert first == workdir / "c=0.001,sizes=full"
    trained = first / "members" / "svr" / "fold_0_seed_0" / "summary.json"
    before = trained.stat().st_mtime_ns
    with pytest.raises(UserError, match=r"^--grid: 1 of 3 runs failed; the reasons are above and in grid.csv"):
        all_runs()
    assert trained.stat().st_mtime_ns == before

    table = pd.read_csv(workdir / "grid.csv")
    results = {name: json.loads((workdir / name / "results.json").read_text()) for name in table["run"][:2]}
    assert table["run"][2] == "c=-1.0,sizes=full"
    assert f"config.{C} is (-1.0,), expected one or more numbers above 0" in table["error"][2]
    assert table["validation"][0] >= table["validation"][1]
    for row in table[:2].to_dict("records"):
        fusion = results[row["run"]]["fusion"]
        assert fusion["members"] == ["svr"]
        assert row["validation"] == pytest.approx(fusion["cv"]["pooled"])
        assert [row["test_low_95"], row["test_high_95"]] == pytest.approx(fusion["test"]["interval_95"])
        assert (row["simulated"], row["demo"], row["sizes"]) == (True, False, "full")
    out = capsys.readouterr().out
    assert "run 3 of 3: c=10.0,sizes=full" in out
    assert f"c=-1.0,sizes=full failed: config.{C} is" in out
    assert "Choose by validation, never by test" in out
    pair = " - ".join(table["run"][:2])
    assert pair in out
    assert pair.split(" - ")[1] in (workdir / "comparison" / "comparison.csv").read_text()


def score(value):
    return {"pooled": value, "interval_95": None if value is None else [value - 0.1, value + 0.1]}


@pytest.fixture
def run_with(tmp_path, monkeypatch):
    """Return a function that runs a grid over the rate whose runs have made-up scores, or raise made-up errors."""

    def run_with(outcomes, measure="PCC", cross_fitted=None):
        def run(config, *, overrides, name, workdir, mode):
            outcome = outcomes[overrides[LR]]
            if isinstance(outcome, Exception):
                raise outcome
            fusion = {"cv": score(outcome), "cv_cross_fitted": cross_fitted and score(cross_fitted), "test": score(0.5)}
            results = {"simulated": False, "demo": False, "measure": measure, "seconds": 60.0, "fusion": fusion}
            workdir.mkdir(parents=True)
            (workdir / "results.json").write_text(json.dumps(results))

        monkeypatch.setattr(grid, "run", run)
        monkeypatch.setattr(grid, "compare", lambda paths, *_: compared.append([path.name for path in paths]))
        compared = []
        points = [{LR: rate} for rate in outcomes]
        grid.run_grid(breathing_e2e.get_config(), points, overrides={}, name="grid", workdir=tmp_path)
        return pd.read_csv(tmp_path / "grid.csv"), compared

    return run_with


def test_runs_are_sorted_by_validation_and_the_best_ones_compared(run_with):
    values = dict(enumerate((0.1, 0.4, None, 0.3, 0.2, 0.6, 0.5)))
    table, compared = run_with(values)
    assert list(table[LR]) == [5, 6, 1, 3, 4, 0, 2]
    assert compared == [["lr=5", "lr=6", "lr=1", "lr=3", "lr=4"]]


def test_of_errors_the_lowest_is_the_best(run_with):
    table, _ = run_with({1: 0.1, 2: 0.4, 3: 0.05}, measure="RMSE")
    assert list(table[LR]) == [3, 1, 2]


def test_weights_that_were_found_on_the_same_folds_do_not_count(run_with, capsys):
    table, compared = run_with({1: 0.9}, cross_fitted=0.7)
    assert list(table["validation"]) == [0.7]
    assert compared == []
    assert "lr=1       0.700  0.600 to 0.800" in capsys.readouterr().out


@pytest.mark.parametrize("error", [MemoryError("cannot allocate"), RuntimeError("RESOURCE_EXHAUSTED: 9 GiB")])
def test_a_run_that_needs_too_much_memory_does_not_end_the_grid(run_with, tmp_path, error):
    with pytest.raises(UserError, match="1 of 2 runs failed"):
        run_with({1: error, 2: 0.5})
    table = pd.read_csv(tmp_path / "grid.csv")
    assert list(table[LR]) == [2, 1]
    assert table["error"][1] == f"out of memory ({error})"


def test_an_error_of_the_program_ends_the_grid(run_with):
    with pytest.raises(ZeroDivisionError):
        run_with({1: ZeroDivisionError(), 2: 0.5})


def test_folders_are_named_by_the_values():
    points = [{"a.net.lr": 0.001, "b.net.lr": 1e-9, "a.net.size": (64, 32), "a.pretrained": "/data/w 1.pth", "x.c": ()}]
    assert grid.folder_names(points) == ["a.net.lr=0.001,b.net.lr=1e-09,size=64_32,pretrained=data_w_1.pth,c=empty"]
    with pytest.raises(UserError, match=r"two runs would have the same folder, file=a_b; run them with two commands"):
        grid.folder_names([{"file": "/a/b"}, {"file": "a b"}])
