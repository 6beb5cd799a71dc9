"""Features are standardised per speaker as by scikit-learn, and only where every speaker is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.features import per_speaker
from jaxpara.training.member import Member

SPEAKERS = {"a.wav": "1", "b.wav": "2", "c.wav": "1", "d.wav": "2", "e.wav": "1"}


def corpus_of(**changes):
    zero = np.zeros(1)
    recordings = [Recording(n, Path(n), "train", s, zero, zero, zero) for n, s in (SPEAKERS | changes).items()]
    return Corpus(TASKS["mask"], Path(), tuple(recordings), 0.0, label_file=Path("labels.csv"))


@pytest.mark.parametrize("shape", [(3,), (7, 3), (7,)])
def test_the_result_is_that_of_scikit_learn(shape):
    rng, frames = np.random.default_rng(0), shape[0] == 7
    features = {name: rng.normal(100, 5, (*shape[:-1], shape[-1])).astype(np.float32) for name in SPEAKERS}
    if shape[-1] == 3:
        for values in features.values():
            values[..., 2] = 4  # constant
    got = per_speaker.standardised(features, corpus_of(), frames=frames)
    for speaker in "12":
        names = [name for name in SPEAKERS if SPEAKERS[name] == speaker]
        stacked = np.concatenate([features[n].reshape(7 if frames else 1, -1) for n in names]).astype(np.float64)
        expected = np.split(StandardScaler().fit_transform(stacked), len(names))
        for name, values in zip(names, expected, strict=True):
            assert got[name].shape == features[name].shape
            assert got[name].dtype == np.float32
            np.testing.assert_allclose(got[name], values.reshape(shape), atol=1e-6)


@pytest.mark.parametrize("array", [[np.zeros((4, 4, 3))], np.zeros((7, 2), np.uint8), np.zeros((7, 2, 2), np.float32)])
def test_images_are_refused(array):
    features = per_speaker.standardised(dict.fromkeys(SPEAKERS, array), corpus_of(), frames=True)
    with pytest.raises(UserError, match=r"a\.wav: these features cannot be standardised per speaker"):
        features["a.wav"]


def member(corpus, value, tmp_path, features):
    config = {"features": {**features, "per_speaker": value}, "folds": {"name": "official"}}
    return Member("svm", config | {"learner": {"name": "svm", "c": (1.0,)}}, corpus, "", 1, tmp_path)


@pytest.mark.parametrize(
    ("speakers", "value", "message"),
    [
        (
            {"d.wav": ""},
            True,
            r"^config\.members\.svm\.features\.per_speaker is True, but the speaker of 'd\.wav' \(tra",
        ),
        ({"d.wav": "3"}, True, r"speaker '2' has one recording, 'b\.wav', whose features would all become 0"),
        ({}, "yes", r"^config\.members\.svm\.features\.per_speaker is 'yes', expected True or False"),
    ],
)
def test_unknown_and_single_speakers_are_refused(tmp_path, speakers, value, message):
    devel = [replace(r, name=f"x{r.name}", partition="devel") for r in corpus_of().recordings]
    recordings = [*corpus_of(**speakers).recordings, *(r for r in devel if not (speakers and r.speaker == "2"))]
    corpus = replace(corpus_of(), recordings=tuple(recordings))
    with pytest.raises(UserError, match=message):
        member(corpus, value, tmp_path, {"name": "mel_image", "matrix": {"name": "log_mel"}, "size": (8, 8)})
