"""Simulated corpora are written whole or not at all; shown on Breathing unless the tasks differ."""

import json
import subprocess
import sys
import threading
import time

import pytest
from folders import contents

from jaxpara.corpora.simulated import breathing
from jaxpara.corpora.simulated.writing import write
from jaxpara.errors import UserError

TINY = {"speakers": (1, 1, 1), "seconds": 8.0}


@pytest.mark.parametrize(("task", "parameters"), [("breathing", {}), ("mask", {"preset": "demo"})])
def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, task, parameters):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write(task, tmp_path / name, seed=seed, **TINY)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert [name for name in a if a[name] == c[name]] in ([], ["lab/speakers.csv"])
    assert json.loads(a["SIMULATED.json"]) == {
        "generator": f"jaxpara.corpora.simulated.{task}",
        "version": 1,
        "seed": 3,
        "speakers": [1, 1, 1],
        "seconds": 8.0,
        **parameters,
    }


def test_full_preset_has_the_size_of_the_real_corpus():
    assert breathing.PRESETS["full"] == {"speakers": (17, 16, 16), "seconds": 240.0}


@pytest.mark.parametrize(("task", "files"), [("breathing", 1), ("mask", 8)])
def test_progress_counts_files(tmp_path, task, files):
    calls = []
    write(task, tmp_path / "a", progress=lambda done, total: calls.append((done, total)), **TINY)
    assert calls == [(files * speaker, files * 3) for speaker in (1, 2, 3)]


def test_a_finished_corpus_is_not_written_again(tmp_path, monkeypatch):
    root = tmp_path / "a"
    write("breathing", root, **TINY)
    monkeypatch.setattr(breathing, "simulate", None)  # would fail if called
    write("breathing", root, **TINY)


def test_other_contents_are_refused(tmp_path):
    root = tmp_path / "a"
    write("breathing", root, **TINY)
    before = contents(root)
    with pytest.raises(UserError, match=r"SIMULATED.json: seed is 0, expected 5"):
        write("breathing", root, seed=5, **TINY)
    assert contents(root) == before
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"contains files but no SIMULATED.json"):
        write("breathing", foreign, **TINY)
    (root / "SIMULATED.json").write_text("{")
    with pytest.raises(UserError, match=r"SIMULATED.json: damaged .*; delete"):
        write("breathing", root, **TINY)


def test_after_a_failure_nothing_looks_finished(tmp_path):
    root = tmp_path / "a"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write("breathing", root, progress=interrupt, **TINY)
    assert not root.exists()
    write("breathing", root, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert len(contents(root)) == 6


def test_after_a_kill_nothing_looks_finished(tmp_path):
    root = tmp_path / "a"
    code = "import sys, pathlib; from jaxpara.corpora.simulated.writing import write;"
    code += "write('breathing', pathlib.Path(sys.argv[1]), speakers=(50, 50, 50))"
    process = subprocess.Popen([sys.executable, "-c", code, str(root)])
    while not list(tmp_path.glob(".a.part/wav/*.wav")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not root.exists()
    write("breathing", root, **TINY)
    assert len(contents(root)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_writers_at_once_write_one_corpus(tmp_path, monkeypatch):
    simulate, calls = breathing.simulate, []
    monkeypatch.setattr(breathing, "simulate", lambda *args: calls.append(args) or simulate(*args))
    threads = [threading.Thread(target=write, args=("breathing", tmp_path / "a"), kwargs=TINY) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("breathing", {"preset": "demos"}, "preset is 'demos', expected .*did you mean 'demo'"),
        ("breathing", {"speakers": (1, 0, 1)}, "three counts from 1 to 100"),
        ("mask", {"speakers": (1, 101, 1)}, "three counts from 1 to 100"),
        ("breathing", {"seconds": 0.5}, "8 or more"),
        ("breathing", {"seconds": 10.01}, "a multiple of 0.04"),
        ("mask", {"seconds": 7}, "whole number from 8"),
        ("mask", {"seconds": 9.5}, "whole number from 8"),
    ],
)
def test_impossible_sizes(tmp_path, task, arguments, message):
    with pytest.raises(UserError, match=message):
        write(task, tmp_path / "a", **arguments)
    assert not list(tmp_path.iterdir())
