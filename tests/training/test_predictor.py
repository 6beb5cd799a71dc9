"""Prediction of whole recordings, in parts with carried state, equals the network over the recording as one window."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.models import resnet_gru
from jaxpara.training import parallel, steps
from jaxpara.training.fold_run import FoldRun
from jaxpara.training.net import Net

CNN = {"name": "cnn1d_lstm", "filters": (4, 4), "kernels": (10, 9), "pools": (4, 2), "lstm": (6, 4)}
RESNET = {"name": "resnet1d_lstm", "stem": 4, "stages": (2, 3), "blocks": 1, "pools": (2, 2, 2), "lstm": (4,)}
GRU = {"name": "resnet_gru", "frozen": (), "piece_frames": 4, "gru": (5, 3)}
# The network, the frames of its features per second, and their shape.
CASES = {
    "cnn1d_lstm": (CNN, 200.0, (1,)),
    "resnet1d_lstm": (RESNET, 200.0, (1,)),
    "sequence_lstm": ({"name": "sequence_lstm", "lstm": (6, 4)}, 25.0, (3,)),
    "layers": ({"name": "sequence_lstm", "lstm": (6,)}, 25.0, (2, 3)),
    "resnet_gru, pieces": (GRU, 50.0, (8,)),
    "resnet_gru, dense": (GRU | {"trunk": "dense"}, 50.0, (8,)),
}
LABELS = (160, 272, 400)  # several windows, of 40; the dense trunk has another end where 16 do not divide them


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """ResNet18 is too large for a unit test."""
    backbone = resnet_gru.BACKBONES["resnet18"]
    make = partial(backbone.make, width=2)
    monkeypatch.setitem(resnet_gru.BACKBONES, "resnet18", backbone._replace(make=make))


def net(name, **examples):
    model, rate_hz, _ = CASES[name]
    return Net(
        task=TASKS["breathing"],
        frame_rate_hz=rate_hz,
        where="net",
        examples={"name": "windows", "window_s": 1.6, "step_s": 0.8, "predict": "whole"} | examples,
        model=model,
        loss={"name": "window_pcc"},
        optimizer={"name": "adam", "lr": 1e-3},
        batch=2,
        epochs=1,
    )


def started(network, shape, labels=LABELS):
    """Return a run with noise as features, and a state with weights of the size of a trained network's."""
    rng, recordings, features = np.random.default_rng(0), [], {}
    for number, length in enumerate(labels):
        times_s = np.arange(length) / 25
        recordings.append(Recording(f"{number}", Path(), "train", f"{number}", times_s, times_s, times_s))
        frames = length * network.stride + network.context_frames
        features[f"{number}"] = rng.normal(size=(frames, *shape)).astype(np.float32)
    corpus = Corpus(TASKS["breathing"], Path(), tuple(recordings), 25.0)
    run = FoldRun("net", corpus, Fold(0, (), tuple(features), ()), features, network.frame_rate_hz, Path(), 0)
    state = network.init(run)
    return run, state.replace(params=jax.tree.map(lambda leaf: 1.5 * leaf, state.params))


def predicted(network, run, state):
    examples = network.examples_of(run, run.fold.val_names)
    return [values[:, 0] for _, values in examples.by_recording(network.outputs(state, examples)[..., None])]


@pytest.mark.parametrize("name", CASES)
def test_parts_with_carried_state_equal_one_window_over_the_recording(name, monkeypatch):
    """With margins that are as small as they can be."""
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:2])
    network = net(name)
    run, state = started(network, CASES[name][2])
    forward = jax.jit(steps.forward(network.model))
    wanted = [np.asarray(forward(state.variables, run.features[name][None]))[0] for name in run.fold.val_names]
    for one, other in zip(predicted(network, run, state), wanted, strict=True):
        assert other.std() > 1e-3
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    if margin := network.model.margin:
        monkeypatch.setattr(type(network.model), "margin", margin - 1)
        less = predicted(network, run, state)
        assert max(np.abs(one - other).max() for one, other in zip(less, wanted, strict=True)) > 1e-5
