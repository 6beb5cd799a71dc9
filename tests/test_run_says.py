"""The lines that a run prints: the number of warnings, the scores, and the reason where there is no score."""

import io

import numpy as np
import pytest
import soundfile
from rich.console import Console

from configs import mask_s2
from jaxpara.corpora.simulated import check_or_simulate
from jaxpara.evaluation.conclusions import closing_lines
from jaxpara.progress import Progress
from jaxpara.run import run


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def progress(screen):
    return Progress(Console(file=screen, soft_wrap=True))


@pytest.fixture
def corpus(tmp_path):
    """Return the folder of a tiny Mask corpus."""
    root = tmp_path / "corpus"
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    names = [f"{part}_{label}.wav" for part in ("train", "devel", "test") for label in ("clear", "mask")]
    for seed, name in enumerate(names):
        samples = np.random.default_rng(seed).uniform(-0.1, 0.1, 1600)
        soundfile.write(root / "wav" / name, samples, 16_000)
    rows = [f"{name},{name[:-4].partition('_')[2]}" for name in names]
    (root / "lab" / "labels.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    return root


def test_warnings_that_are_not_listed_are_counted(corpus, progress, screen):
    for index in range(25):
        (corpus / "wav" / f"extra_{index}.wav").write_bytes(b"")
    _, findings = check_or_simulate({"task": "mask", "root": str(corpus)}, 0, progress)
    assert findings.count("warning") == 25
    assert screen.getvalue().count("warning: ") == 21
    assert screen.getvalue().endswith(f"{corpus}: 6 recordings, no errors, 25 warnings\n")


def test_a_check_warns_of_the_config_and_writes_nothing(corpus, tmp_path, capsys):
    config = mask_s2.get_config()
    config.corpus.root = str(corpus)
    for member in config.members.values():
        member.learner.pretrained = None
        member.folds = {"name": "official"}
    run(config, overrides={}, name="check", workdir=tmp_path / "run", mode="check")
    out = capsys.readouterr().out.replace("\n", " ")
    assert "warning: sgd: random crops also move frequencies" in out
    assert not (tmp_path / "run").exists()


def score(pooled, why=""):
    return {"pooled": pooled, "part": "test", "interval_95": None, "undefined": {"pooled": why} if why else {}}


def closing(test, baselines):
    fusion = {"test": test, "cv": {"pooled": None, "mean_of_folds": None}, "members": []}
    corpus = {"partitions": {"test": {}}}
    return closing_lines({"measure": "PCC", "fusion": fusion, "members": {}, "baselines": baselines, "corpus": corpus})


def test_a_baseline_without_a_score():
    baselines = {"loudness": score(None, "the prediction is constant"), "other": score(0.25)}
    lines = closing(score(0.5), baselines)
    assert "  baseline (loudness): no score, the prediction is constant" in lines
    assert "  baseline (other): 0.250" in lines


@pytest.mark.parametrize("why", ["no truth for the test partition", "the prediction is constant"])
def test_a_test_partition_without_a_score(why):
    assert closing(score(None, why), {}) == [f"test: no score ({why}); the submission is ready"]


def test_lines_off_a_terminal_estimate_the_time_left_from_the_steps_of_this_command(progress, screen, monkeypatch):
    monkeypatch.setattr("jaxpara.progress.LINE_EVERY_S", 0.0)
    with progress.task("steps", 30, done=10) as bar:
        progress.bars.tasks[-1].start_time -= 100.0
        bar.advance("loss 0.5", by=10)  # 10 steps in 100 s, and 10 more to go
        bar.update(30, 30)
    assert screen.getvalue().splitlines() == ["steps 20/30, 100 s left  loss 0.5", "steps 30/30"]
