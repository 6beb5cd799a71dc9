"""Augmentation: each step against its formula, and the same results on any devices, in parts and after a stop."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from jaxpara.corpora import tasks
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.models import MODELS
from jaxpara.progress import Progress
from jaxpara.training import augment, parallel
from jaxpara.training.augment_steps import Gain, Mixup, Noise, RandomCrop, SpecAugment, Speed, TimeShift
from jaxpara.training.batches import batches
from jaxpara.training.clips import Clips
from jaxpara.training.examples import Windows
from jaxpara.training.fold_run import FoldRun, summary_of
from jaxpara.training.net import Net
from jaxpara.training.train import Interrupted

WHERE = "members.net.learner.examples"
RNG = np.random.default_rng(0)
KEYS = jax.random.split(jax.random.key(0), 400)


def changed(step, example, keys=KEYS):
    return np.asarray(jax.vmap(lambda key: step(jnp.asarray(example, jnp.float32), key))(keys))


@pytest.mark.parametrize("shape", [(40, 30, 3), (160, 8), (1600, 1)])
def test_noise_has_the_ratio_that_is_wanted_in_any_units(shape):
    example = 128 + 50 * RNG.normal(size=shape)
    measured = []
    for snr_db in (0.0, 20.0):
        noise = changed(Noise((snr_db, snr_db)), example, KEYS[:50]) - example
        ratios = 10 * np.log10(example.var() / noise.reshape(50, -1).var(1))
        measured.append(ratios.mean())
        assert abs(noise.mean()) < 0.1 * noise.std()
    np.testing.assert_allclose(measured, [0, 20], atol=0.1)
    wide = changed(Noise((0.0, 20.0)), example) - example
    ratios = 10 * np.log10(example.var() / wide.reshape(len(KEYS), -1).var(1))
    assert stats.kstest(ratios, stats.uniform(0, 20).cdf).pvalue > 0.01


def test_a_gain_is_uniform_in_decibels():
    example = RNG.normal(size=(50, 1))
    ratios = changed(Gain((-6.0, 3.0)), example) / example
    np.testing.assert_allclose(ratios.std((1, 2)), 0, atol=1e-5)  # one gain for the whole example
    assert stats.kstest(20 * np.log10(ratios[:, 0, 0]), stats.uniform(-6, 9).cdf).pvalue > 0.01


def test_masks_have_uniform_widths_at_uniform_positions():
    example = RNG.normal(size=(40, 30, 3))
    step = SpecAugment(time_masks=1, time_fraction=0.25, frequency_masks=0)
    masked = (changed(step, example) != example.astype(np.float32)).all((2, 3))
    widths = masked.sum(1)
    assert set(widths) == set(range(11))
    assert widths.mean() == pytest.approx(5, abs=0.6)
    edges = np.diff(np.pad(masked, ((0, 0), (1, 1))).astype(int), axis=1)
    assert ((edges == 1).sum(1) == (widths > 0)).all()  # one piece
    middle = np.abs(np.arange(40) - 19.5) < 10
    assert masked[:, middle].mean() > masked[:, ~middle].mean() > 0


def test_masks_are_filled_with_the_mean_and_cover_both_axes():
    example = RNG.normal(size=(40, 30))
    seen = changed(SpecAugment(2, 0.2, 2, 0.2), example)
    masked = seen != example.astype(np.float32)
    np.testing.assert_allclose(seen[masked], example.mean(), atol=1e-6)
    rows, columns = masked.all(2), masked.all(1)
    np.testing.assert_array_equal(masked, rows[:, :, None] | columns[:, None, :])
    # Two masks of a mean of 10 %, which may overlap.
    assert 0.15 < rows.mean() < 0.2
    assert 0.15 < columns.mean() < 0.2
    assert (changed(SpecAugment(0, 0.2, 0, 0.2), example) == example.astype(np.float32)).all()


def test_an_image_is_shifted_in_a_circle():
    example = RNG.normal(size=(20, 6, 3)).astype(np.float32)
    seen = changed(TimeShift(0.1), example)
    rolled = [np.roll(example, shift, axis=0) for shift in (-2, -1, 0, 1, 2)]
    which = [[np.array_equal(one, other) for other in rolled] for one in seen]
    assert (np.sum(which, 1) == 1).all()
    assert np.sum(which, 0).min() > len(KEYS) / 5 * 0.6


def test_the_speed_of_an_image_stretches_time_about_its_middle():
    example = RNG.normal(size=(21, 4)).astype(np.float32)
    for factor in (0.8, 1.0, 1.25):
        (seen,) = changed(Speed((factor, factor)), example, KEYS[:1])
        at = 10 + factor * (np.arange(21) - 10)
        expected = [np.interp(at, np.arange(21), column) for column in example.T]
        np.testing.assert_allclose(seen.T, expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_the_speed_of_a_waveform_is_that_of_its_tones_and_labels(factor):
    rate_hz, times_s = 1000, np.arange(4000) / 1000
    tone = lambda s, hz: np.sin(2 * np.pi * hz * s)  # noqa: E731
    step, key = Speed((factor, factor), keep_frequency=False), KEYS[0]
    wave = jnp.asarray(tone(times_s, 100)[:, None], jnp.float32)
    seen = np.asarray(step.inputs(wave, key, 100, jnp.int32(40)))[:, 0]
    inside = slice(30, int(4000 / max(factor, 1)) - 30)
    np.testing.assert_allclose(seen[inside], tone(times_s, 100 * factor)[inside], atol=2e-3)
    if factor > 1:
        assert not seen[int(4000 / factor) + 20 :].any()
        high = step.inputs(jnp.asarray(tone(times_s, 470)[:, None], jnp.float32), key, 100, jnp.int32(40))
        assert np.abs(np.asarray(high)[200:-1000]).max() < 0.1  # above half the rate, so that it is filtered out
    grid_s = np.arange(100) * 40 / rate_hz
    weights = np.ones(100, np.float32)
    weights[:10] = 0
    targets, known = step.labels(jnp.asarray(tone(grid_s, 0.5), jnp.float32), jnp.asarray(weights), key)
    np.testing.assert_array_equal(known, (factor * np.arange(100) <= 99) & (factor * np.arange(100) >= 10))
    expected = tone(grid_s * factor, 0.5)
    np.testing.assert_allclose(np.asarray(targets)[np.asarray(known) > 0], expected[np.asarray(known) > 0], atol=2e-3)


@pytest.mark.parametrize("stride", [1, 5])
def test_a_shift_of_a_sequence_moves_inputs_and_labels_together(stride):
    """The inputs contain the labels, also of those that are next to missing ones."""
    labels = RNG.normal(size=60).astype(np.float32)
    weights = np.r_[np.ones(50), np.zeros(10)].astype(np.float32)
    inputs = np.repeat(labels, stride)[:, None]
    step, shifts = TimeShift(0.25), set()
    for key in KEYS[:20]:
        seen = np.asarray(step.inputs(jnp.asarray(inputs), key, 60, jnp.int32(stride)))[::stride, 0]
        targets, known = (np.asarray(x) for x in step.labels(jnp.asarray(labels), jnp.asarray(weights), key))
        np.testing.assert_array_equal(seen[known > 0], targets[known > 0])
        at = int(np.flatnonzero(known)[0])
        shift = at - int(np.flatnonzero(labels == targets[at])[0])
        np.testing.assert_array_equal(known, [0 <= i - shift < 50 for i in range(60)])
        shifts.add(shift)
    assert len(shifts) > 8
    assert max(map(abs, shifts)) <= 15


def test_a_crop_that_keeps_frequencies_resizes_a_part_of_the_time():
    image = jnp.arange(12.0)[:, None] * 100 + jnp.arange(40.0)
    images, chosen = jnp.broadcast_to(image[..., None], (100, 12, 40, 1)), jnp.ones(100, bool)
    step = RandomCrop(keep_frequency=True, area=(0.25, 0.75))
    seen = np.asarray(step.resized(images, KEYS[:100], chosen, (12, 80)))[..., 0]
    rows = np.arange(12)[:, None] * 100
    np.testing.assert_allclose(seen - rows, np.broadcast_to(seen[:, :1], seen.shape), atol=1e-3)
    starts, lengths = seen[:, 0, 0], seen[:, 0, -1] - seen[:, 0, 0] + 1
    assert 9.5 < min(lengths) < 13
    assert 27 < max(lengths) < 30.5
    assert min(starts) < 3
    assert max(starts) > 20


def recordings(labels):
    at = np.zeros(1)
    return [
        Recording(f"{i}.wav", Path(), "train", f"{i}", at, np.array([v]), np.array([v])) for i, v in enumerate(labels)
    ]


def clip_batch(clips, labels):
    features = {f"{i}.wav": RNG.integers(0, 256, (1, 12, 16, 3)).astype(np.uint8) for i in range(len(labels))}
    examples = clips.examples(recordings(labels), features, training=True)
    return next(batches(examples, len(labels), rows=len(labels) + 2))


def test_mixup_mixes_each_image_and_its_loss_with_the_next_one():
    labels = [0.0, 1.0, np.nan, 1.0, 0.0]
    clips = Clips(WHERE, size=(12, 16), augment=({"name": "mixup", "alpha": 1.0},), normalise="none")
    batch = clip_batch(clips, labels)
    key = jax.random.key(5)
    (own, own_weights), (other, other_weights) = (map(np.asarray, pair) for pair in clips.labels(batch, key))
    fractions = own_weights[[0, 3, 4]]
    assert ((fractions > 0) & (fractions < 1)).all()
    np.testing.assert_allclose(other_weights, [1 - fractions[0], 0, 0, 1 - fractions[1], 1 - fractions[2], 0, 0])
    np.testing.assert_allclose(own_weights, [fractions[0], 1, 0, *fractions[1:], 0, 0])  # the third has no label
    np.testing.assert_array_equal(own[:5], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(other[:5], [1, 0, 1, 0, 0])
    images = batch["inputs"][:5].astype(np.float64)
    share = np.array([fractions[0], 1, np.nan, *fractions[1:]])[:, None, None, None]
    expected = share * images + (1 - share) * np.roll(images, -1, 0)
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(np.asarray(clips.prepare(batch, key))[kept], expected[kept], atol=1e-3)


def test_the_fractions_of_mixup_have_a_beta_distribution():
    drawn = np.asarray(jax.vmap(Mixup(alpha=0.4))(KEYS))
    assert stats.kstest(drawn, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_validation_data_are_neither_paired_nor_changed():
    clips = Clips(WHERE, size=(12, 16), augment=({"name": "noise"}, {"name": "mixup"}), normalise="none")
    features = {"0.wav": RNG.integers(0, 256, (1, 12, 16, 3)).astype(np.uint8)}
    examples = clips.examples(recordings([1.0]), features)
    batch = {name: value[None] for name, value in examples.load(0).items()}
    assert not examples.paired
    np.testing.assert_array_equal(clips.prepare(batch, jax.random.key(0)), batch["inputs"])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Clips(WHERE, augment="role"), r"augment is 'role', expected a list of steps, as \(\{'name': 'noi"),
        (lambda: Clips(WHERE, augment=({"name": "gain"},)),
         r"augment\[0\]\.name is 'gain', which does not fit images, as a gain multiplies samples.*"
         r"choose from random_crop, spec_augment, mixup, noise, time_shift, speed$"),
        (lambda: Clips(WHERE, augment=({"name": "noize"},)), r"augment\[0\]\.name is 'noize', .*did you mean 'noise'"),
        (lambda: Clips(WHERE, augment=({"name": "noise"}, {"name": "noise"})), r"augment has 'noise' more than once"),
        (lambda: Clips(WHERE, augment=({"name": "noise", "snr_db": (20, 10)},)),
         r"augment\[0\]: snr_db is \(20, 10\), expected the lowest"),
        (lambda: Clips(WHERE, augment=({"name": "mixup", "alpha": 0},)), r"augment\[0\]: alpha is 0, expected"),
        (lambda: Clips(WHERE, augment=({"name": "speed", "keep_frequency": False},)),
         r"augment\[0\]\.keep_frequency is False, but the rows of an image"),
        (lambda: Windows(WHERE, 1.0, 1.0, augment=({"name": "mixup"},)),
         r"augment\[0\]\.name is 'mixup', which does not fit waveforms or frames, as the sum"),
        (lambda: Windows(WHERE, 1.0, 1.0, augment=({"name": "speed"},)),
         r"augment\[0\]\.keep_frequency is True, but resampling"),
    ],
)  # fmt: skip
def test_impossible_steps_are_refused(made, message):
    with pytest.raises(UserError, match=rf"^config\.members\.net\.learner\.examples\.{message}"):
        made()


@pytest.mark.parametrize(("step", "channels"), [("gain", 5), ("spec_augment", 1)])
def test_steps_that_do_not_fit_the_features_of_a_sequence_are_refused(step, channels):
    windows = Windows(WHERE, 1.0, 1.0, augment=({"name": step},))
    times_s, labels = np.arange(50) / 25, np.zeros(50)
    one = Recording("0.wav", Path(), "train", "", times_s, labels, labels)
    given = {"frame_rate_hz": 25.0, "frames_per_output": 1}
    features = {"0.wav": np.zeros((50, channels), np.float32)}
    windows.examples([one], features, **given)
    with pytest.raises(UserError, match=rf"augment\[0\]\.name is '{step}', which does not fit .*choose from"):
        windows.examples([one], features, training=True, **given)


def test_every_step_says_what_it_fits():
    assert augment.FITS.keys() == augment.STEPS.keys()
    assert augment.REASONS.keys() == {name for name, kinds in augment.FITS.items() if len(kinds) < 3}


class ToyImages(nn.Module):
    """A network in which no example depends on another."""

    classes: int = 2

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), strides=2)(x)
        return nn.Dense(self.classes)(nn.relu(x).mean((1, 2)))


IMAGES = {
    "examples": {
        "name": "clips",
        "size": (12, 12),
        "augment": (
            {"name": "time_shift"},
            {"name": "random_crop", "keep_frequency": True},
            {"name": "mixup", "alpha": 1.0},
            {"name": "noise"},
        ),
    },
    "model": {"name": "toy_images"},
    "loss": {"name": "cross_entropy", "class_weight": "balanced", "smoothing": 0.1},
}
SEQUENCES = {
    "examples": {
        "name": "windows",
        "window_s": 2.0,
        "step_s": 1.0,
        "augment": (
            {"name": "speed", "keep_frequency": False},
            {"name": "gain"},
            {"name": "time_shift"},
            {"name": "noise"},
        ),
    },
    "model": {"name": "resnet1d_lstm", "stem": 2, "stages": (2,), "blocks": 1, "pools": (2, 4), "lstm": (3,)},
    "loss": {"name": "window_pcc"},
}


def run_of(kind, folder):
    task, all_recordings, features = tasks.TASKS["mask" if kind == "images" else "breathing"], [], {}
    random = np.random.default_rng(1)
    for i in range(8):
        name, times_s = f"train_{i}.wav", np.zeros(1) if kind == "images" else np.arange(75) / 25
        labels = np.array([float(i % 3 == 0)]) if kind == "images" else np.sin(times_s * 2 + i)
        all_recordings.append(Recording(name, Path(), "train", name, times_s, labels, labels))
        image = random.integers(0, 256, (1 + i % 2, 12, 16, 3)).astype(np.uint8)
        wave = np.repeat(labels, 8)[:, None] + random.normal(size=(len(labels) * 8, 1))
        features[name] = image if kind == "images" else wave.astype(np.float32)
    names = tuple(recording.name for recording in all_recordings)
    corpus = Corpus(task, Path(), tuple(all_recordings), 0.0 if kind == "images" else 25.0)
    rate_hz = 0.0 if kind == "images" else 200.0
    return FoldRun("net", corpus, Fold(0, names[:6], names[6:], names[6:]), features, rate_hz, folder, 3)


def net(run, config, **fields):
    common = {"optimizer": {"name": "sgd", "lr": 0.1}, "batch": 4, "epochs": 2}
    return Net(task=run.corpus.task, frame_rate_hz=run.frame_rate_hz, where="net", **config, **common, **fields)


def weights_of(network, run):
    with Progress() as progress:
        network.train([run], progress)
    return network.load(run, network.choose([summary_of(run.folder)])[0]).params


@pytest.mark.parametrize(("kind", "config"), [("images", IMAGES), ("sequences", SEQUENCES)])
def test_devices_parts_and_stops_change_nothing(kind, config, tmp_path, monkeypatch):
    """Also with mixtures of images whose classes have other weights."""
    monkeypatch.setitem(MODELS, "toy_images", ToyImages)
    whole, stopped, spread = (run_of(kind, tmp_path / way) for way in ("whole", "stopped", "spread"))
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    network = net(whole, config)
    expected = weights_of(network, whole)
    asks = iter(range(100))
    with monkeypatch.context() as patch, Progress() as progress:
        requests = lambda: contextlib.nullcontext(lambda: next(asks) >= 1)  # noqa: E731
        patch.setattr("jaxpara.training.net.stop_requests", requests)
        with pytest.raises(Interrupted, match=r"stopped after step 2 of"):
            network.train([stopped], progress)
    jax.tree.map(np.testing.assert_array_equal, expected, weights_of(network, stopped))
    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:2])
    found = weights_of(net(spread, config, microbatch=1 if kind == "images" else 0), spread)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), expected, found)


@pytest.mark.parametrize(
    ("keep_frequency", "pretrained", "warned"), [(False, None, True), (True, None, False), (False, "x.npz", False)]
)
def test_a_random_start_is_warned_of_crops_that_move_frequencies(
    keep_frequency, pretrained, warned, tmp_path, monkeypatch
):
    monkeypatch.setitem(MODELS, "toy_images", ToyImages)
    crop = {"name": "random_crop", "keep_frequency": keep_frequency}
    config = IMAGES | {"examples": IMAGES["examples"] | {"augment": (crop,)}, "pretrained": pretrained}
    warnings = net(run_of("images", tmp_path), config).warnings
    assert [line.partition(",")[0] for line in warnings] == ["random crops also move frequencies"] * warned
