"""Members on the states of a speech encoder: training, notes, identity, export, live, and an SVM."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from speech_checkpoints import write_checkpoint

import jaxpara
from jaxpara.corpora import audio
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.inference import system_file
from jaxpara.inference.export import export
from jaxpara.inference.stream import Ensemble
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training import parallel
from jaxpara.training.member import Member

FEATURES = {"name": "speech_encoder", "checkpoint": "tiny", "storage": "float16"}
NET = {
    "name": "net",
    "examples": {"name": "vectors"},
    "model": {"name": "mlp", "units": (8,), "dropout": 0.0},
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "adam", "lr": 1e-2},
    "batch": 3,
    "epochs": 10,  # 40 steps, for the running statistics of the MLP
    "validate_every": 10,
}
SVM = {"name": "svm", "c": (0.1, 1.0), "scale": "standard"}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXPARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])


@pytest.fixture
def corpus(tmp_path):
    """36 recordings of noise or of a tone with a little noise, the two classes."""
    rng, recordings = np.random.default_rng(0), []
    for i in range(36):
        partition, truth = ("train", "devel", "test")[i // 12], np.array([i % 2.0])
        noise = 0.1 * rng.standard_normal(16_000)
        tone = 0.1 * noise + 0.2 * np.sin(2 * np.pi * rng.uniform(150, 250) / 16_000 * np.arange(16_000))
        path = tmp_path / f"{partition}_{i:05d}.wav"
        soundfile.write(path, tone if i % 2 else noise, 16_000)
        shown = truth * np.nan if partition == "test" else truth
        recordings.append(Recording(path.name, path, partition, f"s{i // 6}", np.zeros(1), shown, truth))
    recordings = tuple(replace(r, audio=audio.scan(r.path)) for r in recordings)
    return Corpus(TASKS["mask"], tmp_path, recordings, 0.0)


def member(corpus, learner, **features):
    config = {"features": FEATURES | features, "folds": {"name": "official"}, "learner": learner}
    return Member("ssl", config, corpus, "f", 12, corpus.root / "run")


def train(corpus, learner, **features):
    """Return the trained member and its accuracy on test."""
    ssl = member(corpus, learner, **features)
    ssl.claim()
    with Progress() as progress:
        ssl.train(progress, {})
    test = ssl.outcome().test
    truth = [corpus.by_name[name].truth[0] for name in test["recording"]]
    return ssl, np.mean(scores_of(test).argmax(1) == truth)


def exported(corpus, ssl, out):
    """Export a member as a system; return the card."""
    run = corpus.root / "run"
    about = {"experiment": "x", "recipe": "recommended", "demo": True, "seed": 12, "corpus": "f" * 64}
    system_file.write(run, about, corpus, {"ssl": ssl}, {"ssl": {(0, 0): 1.0}})
    score = {"pooled": 1.0, "interval_95": None}
    results = {"experiment": "x", "fusion": {"members": (), "cv": score, "test": score}, "corpus": {"partitions": {}}}
    results |= {"members": {}, "measure": "UAR", "task": "mask", "jaxpara": jaxpara.__version__}
    (run / "results.json").write_text(json.dumps(results))
    export(run, out)
    return (out / "README.md").read_text()


def test_a_network_learns_the_weights_of_the_layers_and_is_exported(corpus, tmp_path):
    ssl, accuracy = train(corpus, NET, pooling="mean_std")
    assert accuracy == 1
    (note,) = ssl.notes
    assert note.startswith("The features of ssl come from a tiny encoder with random weights")
    assert ssl.warnings[0].startswith("ssl: its features come from a tiny encoder with random weights")
    card = exported(corpus, ssl, tmp_path / "out")
    assert "a tiny one with random weights" in card
    recording = corpus.recordings[-1]
    waveform, rate_hz = soundfile.read(recording.path)
    system = jaxpara.load(tmp_path / "out")
    assert system(waveform, rate_hz).label == corpus.task.classes[int(recording.truth[0])]
    with pytest.raises(UserError, match=r"cannot run live: .* a speech encoder needs the end of a recording") as error:
        Ensemble.of(system)
    assert "\n" not in str(error.value)


def test_an_export_names_the_checkpoint_and_requires_its_content(corpus, tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / "mine", 2)
    ssl, accuracy = train(corpus, SVM, checkpoint=checkpoint, layer=3, pooling="mean_std")
    assert accuracy > 0.9
    assert ssl.notes == []
    card = exported(corpus, ssl, tmp_path / "out")
    assert "The speech encoder of ssl, `mine`, is not in this folder" in card
    assert "Licence: Apache-2.0" in card
    monkeypatch.chdir(tmp_path)
    waveform, rate_hz = soundfile.read(corpus.recordings[-1].path)
    assert jaxpara.load("out")(waveform, rate_hz).values.shape == (1, 2)
    system = Path("out/system.json")
    system.write_text(system.read_text().replace('"mine"', f'"{write_checkpoint(tmp_path / "other", 3)}"'))
    with pytest.raises(UserError, match=r"/other': the SHA-256 of its content starts with"):
        jaxpara.load("out")


def test_another_checkpoint_is_another_member(corpus, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "mine", 1)
    member(corpus, NET, checkpoint=checkpoint, pooling="mean").claim()
    write_checkpoint(tmp_path / "mine", 2)
    from jaxpara.features.speech_encoder import _encoder

    _encoder.cache_clear()
    with pytest.raises(UserError, match=r"made with another config \(member\.features\.sha256: [0-9a-f]{64} there"):
        member(corpus, NET, checkpoint=checkpoint, pooling="mean").claim()


def test_frames_for_a_network_on_vectors_are_refused(corpus):
    with pytest.raises(UserError, match=r"examples\.name is 'vectors', which needs .* 50 a second; pool them"):
        train(corpus, NET)
