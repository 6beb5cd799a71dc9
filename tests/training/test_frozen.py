"""Breathing system 4 on made-up strips: training from kept maps of the frozen stages is training from the strips."""

import json

import numpy as np
import pytest

from jaxpara.corpora import tasks
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.training.fit import Fit
from jaxpara.training.net import Net

CONFIG = {
    "examples": {"name": "windows", "window_s": 2.0, "step_s": 1.0},
    "model": {"name": "resnet_gru", "gru": (4, 3), "chunk": 25, "dropout": 0.0},
    "loss": {"name": "window_pcc"},
    "optimizer": {"name": "sgd", "lr": 1e-3},  # Adam makes a sign of what is nearly 0
    "batch": 4,
    "epochs": 1,
}
TASK = tasks.TASKS["breathing"]


@pytest.fixture(scope="module")
def fit_in():
    """Recordings of 2 s and one of 4.4 s, which takes two runs of maps."""
    rng, recordings, features = np.random.default_rng(0), [], {}
    for i, labels in enumerate((50, 50, 110, 50)):
        name, times = f"train_{i:02d}.wav", np.arange(labels) / 25
        recordings.append(Recording(name, None, "train", name, times, np.sin(times * 2 + i), np.sin(times)))
        features[name] = rng.integers(0, 256, (2 * labels + 48, 16)).astype(np.uint8)
    corpus = Corpus(TASK, None, tuple(recordings), 25.0)
    names = tuple(recording.name for recording in recordings)
    fold = Fold(0, names[:3], names[3:], names[3:])
    return lambda folder: Fit("net, fold 0", corpus, fold, features, 50.0, folder / "fold_0", 7)


def trained(fit, **fields):
    net = Net(task=TASK, frame_rate_hz=50.0, where="net", **(CONFIG | fields))
    with Progress() as progress:
        (summary,) = net.fit([fit], progress)
    (epoch,) = net.choose([summary])
    names = fit.fold.train_names + fit.fold.val_names
    return summary, net.predict(fit, names, epoch).scores, dict(net.embed(fit, names, epoch))


def test_the_outcome_is_the_same_and_the_maps_are_made_once(fit_in, tmp_path):
    summary, scores, embeddings = trained(fit_in(tmp_path / "strips"))
    kept = trained(fit_in(tmp_path / "maps"), keep_frozen="always")
    losses = [[epoch["loss"] for epoch in s["epochs"]] for s in (summary, kept[0])]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(kept[1], scores, atol=1e-4)
    for name, values in embeddings.items():
        np.testing.assert_allclose(kept[2][name], values, rtol=1e-3, atol=1e-4)
    (folder,) = (tmp_path / "maps").glob("frozen_*")
    index = json.loads((folder / "index.json").read_text())
    assert index["shape"] == [2, 7, 128]
    assert index["lengths"] == [50, 50, 110, 50]
    assert not list((tmp_path / "strips").glob("frozen_*"))


def test_it_is_kept_by_itself_where_that_is_faster():
    def kept(keep_frozen, **model):
        fields = {"keep_frozen": keep_frozen, "model": CONFIG["model"] | model}
        return Net(task=TASK, frame_rate_hz=50.0, where="net", **(CONFIG | fields))._keep_frozen

    assert [kept("never"), kept("always"), kept("auto")] == [False, True, True]  # the tests run on CPUs
    assert not kept("auto", trunk="dense")
    assert not kept("auto", frozen=())
    for wrong in (("always", {"trunk": "dense"}), ("always", {"frozen": ()}), ("yes", {})):
        with pytest.raises(UserError, match=rf"keep_frozen is '{wrong[0]}', expected 'never' or 'auto'"):
            kept(wrong[0], **wrong[1])
