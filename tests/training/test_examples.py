"""Clip examples: which images are augmented, how they are normalised, and the mean over several of a recording."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.utils.class_weight import compute_class_weight

from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.models.pretrained import IMAGENET_MEAN, IMAGENET_STD
from jaxpara.training.batches import batches
from jaxpara.training.examples import Clips
from jaxpara.training.parallel import AXIS

PARTS = ("train", "devel", "train", "devel")
RNG = np.random.default_rng(0)
WHERE = "members.net.learner.examples"


def recordings(labels=(0, 1, 1, np.nan)):
    at, values = np.zeros(1), [np.array([float(label)]) for label in labels]
    return [
        Recording(f"{i}.wav", Path(), part, "", at, value, value)
        for i, (part, value) in enumerate(zip(PARTS, values, strict=True))
    ]


def images(counts=(1, 1, 1, 1), size=(12, 16, 3)):
    return {f"{i}.wav": RNG.integers(0, 256, (count, *size)).astype(np.uint8) for i, count in enumerate(counts)}


def stacked(examples):
    rows = [examples.load(i) for i in range(len(examples))]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def prepared(clips, batch, seed=0):
    """The inputs of the network, on one device."""
    on_devices = {name: value[None] for name, value in batch.items()}
    return np.asarray(jax.vmap(lambda b: clips.prepare(b, jax.random.key(seed)), axis_name=AXIS)(on_devices)[0])


@pytest.mark.parametrize(
    ("augment_on", "training", "cropped"),
    [
        ("role", True, [1, 1, 1, 1]),
        ("role", False, [0, 0, 0, 0]),
        ("partition", True, [1, 0, 1, 0]),
        ("partition", False, [1, 0, 1, 0]),
    ],
)
@pytest.mark.parametrize("step", ["random_crop", "noise"])
def test_only_the_chosen_images_are_changed(step, augment_on, training, cropped):
    clips = Clips(WHERE, size=(12, 16), augment=({"name": step},), augment_on=augment_on, normalise="none")
    batch = stacked(clips.examples(recordings(), images(), training=training))
    assert batch["augmented"].tolist() == [bool(c) for c in cropped]
    seen = prepared(clips, batch)
    untouched = [np.array_equal(a, b) for a, b in zip(seen, batch["inputs"], strict=True)]
    assert untouched == [not c for c in cropped]


def test_each_step_and_example_has_a_crop_of_its_own():
    clips = Clips(WHERE, size=(12, 16), augment=({"name": "random_crop"},), normalise="none")
    same = np.repeat(RNG.integers(0, 256, (1, 12, 16, 3)), 2, 0).astype(np.uint8)
    features = {f"{i}.wav": same[:1] for i in range(4)}
    batch = stacked(clips.examples(recordings(), features, training=True))
    first, other, again = (prepared(clips, batch, seed) for seed in (1, 2, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_normalisation_with_the_statistics_of_imagenet():
    clips = Clips(WHERE, size=(12, 16), augment=())
    batch = stacked(clips.examples(recordings(), images(), training=True))
    expected = (batch["inputs"] / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(prepared(clips, batch), expected, rtol=1e-5, atol=1e-6)


def test_normalisation_by_the_batch_leaves_out_padding():
    clips = Clips(WHERE, size=(12, 16), augment=(), normalise="batch")
    batch = stacked(clips.examples(recordings((0, 1, 1, 0)), images(), training=True))
    batch["real"][3] = 0
    kept = batch["inputs"][:3].astype(np.float64)
    expected = (batch["inputs"] - kept.mean((0, 1, 2))) / kept.std((0, 1, 2))
    np.testing.assert_allclose(prepared(clips, batch), expected, atol=1e-4)


@pytest.mark.parametrize("real", [1, 0])
def test_normalisation_by_the_batch_needs_no_label(real):
    """As in test and new audio; and a part of a batch may be padding alone."""
    clips = Clips(WHERE, size=(12, 16), augment=(), normalise="batch")
    batch = stacked(clips.examples(recordings((np.nan,) * 4), images(), training=False))
    assert not batch["weights"].any()
    batch["real"][:] = real
    whole = batch["inputs"].astype(np.float64)
    expected = (whole - whole.mean((0, 1, 2))) / whole.std((0, 1, 2))
    np.testing.assert_allclose(prepared(clips, batch), expected, atol=1e-4)


def test_a_batch_marks_the_rows_that_are_not_padding():
    examples = Clips(WHERE).examples(recordings(), images(), training=False)
    first, second = batches(examples, 3, rows=5)
    assert first["real"].tolist() == [1, 1, 1, 0, 0]
    assert second["real"].tolist() == [1, 0, 0, 0, 0]
    assert second["weights"].tolist() == [0] * 5  # the last label is not known


def test_the_batch_is_normalised_over_all_devices():
    clips = Clips(WHERE, size=(12, 16), augment=(), normalise="batch")
    batch = stacked(clips.examples(recordings((0, 1, 1, 0)), images(), training=True))
    halves = {name: value.reshape(2, 2, *value.shape[1:]) for name, value in batch.items()}
    two = jax.vmap(lambda b: clips.prepare(b, jax.random.key(0)), axis_name=AXIS)(halves)
    np.testing.assert_allclose(np.concatenate(two), prepared(clips, batch), atol=1e-5)


def test_probabilities_of_several_images_are_averaged():
    counts = (1, 3, 2, 1)
    examples = Clips(WHERE).examples(recordings(), images(counts), training=False)
    assert len(examples) == 7
    logits = RNG.normal(size=(7, 2))
    merged = examples.scores(logits)
    parts = np.split(softmax(logits, axis=1), np.cumsum(counts)[:-1])
    np.testing.assert_allclose(merged, [part.mean(0) for part in parts])
    assert [name for name, _ in examples.by_recording(logits)] == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_balanced_weights_are_scikit_learns_and_divide_the_loss_evenly_between_classes():
    labels = np.array([0.0, 2.0, 1.0, np.nan])
    features, classes = images((4, 1, 3, 1)), ("a", "b", "c")
    examples = Clips(WHERE).examples(recordings(labels), features, training=True)
    of_images = np.repeat(labels, (4, 1, 3, 1))[:-1]
    examples.class_weights = examples.balanced(classes)
    expected = compute_class_weight("balanced", classes=np.arange(3.0), y=of_images)
    np.testing.assert_allclose(examples.class_weights, expected)
    batch = stacked(examples)
    assert batch["weights"][-1] == 0
    np.testing.assert_allclose(np.bincount(of_images.astype(int), batch["weights"][:-1]), 8 / 3, rtol=1e-6)
    with pytest.raises(UserError, match=r"no example of class 'd', but loss\.class_weight is 'balanced'"):
        examples.balanced((*classes, "d"))


def test_every_image_has_the_label_of_its_recording():
    features = images((1, 3, 2, 1))
    examples = Clips(WHERE).examples(recordings(), features, training=False)
    batch = stacked(examples)
    assert batch["targets"].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert batch["weights"].tolist() == [1, 1, 1, 1, 1, 1, 0]  # the last label is not known
    assert np.array_equal(batch["inputs"], np.concatenate(list(features.values())))


@pytest.mark.parametrize("field", ["augment_on", "normalise"])
def test_unknown_values_are_refused(field):
    with pytest.raises(
        UserError, match=rf"^config\.members\.net\.learner\.examples\.{field} is 'some', expected one of"
    ):
        Clips(WHERE, **{field: "some"})


@pytest.mark.parametrize("size", [(64,), (64, 0), (64, 32.0), 64, "64x32", (64, 32, 3)])
def test_a_size_is_a_height_and_a_width(size):
    with pytest.raises(
        UserError, match=r"learner\.examples\.size is .*, expected height and width in pixels, as \(224, 224\)"
    ):
        Clips(WHERE, size=size)
