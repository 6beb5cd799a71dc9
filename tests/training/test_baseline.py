"""The simple baseline: its predictions, for every kind of target, with and without a test partition."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from rich.console import Console
from sklearn.linear_model import Ridge

from jaxpara.corpora.audio import scan
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import Task
from jaxpara.features.functionals import LogMelFunctionals
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training import baseline

TASKS = {
    "classes": Task("tones", "classes", "label", "UAR", classes=("low", "middle", "high")),
    "values": Task("tones", "values", "pitch", "CCC", limits=(0, 2)),
    "ordinal": Task("tones", "ordinal", "pitch", "RMSE", limits=(0, 2)),
    "sequence": Task("noise", "sequence", "level", "PCC"),
}


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def predict(tmp_path, monkeypatch, screen):
    """Return a function of a corpus and folds that returns the predictions of its baseline."""
    monkeypatch.setenv("JAXPARA_CACHE", str(tmp_path / "cache"))
    progress = Progress(Console(file=screen, soft_wrap=True))
    return lambda corpus, folds=(): baseline.predict(corpus, folds, tmp_path / "workdir", progress)


def corpus_of(folder, kind, test_truth=True, speakers=True, count=9):
    """Three partitions of tones whose pitch, or of noise whose level, is the label."""
    rng, recordings, rate_hz = np.random.default_rng(0), [], 16_000
    for partition in PARTITIONS:
        for number in range(count):
            name = f"{partition}_{number}.wav"
            sound = 0.01 * rng.standard_normal(rate_hz)
            if kind == "sequence":
                truth, times_s = rng.random(10), np.arange(10) / 10
                sound *= np.repeat(0.1 + 10 * truth, rate_hz // 10)
            else:
                truth, times_s = np.array([number % 3.0]), np.zeros(1)
                sound += 0.3 * np.sin(2 * np.pi * 300 * 2 ** truth[0] * np.arange(rate_hz) / rate_hz)
            soundfile.write(folder / name, sound, rate_hz)
            hidden = np.full(len(truth), np.nan)
            known = test_truth or partition != "test"
            labels, truth = (hidden if partition == "test" else truth), (truth if known else hidden)
            speaker = f"{partition}_{number // 3}" if speakers else ""
            info = scan(folder / name)
            recordings.append(Recording(name, folder / name, partition, speaker, times_s, labels, truth, info))
    return Corpus(TASKS[kind], folder, tuple(recordings), 10.0 if kind == "sequence" else 0.0)


@pytest.mark.parametrize("speakers", [True, False])
@pytest.mark.parametrize("kind", TASKS)
def test_what_is_easy_is_predicted(tmp_path, predict, kind, speakers):
    corpus = corpus_of(tmp_path, kind, speakers=speakers)
    ((description, table),) = predict(corpus).values()
    tested = corpus.partition("test")
    assert description.startswith(("a linear SVM on", "a ridge regression on"))
    assert table["recording"].tolist() == [r.name for r in tested for _ in r.times_s]
    assert set(table["fold"]) == {-1}
    scores, truth = scores_of(table), np.concatenate([r.truth for r in tested])
    if kind == "classes":
        assert (scores.argmax(1) == truth).all()
        np.testing.assert_allclose(scores.sum(1), 1)
    else:
        # The penalty of the loudness regression is that of many more labels.
        assert np.corrcoef(scores[:, 0], truth)[0, 1] > (0.4 if kind == "sequence" else 0.9)


@pytest.mark.parametrize("kind", ["classes", "sequence"])
def test_without_truth_of_test_it_predicts_the_validation_sets(tmp_path, predict, kind):
    corpus = corpus_of(tmp_path, kind, test_truth=False)
    train, devel, test = (tuple(r.name for r in corpus.partition(partition)) for partition in PARTITIONS)
    folds = [Fold(0, train, devel, test), Fold(1, devel, train, test), Fold(0, train, devel, test, seed=1)]
    ((_, table),) = predict(corpus, folds).values()
    assert list(dict.fromkeys(table["recording"])) == [*devel, *train]
    assert table.groupby("fold")["recording"].agg(set).to_dict() == {0: set(devel), 1: set(train)}
    assert set(table["seed"]) == {0}
    truth = np.concatenate([corpus.by_name[name].truth for name in (*devel, *train)])
    if kind == "classes":
        assert (scores_of(table).argmax(1) == truth).mean() > 0.9


def test_it_is_stored_and_made_again_when_the_labels_change_or_the_file_is_damaged(tmp_path, predict, monkeypatch):
    corpus = corpus_of(tmp_path, "values")
    ((_, first),) = predict(corpus).values()
    (path,) = (tmp_path / "workdir" / "baseline").iterdir()
    path.write_bytes(b"cut")
    ((_, again),) = predict(corpus).values()
    assert again.equals(first)
    with monkeypatch.context() as patched:
        patched.setattr(baseline, "_train", None)  # is not called
        ((_, stored),) = predict(corpus).values()
        assert stored.equals(first)
    others = tuple(replace(r, labels=2 - r.labels, truth=2 - r.truth) for r in corpus.recordings)
    ((_, other),) = predict(replace(corpus, recordings=others)).values()
    assert not other.equals(first)


def test_what_cannot_be_learned_leaves_it_out(tmp_path, predict, screen):
    corpus = corpus_of(tmp_path, "classes")
    same = tuple(replace(r, labels=0 * r.labels, truth=0 * r.truth) for r in corpus.recordings)
    assert predict(replace(corpus, recordings=same)) == {}
    assert "log-Mel functionals, is left out: labels of one class only to train on" in screen.getvalue()


def test_a_missing_class_in_an_inner_fold_has_score_0(tmp_path, predict):
    corpus = corpus_of(tmp_path, "classes")
    # All recordings of `high` are of one speaker.
    speakers = tuple(replace(r, speaker="h" if r.labels[0] == 2 else r.speaker) for r in corpus.recordings)
    ((_, table),) = predict(replace(corpus, recordings=speakers)).values()
    assert np.isfinite(scores_of(table)).all()


def test_the_levels_around_a_label(tmp_path, predict):
    """A ridge regression on the levels of each tenth of a second, in standard deviations of the recording."""
    corpus = corpus_of(tmp_path, "sequence")

    def levels(recording):
        sound, _ = soundfile.read(recording.path, dtype="float32")
        power = (sound.reshape(10, 1600).astype(float) ** 2).mean(1)
        level = 10 * np.log10(power + 1e-8)
        level = np.pad((level - level.mean()) / level.std(), 40, mode="edge")
        return np.stack([level[i : i + 81] for i in range(10)])

    known = corpus.partition("train", "devel")
    model = Ridge(1e3).fit(np.concatenate([levels(r) for r in known]), np.concatenate([r.labels for r in known]))
    expected = np.concatenate([model.predict(levels(r)) for r in corpus.partition("test")])
    ((_, table),) = predict(corpus).values()
    np.testing.assert_allclose(table["score_0"], expected, atol=1e-5)


@pytest.mark.parametrize("samples", [10, 512, 600, 16_000])
def test_functionals_of_any_length(samples):
    feature, sound = LogMelFunctionals(), np.random.default_rng(0).uniform(-0.1, 0.1, samples).astype(np.float32)
    vector = feature(sound)
    assert vector.shape == (2 * 5 * 64,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert feature.frame_rate_hz == 0
