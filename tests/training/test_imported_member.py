"""A member on features made elsewhere, or standardised per speaker, from the file to the report's sentences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.predictions import scores_of
from jaxpara.progress import Progress
from jaxpara.training.member import Member

CONFIG = {
    "features": {"name": "import", "path": "vectors.npz"},
    "folds": {"name": "official"},
    "learner": {"name": "svm", "c": (0.1, 1.0), "scale": "standard"},
}


@pytest.fixture
def corpus(tmp_path):
    """Six speakers, two per partition; the class shifts a feature a little, the speaker a lot and at random."""
    rng, recordings, vectors = np.random.default_rng(0), [], {}
    offsets = rng.normal(scale=50, size=6)
    for i in range(60):
        partition, speaker = ("train", "devel", "test")[i // 20], i // 10
        name, truth = f"{partition}_{i:05d}.wav", np.array([i % 2.0])
        vectors[name] = rng.normal((5 * truth[0] + offsets[speaker], 0))
        shown = truth * np.nan if partition == "test" else truth
        recordings.append(Recording(name, Path(name), partition, f"s{speaker}", np.zeros(1), shown, truth))
    np.savez(tmp_path / "vectors.npz", **vectors)
    return Corpus(TASKS["mask"], tmp_path, tuple(recordings), 0.0)


def member(corpus, workdir, **features):
    return Member("svm", CONFIG | {"features": CONFIG["features"] | features}, corpus, "f", 12, corpus.root / workdir)


def test_an_svm_learns_from_imported_vectors_standardised_per_speaker(corpus):
    accuracy = {}
    for per_speaker in (False, True):
        svm = member(corpus, str(per_speaker), per_speaker=per_speaker)
        svm.claim()
        with Progress() as progress:
            svm.train(progress, {})
        outcome = svm.outcome()
        truth = [corpus.by_name[name].truth[0] for name in outcome.test["recording"]]
        accuracy[per_speaker] = np.mean(scores_of(outcome.test).argmax(1) == truth)
        assert outcome.leak == ""
        assert outcome.notes[0].startswith("The features of svm were made elsewhere (")
        assert [("standardised per speaker" in note) for note in outcome.notes[1:]] == [True] * per_speaker
    assert accuracy[True] > 0.95 > accuracy[False]


def test_a_change_of_the_vectors_changes_the_identity_and_another_order_does_not(corpus):
    member(corpus, "run").claim()
    vectors = dict(np.load(corpus.root / "vectors.npz"))
    np.savez(corpus.root / "vectors.npz", **dict(reversed(vectors.items())), **{"unused.wav": np.zeros(2)})
    member(corpus, "run").claim()
    vectors["test_00059.wav"][0] += 1
    np.savez(corpus.root / "vectors.npz", **vectors)
    with pytest.raises(
        UserError, match=r"was made with another config \(vectors: [0-9a-f]{64} there, [0-9a-f]{64} now"
    ):
        member(corpus, "run").claim()


def test_frames_for_recordings_with_one_label_are_refused(corpus):
    short = replace(corpus, recordings=corpus.recordings[:30])
    np.savez(corpus.root / "vectors.npz", **{r.name: np.zeros((5, 2)) for r in short.recordings})
    with pytest.raises(
        UserError, match=r"the features are 50 frames per second, but .* needs one vector per recording"
    ):
        member(short, "run", frame_rate_hz=50.0)
