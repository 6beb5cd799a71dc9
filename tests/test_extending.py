"""The diffs of docs/extending.md, applied to a copy, are an experiment that runs."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import serving

ROOT = Path(__file__).parent.parent
TINY = ["--config.corpus.speakers=(2,2,2)", "--config.corpus.seconds=16", "--config.members.net.learner.epochs=1"]
TINY += ["--config.members.net.folds.n=2", "--config.members.svr.folds.n=2"]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy with everything that the guide adds, and a server that runs its commands."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("jaxpara", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    diffs = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)
    assert len(diffs) == 5
    for diff in diffs:
        subprocess.run(["git", "apply", "-"], cwd=copy, input=diff, text=True, check=True)
    with serving(copy / "cache", copy, PYTHONPATH=str(copy)) as launch:
        yield copy, launch


def test_the_experiment_runs(extended):
    copy, launch = extended
    result = launch("--config=configs/breathing_loudness.py", *TINY)
    assert result.status == 0, result.err
    results = (copy / "runs" / "breathing_loudness" / "results.json").read_text()
    assert '"by_skill"' in results


def test_the_sub_challenge_is_read(extended, tmp_path):
    names = [f"{partition}_{i:02d}.wav" for partition in ("train", "devel", "test") for i in range(16)]
    (tmp_path / "wav").mkdir()
    (tmp_path / "lab").mkdir()
    rng = np.random.default_rng(0)
    for name in names:
        soundfile.write(tmp_path / "wav" / name, 0.1 * rng.normal(size=8000), 16_000, "PCM_16")
    rows = [f"{name},{'?' if name.startswith('test') else 'VOTE'[i % 4]}" for i, name in enumerate(names)]
    (tmp_path / "lab" / "labels.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    result = extended[1](
        "--config=configs/mask_svm.py",
        "--mode=check",
        "--config.corpus.task=snore",
        f"--config.corpus.root={tmp_path}",
    )
    assert result.status == 0, result.out + result.err
    assert "48 recordings, no errors" in result.out
