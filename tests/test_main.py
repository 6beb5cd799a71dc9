"""Whatever a user gets wrong is one line that says what, where and how to mend it, and a non-zero exit."""

import sys
from pathlib import Path

import pytest
from commands import serving

from jaxpara.__main__ import MODES, _shipped

ROOT = Path(__file__).parent.parent
CONFIG = "--config=configs/breathing_e2e.py"


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("cache")) as run:
        yield run


def assert_one_line(result, *words):
    assert result.status == 1, result.err
    (line,) = result.err.strip().splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--config is missing", "--config=configs/breathing_e2e.py"]),
        (["--config=configs/breathing_e3e.py"], ["no such file", "did you mean 'configs/breathing_e2e.py'?"]),
        (["--config=configs/breathing_e2e"], ["no such file", "did you mean 'configs/breathing_e2e.py'?"]),
        (["--config=mask_s1.py"], ["no such file", "did you mean 'configs/mask_s1.py'?"]),
        ([CONFIG, "--config.members.cnn.learner.zzz=3"], ["'zzz' is not a field", "['batch', 'epochs',"]),
        ([CONFIG, "--wrokdir=x"], ["--wrokdir is not a flag; did you mean 'workdir'?"]),
        ([CONFIG, "--confg.seed=3"], ["--confg.seed is not a flag; did you mean 'config'?"]),
        ([CONFIG, "evaluate"], ["'evaluate' is not a flag"]),
    ],
    ids=lambda value: "_".join(value)[-40:],
)
def test_the_command_line(launch, flags, words):
    assert_one_line(launch(*flags), *words)


def test_help_and_version(launch):
    lines = launch("--help").out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 120
    for mode in MODES:
        assert any(line.startswith(f"--mode={mode} ") for line in lines)
    assert launch("--version").out.strip().count(".") == 2


def test_show_runs_nothing(launch, tmp_path):
    result = launch(CONFIG, "--mode=show", "--config.members.cnn.learner.batch=3", f"--workdir={tmp_path / 'run'}")
    assert result.status == 0, result.err
    assert "batch = 3   [command line" in result.out
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
