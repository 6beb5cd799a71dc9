"""Prediction of whole recordings, in parts with carried state, equals the network over the recording as one window."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.signal.windows import hann

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.models.resnet import ResNet18
from jaxpara.training import parallel, steps
from jaxpara.training.examples import Windows
from jaxpara.training.fold_run import FoldRun
from jaxpara.training.net import Net
from jaxpara.training.predictor import Predictor, _groups

CNN = {"name": "cnn1d_lstm", "filters": (4, 4), "kernels": (10, 9), "pools": (4, 2), "lstm": (6, 4)}
RESNET = {"name": "resnet1d_lstm", "stem": 4, "stages": (2, 3), "blocks": 1, "pools": (2, 2, 2), "lstm": (4,)}
# The network, the frames of its features per second, and their shape.
CASES = {
    "cnn1d_lstm": (CNN, 200.0, (1,)),
    "resnet1d_lstm": (RESNET, 200.0, (1,)),
    "layers": ({"name": "sequence_lstm", "lstm": (6,)}, 25.0, (2, 3)),
    "tcn": ({"name": "tcn", "channels": 4, "layers": 3, "taps": 3}, 25.0, (3,)),
}
LABELS = (30, 272, 60, 400)  # one window, of 40, or several


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


@pytest.mark.parametrize(("name", "devices"), [("cnn1d_lstm", 2), ("resnet1d_lstm", 1), ("layers", 2), ("tcn", 1)])
def test_parts_with_carried_state_equal_one_window_over_the_recording(name, devices, monkeypatch):
    """Followed by silence, or by the last frame of a spectrogram; with margins that are as small as they can be."""
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:devices])
    network = net(name)
    run, state = started(network, CASES[name][2])
    forward, after = jax.jit(steps.forward(network.model)), 2 * network.stride * network.model.margin
    mode = "constant" if CASES[name][2] == (1,) else "edge"
    wanted = []
    for recording in run.recordings(run.fold.val_names):
        feature = run.features[recording.name]
        padded = np.pad(feature, [(0, after)] + [(0, 0)] * (feature.ndim - 1), mode)
        wanted.append(np.asarray(forward(state.variables, padded[None]))[0, : len(recording.times_s)])
    for one, other in zip(predicted(network, run, state), wanted, strict=True):
        assert other.std() > 1e-3
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    if margin := network.model.margin:
        monkeypatch.setattr(type(network.model), "margin", margin - 1)
        less = predicted(network, run, state)
        assert max(np.abs(one - other).max() for one, other in zip(less, wanted, strict=True)) > 1e-5


def test_recordings_of_similar_length_are_predicted_at_once(monkeypatch):
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    network = net("layers", window_s=0.4)
    run, _ = started(network, (3,), labels=(10, 90, 11, 30, 20, 12))
    examples = network.examples_of(run, run.fold.val_names)  # of 1, 9, 2, 3, 2 and 2 parts
    assert list(_groups(examples, rows=3)) == [[0, 2, 4], [5, 3], [1]]
    assert list(_groups(examples, rows=8)) == [[0, 2, 4, 5], [3], [1]]
    three = network.examples_of(run, ("3", "4", "5"))
    assert list(_groups(three, rows=8)) == [[1, 2, 0, 0]]


def test_a_network_that_is_not_recurrent_is_refused():
    with pytest.raises(
        UserError, match=r"^config\.net\.examples\.predict is 'whole', which needs a network that is rec"
    ):
        Predictor(ResNet18(), Windows("net.examples", 2.0, 1.0, predict="whole"), "float32", "")


def test_unknown_ways_to_predict_are_refused():
    with pytest.raises(
        UserError, match=r"^config\.net\.examples\.predict is 'hole', expected one of .*mean 'whole'\?$"
    ):
        net("layers", predict="hole")


def test_cross_faded_windows_are_their_weighted_mean():
    network = net("layers", predict="crossfade")  # windows of 40, every 20
    run, _ = started(network, (3,), labels=(70,))
    examples = network.examples_of(run, run.fold.val_names)
    outputs = np.random.default_rng(1).normal(size=(len(examples), 40))
    weights = hann(43)[1:-1][:20]
    ((_, values),) = examples.by_recording(outputs[..., None])
    np.testing.assert_allclose(values[25, 0], weights[5] * outputs[1, 5] + (1 - weights[5]) * outputs[0, 25])
