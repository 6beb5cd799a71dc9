"""Whatever a user gets wrong is one line that says what, where and how to mend it, and a non-zero exit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxpara.__main__ import MODES, _shipped

ROOT = Path(__file__).parent.parent
CONFIG = "--config=configs/breathing_e2e.py"


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    environment = {**os.environ, "JAXPARA_CACHE": str(tmp_path_factory.mktemp("cache")), "XLA_FLAGS": ""}

    def run(*flags, **more):
        command = [sys.executable, "launch.py", *flags]
        return subprocess.run(
            command, cwd=ROOT, env={**environment, **more}, capture_output=True, text=True, timeout=200
        )

    return run


def assert_one_line(result, *words):
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--config is missing", "--config=configs/breathing_e2e.py"]),
        (["--config=configs/breathing_e3e.py"], ["no such file", "did you mean 'configs/breathing_e2e.py'?"]),
        (["--config=configs/breathing_e2e.py:papre"], ["recipe 'papre' is unknown", "paper, published"]),
        (["--config=configs/breathing_e2e"], ["no such file", "did you mean 'configs/breathing_e2e.py'?"]),
        (["--config=mask_s1.py"], ["no such file", "did you mean 'configs/mask_s1.py'?"]),
        (
            [CONFIG, "--config.members.cnn.learner.optimizer.ler=1"],
            ["--config.members.cnn.learner.optimizer.ler: 'ler' is not a field", "did you mean 'lr'?"],
        ),
        ([CONFIG, "--config.members.cnm.learner.epochs=1"], ["'cnm' is not a field of this", "did you mean 'cnn'?"]),
        ([CONFIG, "--config.members.cnn.learner.zzz=3"], ["'zzz' is not a field", "['batch', 'epochs',"]),
        ([CONFIG, "--config.members.cnn.learner.epochs=many"], ["learner.epochs=many", "invalid literal for int()"]),
        ([CONFIG, "--mode=trian"], ["--mode=trian is unknown", "train, evaluate, check", "did you mean 'train'?"]),
        ([CONFIG, "--wrokdir=x"], ["--wrokdir is not a flag; did you mean 'workdir'?"]),
        ([CONFIG, "--confg.seed=3"], ["--confg.seed is not a flag; did you mean 'config'?"]),
        ([CONFIG, "evaluate"], ["'evaluate' is not a flag"]),
    ],
    ids=lambda value: "_".join(value)[-40:],
)
def test_the_command_line(launch, flags, words):
    assert_one_line(launch(*flags), *words)


def corpus(root, header="filename,timeFrame,upper_belt", row="train_00.wav,0.00,0.1"):
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    soundfile.write(root / "wav" / "train_00.wav", np.zeros(16_000), 16_000, "PCM_16")
    (root / "lab" / "labels.csv").write_text(f"{header}\n{row}\n")
    return root


def test_a_corpus_that_is_not_there(launch, tmp_path):
    assert_one_line(
        launch(CONFIG, f"--config.corpus.root={tmp_path / 'none'}"), "none: no such folder; give the folder"
    )


def test_labels_with_other_columns(launch, tmp_path):
    root = corpus(tmp_path / "c", header="filename,zeit,upper_belt")
    result = launch(CONFIG, f"--config.corpus.root={root}")
    assert_one_line(result, "labels.csv, row 1: no time column", "name it timeFrame")
    assert "error: " in result.stdout  # among all findings
    assert "Traceback" not in result.stdout


def test_a_workdir_that_cannot_be_written(launch, tmp_path):
    (tmp_path / "file").write_text("")
    sizes = ["--config.corpus.speakers=(2,2,2)", "--config.corpus.seconds=8"]
    assert_one_line(launch(CONFIG, *sizes, f"--workdir={tmp_path / 'file' / 'run'}"), "--workdir=", "choose another")


def test_a_cache_that_cannot_be_written(launch, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line(launch(CONFIG, JAXPARA_CACHE=str(tmp_path / "file")), "set JAXPARA_CACHE to a folder")


def test_an_impossible_field(launch, tmp_path):
    sizes = ["--config.corpus.speakers=(2,2,2)", "--config.corpus.seconds=8", f"--workdir={tmp_path}"]
    result = launch(CONFIG, *sizes, "--config.members.cnn.learner.batch=0")
    assert_one_line(result, "config.members.cnn.learner.batch is 0, expected a whole number, at least 1")


def test_help_and_version(launch):
    lines = launch("--help").stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 120
    for mode in MODES:
        assert any(line.startswith(f"--mode={mode} ") for line in lines)
    assert launch("--version").stdout.strip().count(".") == 2


def test_show_runs_nothing(launch, tmp_path):
    result = launch(CONFIG, "--mode=show", "--config.members.cnn.learner.batch=3", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert "batch = 3   [command line" in result.stdout
    assert not (tmp_path / "run").exists()


def test_a_shipped_config_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert _shipped("--config=configs/mask_s1.py:paper") == f"--config={ROOT}/configs/mask_s1.py:paper"
    assert sys.path[0] == str(ROOT)
    for other in ("--config=configs/mask_s9.py", "--config.seed=3", "--workdir=configs", "--config="):
        assert _shipped(other) == other
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mask_s1.py").write_text("")
    assert _shipped("--config=configs/mask_s1.py") == "--config=configs/mask_s1.py"
