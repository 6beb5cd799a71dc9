"""User errors are reported in one line, before JAX is imported, with a non-zero exit status."""

import os
import sys
from pathlib import Path

import pytest
from absl import flags
from commands import ended, serving, started

from jaxpara import __main__
from jaxpara.__main__ import MODES, _shipped

ROOT = Path(__file__).parent.parent
CONFIG = "--config=configs/breathing_e2e.py"
SECOND_OF_TWO = ("--coordinator=a:1", "--processes=2", "--process=1")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a function that runs a command line in a process that cannot import JAX."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "jax.py").write_text("raise AssertionError('JAX was imported')")
    modules = ("ml_collections.config_flags", "jaxpara.show", "jaxpara.runtime", "jaxpara.processes")
    with serving(folder, modules=modules, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}") as commands:
        yield commands


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
        ([CONFIG, "--mode=trian"], ["--mode=trian is unknown", "did you mean 'train'"]),
        ([CONFIG, "--config.parallel=fold"], ["config.parallel is 'fold', expected one of ['data', 'folds']"]),
        (
            [CONFIG, "--config.precision=f16"],
            ["config.precision is 'f16', expected one of ['float32', 'tf32', 'bfloat16']"],
        ),
        ([CONFIG, "--config.seeds=0"], ["config.seeds is 0, expected a whole number, at least 1"]),
        ([CONFIG, "--config.sizes=dmo"], ["config.sizes is 'dmo', expected one of", "did you mean 'demo'?"]),
        ([CONFIG, "--config.only=cnm"], ["config.only names 'cnm', expected some of ['cnn']; did you mean 'cnn'?"]),
        ([CONFIG, "--grid=sed=1,2"], ["--grid=sed=1,2: 'sed' is not a field of this config; did you mean 'seed'?"]),
        ([CONFIG, "--grid=seeds=1,0"], ["config.seeds is 0, expected a whole number, at least 1"]),
        (
            [CONFIG, "--grid=seed=1,2", "--mode=check"],
            ["--grid=seed=1,2 trains a grid of runs; leave out --mode=check"],
        ),
        ([CONFIG, *SECOND_OF_TWO, "--grid=seed=1,2"], ["--grid runs in one process; leave these flags out"]),
        ([CONFIG, "--config.corpus.root=/nowhere"], ["/nowhere: no such folder; give the folder that contains wav/"]),
        (["--mode=predict", "--workdir=configs", "--input=x.wav"], ["--output is missing: --mode=predict needs it"]),
        (["--mode=predict", "--workdir=configs", "--input=no.wav", "--output=t.csv"], ["--input=no.wav: no such file"]),
        (["--mode=live", "--workdir=/nowhere"], ["--workdir=/nowhere: no such folder, expected the workdir of"]),
        (["--mode=export", "--workdir=/nowhere", "--output=x"], ["--workdir=/nowhere: no such folder"]),
        (["--mode=compare"], ["--systems is missing: --mode=compare needs it"]),
        (["--mode=compare", "--systems=configs,/nowhere"], ["/nowhere: no such file or folder; give workdirs"]),
        ([CONFIG, "--processes=2"], ["--coordinator, --processes and --process are used together"]),
        ([CONFIG, *SECOND_OF_TWO, "--distributed"], ["--distributed alone"]),
        ([CONFIG, *SECOND_OF_TWO, "--process=2"], ["I from 0 to N - 1"]),
        ([CONFIG, *SECOND_OF_TWO, "--coordinator=a"], ["expected HOST:PORT"]),
        ([CONFIG, "--mode=check", "--distributed"], ["--mode=check runs in one process"]),
    ],
    ids=lambda value: "_".join(value)[-40:],
)
def test_a_wrong_command_line_is_reported_without_jax(plain, flags, words):
    assert_one_line(plain(*flags), *words)


def test_ctrl_c_before_the_flags_are_read_is_one_line(monkeypatch):
    def parse(argv):
        raise KeyboardInterrupt

    said = []
    monkeypatch.setattr(__main__, "FLAGS", flags.FlagValues())
    monkeypatch.setattr(__main__, "_parse", parse)
    monkeypatch.setattr(__main__.processes, "exit_with", lambda *all_of: said.append(all_of))
    with pytest.raises(SystemExit):
        __main__.main(["launch.py"])
    assert said == [("stopped", 130)]


def test_help_and_version(plain, tmp_path):
    lines = ended(started("launch.py", "--help", cache=tmp_path)).out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 120
    for mode in MODES:
        assert any(line.startswith(f"--mode={mode} ") for line in lines)
    assert plain("--version").out.strip().count(".") == 2


def test_show_runs_nothing(plain, tmp_path):
    result = plain(CONFIG, "--mode=show", "--config.members.cnn.learner.batch=3", f"--workdir={tmp_path / 'run'}")
    assert result.status == 0, result.err
    assert "members.cnn.learner.batch = 3 " in result.out
    assert not (tmp_path / "run").exists()


def test_a_key_error_in_a_config_file_is_not_taken_for_an_unknown_field(plain, tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return {}['batch']\n")
    result = plain(f"--config={tmp_path}/mine.py")
    assert_one_line(result, "mine.py, line 2: KeyError: batch; fix the config file")


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
