"""Simulated corpora have the layout of the real ones, and are written whole or not at all; shown on Breathing."""

import json
import subprocess
import sys
import threading
import time

import pytest
import soundfile
from folders import contents

from jaxpara.corpora.simulated import breathing
from jaxpara.errors import UserError

SPEAKERS, SECONDS = (3, 3, 3), 8.0
TINY = {"speakers": (1, 1, 1), "seconds": 8.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated") / "corpus"
    breathing.write(root, speakers=SPEAKERS, seconds=SECONDS)
    return root


def test_layout(root):
    names = [
        f"{part}_{i:02d}.wav" for part, n in zip(("train", "devel", "test"), SPEAKERS, strict=True) for i in range(n)
    ]
    assert sorted(path.name for path in (root / "wav").iterdir()) == sorted(names)
    assert {path.name for path in root.iterdir()} == {"wav", "lab", "SIMULATED.json"}
    for name in names:
        info = soundfile.info(root / "wav" / name)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert info.frames == SECONDS * 16_000
    lines = (root / "lab" / "labels.csv").read_text().splitlines()
    secret = (root / "lab" / "labels_confidential.csv").read_text().splitlines()
    assert lines[0] == secret[0] == "filename,timeFrame,upper_belt"
    assert len(lines) == len(secret) == 1 + len(names) * SECONDS * 25
    rows = iter(zip(lines[1:], secret[1:], strict=True))
    for name in names:
        for i in range(round(SECONDS * 25)):
            line, true = next(rows)
            assert true.startswith(f"{name},{i / 25:.2f},")
            value = true.rsplit(",")[-1]
            assert len(value.split(".")[1]) == 5
            assert line == (true.replace(value, "?") if name.startswith("test") else true)


def test_the_marker_contains_all_parameters(root):
    marker = json.loads((root / "SIMULATED.json").read_text())
    assert marker == {
        "generator": "jaxpara.corpora.simulated.breathing",
        "version": breathing.VERSION,
        "seed": 0,
        "speakers": list(SPEAKERS),
        "seconds": SECONDS,
    }


def test_full_preset_has_the_size_of_the_real_corpus():
    assert breathing.PRESETS["full"] == ((17, 16, 16), 240.0)


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        breathing.write(tmp_path / name, seed=seed, **TINY)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a)


def test_progress_counts_files(tmp_path):
    calls = []
    breathing.write(tmp_path / "a", progress=lambda done, total: calls.append((done, total)), **TINY)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_finished_corpus_is_not_written_again(tmp_path, monkeypatch):
    root = tmp_path / "a"
    breathing.write(root, **TINY)
    monkeypatch.setattr(breathing, "simulate", None)  # would fail if called
    breathing.write(root, **TINY)


def test_other_contents_are_refused(tmp_path):
    root = tmp_path / "a"
    breathing.write(root, **TINY)
    before = contents(root)
    with pytest.raises(UserError, match=r"SIMULATED.json: seed is 0, expected 5"):
        breathing.write(root, seed=5, **TINY)
    assert contents(root) == before
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"contains files but no SIMULATED.json"):
        breathing.write(foreign, **TINY)
    (root / "SIMULATED.json").write_text("{")
    with pytest.raises(UserError, match=r"SIMULATED.json: damaged .*; delete"):
        breathing.write(root, **TINY)


def test_after_a_failure_nothing_looks_finished(tmp_path):
    root = tmp_path / "a"

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breathing.write(root, progress=interrupt, **TINY)
    assert not root.exists()
    breathing.write(root, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert len(contents(root)) == 6


def test_after_a_kill_nothing_looks_finished(tmp_path):
    root = tmp_path / "a"
    code = "import sys, pathlib; from jaxpara.corpora.simulated import breathing;"
    code += "breathing.write(pathlib.Path(sys.argv[1]), speakers=(50, 50, 50))"
    process = subprocess.Popen([sys.executable, "-c", code, str(root)])
    while not list(tmp_path.glob(".a.part/wav/*.wav")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not root.exists()
    breathing.write(root, **TINY)
    assert len(contents(root)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_writers_at_once_write_one_corpus(tmp_path, monkeypatch):
    simulate, calls = breathing.simulate, []
    monkeypatch.setattr(breathing, "simulate", lambda *args: calls.append(args) or simulate(*args))
    threads = [threading.Thread(target=breathing.write, args=(tmp_path / "a",), kwargs=TINY) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "demos"}, "preset is 'demos', expected .*did you mean 'demo'"),
        ({"speakers": (1, 0, 1)}, "three counts from 1 to 100"),
        ({"speakers": (1, 101, 1)}, "three counts from 1 to 100"),
        ({"seconds": 0.5}, "8 or more"),
        ({"seconds": 10.01}, "a multiple of 0.04"),
    ],
)
def test_impossible_sizes(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        breathing.write(tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()
