"""The SVM learner on sequences, against scikit-learn and SciPy used by hand on the same frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from scipy.interpolate import CubicSpline
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVR
from svms import corpus, learner, quiet, run_of, trained

from jaxpara.corpora.corpus import Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.predictions import scores_of
from jaxpara.training import svm


@pytest.fixture
def breathing(tmp_path):
    """A belt of 12 s at 25 Hz, and features once a second of which some correlate with it; one label is unknown."""
    rng, rate_hz = np.random.default_rng(4), 1.0
    recordings, features = [], {}
    for part, count in (("train", 6), ("devel", 4), ("test", 3)):
        for i in range(count):
            times_s = np.arange(300) / 25
            truth = np.sin(2 * np.pi * (0.13 + 0.01 * i) * times_s + i)
            seen = np.full(300, np.nan) if part == "test" else truth.copy()
            if (part, i) == ("train", 2):
                seen[100] = np.nan
            vectors = rng.standard_normal((12, 8)) * 0.3
            vectors[:, :3] += np.interp(np.arange(12), times_s, truth)[:, None]
            name = f"{part}_{i:02}.wav"
            features[name] = vectors.astype(np.float32)
            recordings.append(Recording(name, Path(), part, "", times_s, seen, truth))
    return run_of(corpus(TASKS["breathing"], recordings), features, tmp_path, rate_hz)


def sequence_by_hand(run, c, seen):
    """Train a LinearSVR on frames with labels interpolated between their neighbours; return it with its scaling."""
    rows, targets = [], []
    for name in seen:
        recording = run.corpus.by_name[name]
        for i, vector in enumerate(run.features[name]):
            after = int(np.searchsorted(recording.times_s, i))
            if recording.times_s[after] == i:
                label = recording.labels[after]
            else:
                share = (i - recording.times_s[after - 1]) / (recording.times_s[after] - recording.times_s[after - 1])
                label = recording.labels[after - 1] * (1 - share) + recording.labels[after] * share
            if np.isfinite(label):
                rows.append(vector)
                targets.append(label)
    low, high = np.min(rows, 0), np.max(rows, 0)
    seed = int(np.random.default_rng(0).integers(100))
    return (
        low,
        high,
        LinearSVR(C=c, random_state=seed, max_iter=10**6, tol=1e-8).fit((rows - low) / (high - low), targets),
    )


def test_a_sequence_is_regressed_frame_by_frame_and_splined_to_the_labels(breathing):
    _, summary, validation, test = trained(breathing, refit=True, c=(0.01, 0.1))
    c = summary["chosen"]["c"]
    for predictions, names, seen in (
        (validation, breathing.fold.val_names, breathing.fold.train_names),
        (test, breathing.fold.test_names, (*breathing.fold.train_names, *breathing.fold.val_names)),
    ):
        low, high, by_hand = sequence_by_hand(breathing, c, seen)
        parts = [
            CubicSpline(np.arange(12), by_hand.predict((breathing.features[n] - low) / (high - low))) for n in names
        ]
        within = np.arange(300) <= 11 * 25  # after the last frame values stay
        times_s = np.where(within, np.arange(300) / 25, 11)
        np.testing.assert_allclose(scores_of(predictions)[:, 0], np.concatenate([s(times_s) for s in parts]), atol=2e-3)
        assert predictions["recording"].tolist() == [name for name in names for _ in range(300)]
        np.testing.assert_array_equal(predictions["time_s"], np.tile(np.arange(300) / 25, len(names)))
    truth = np.concatenate([breathing.corpus.by_name[name].truth for name in breathing.fold.val_names])
    assert summary["chosen"]["score"] == pytest.approx(np.corrcoef(truth, scores_of(validation)[:, 0])[0, 1], rel=1e-12)
    assert summary["chosen"]["score"] > 0.7


def test_splines_of_outputs_are_outputs_of_splined_features(breathing):
    """The challenge interpolates the features; for one linear SVM that is the same."""
    _, _, validation, _ = trained(breathing, c=(0.1,))
    model: Pipeline = skops.io.load(breathing.folder / "fitted.skops")
    times_s = np.arange(276) / 25
    splined = [
        CubicSpline(np.arange(12), breathing.features[n].astype(np.float64))(times_s) for n in breathing.fold.val_names
    ]
    expected = model.predict(np.concatenate(splined)).reshape(4, 276)
    np.testing.assert_allclose(scores_of(validation).reshape(4, 300)[:, :276], expected, atol=1e-6)


def test_a_recording_of_one_frame_is_constant(breathing):
    first = breathing.fold.val_names[0]
    run = replace(breathing, features=breathing.features | {first: breathing.features[first][:1]})
    _, _, validation, _ = trained(run, c=(0.1,))
    assert np.ptp(scores_of(validation)[:300]) == 0


def test_impossible_frames_are_refused(breathing):
    name = breathing.fold.train_names[1]
    spoiled = breathing.features[name].copy()
    spoiled[7, 2] = np.nan
    for feature, message in (
        (spoiled, r"^train_01\.wav: feature 2 .* is nan in frame 7;"),
        (spoiled[:0], r"^train_01\.wav: features are \[0, 8\]"),
        (spoiled[0], r"expects \[frame, feature\]"),
    ):
        with pytest.raises(UserError, match=message):
            learner(breathing).train([replace(breathing, features=breathing.features | {name: feature})], quiet())


def test_outputs_of_frames_are_splined_at_their_rate():
    frames, times_s = np.array([0.0, 1.0, 4.0, 9.0, 16.0]), np.array([0.0, 0.25, 1.5, 2.0, 3.0])
    expected = (2 * np.minimum(times_s, 2.0)) ** 2  # two frames per second; constant after the last one
    np.testing.assert_allclose(svm._spline(frames, 2.0, times_s), expected, atol=1e-12)
