from pathlib import Path

import numpy as np
import pytest

from jaxpara import processes
from jaxpara.corpora.corpus import Recording
from jaxpara.errors import UserError
from jaxpara.training.batches import batches
from jaxpara.training.examples import Windows

WHERE = "members.net.learner.examples"


def recording(name, labels, rate_hz=25.0, **kwargs):
    labels = np.asarray(labels, float)
    times = np.arange(len(labels)) / rate_hz
    return Recording(name, Path(name), "train", name, times, labels, labels, **kwargs)


def examples(lengths, *, window_s=4.0, step_s=2.0, rate_hz=25.0, samples_per_output=10, **settings):
    recordings = [recording(f"{i}.wav", np.sin(np.arange(n) / 9 + i), rate_hz) for i, n in enumerate(lengths)]
    features = {
        r.name: np.repeat(r.labels, round(25 / rate_hz * samples_per_output)).astype(np.float32)[:, None]
        for r in recordings
    }
    made = Windows(WHERE, window_s, step_s, **settings).examples(
        recordings, features, frame_rate_hz=25.0 * samples_per_output, frames_per_output=samples_per_output
    )
    return recordings, made


@pytest.mark.parametrize("lengths", [(250,), (250, 101, 30, 1), (99, 100)])
def test_outputs_equal_to_the_labels_become_the_labels(lengths):
    """The inputs contain the labels: cutting windows and merging them has to return the labels, also in short files."""
    recordings, made = examples(lengths)
    outputs = np.stack([made.load(i)["inputs"][::10, 0] for i in range(len(made))])
    merged = made.scores(outputs)
    assert merged.shape == (sum(lengths), 1)
    np.testing.assert_allclose(merged[:, 0], np.concatenate([r.labels for r in recordings]), atol=1e-6)


@pytest.mark.parametrize("rate_hz", [25.0, 10.0])
def test_the_mean_of_each_recording_is_subtracted(rate_hz):
    recordings, made = examples((250, 30, 1), rate_hz=rate_hz, subtract_mean=True)
    targets = np.stack([made.load(i)["targets"] for i in range(len(made))])
    merged = np.split(made.scores(targets)[:, 0], [250, 280])
    _, plain = examples((250, 30, 1), rate_hz=rate_hz)
    for values, same in zip(merged, np.split(plain.scores(targets)[:, 0], [250, 280]), strict=True):
        assert values.mean() == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(values, same - same.mean(), atol=1e-6)
    assert abs(recordings[1].labels.mean()) > 0.1


def test_padding_repeats_the_examples_of_the_batch_with_weight_zero():
    _, made = examples((250,))
    batch = next(batches(made, 3, rows=8))
    for name, rows in batch.items():
        for row in range(8):
            expected = made.load(row % 3)[name]
            np.testing.assert_array_equal(rows[row], expected if row < 3 or name != "weights" else 0 * expected)


def test_windows_are_zero_past_the_end_of_a_recording():
    _, made = examples((30,))
    one = made.load(0)
    assert one["inputs"].shape == (1000, 1)
    np.testing.assert_array_equal(one["weights"], np.r_[np.ones(30), np.zeros(70)])
    assert not one["inputs"][300:].any()


def test_unlabelled_rows_have_no_weight():
    labels = np.sin(np.arange(100.0))
    labels[40:60] = np.nan
    features = {"a": np.zeros((100, 1), np.float32)}
    made = Windows(WHERE, 4.0, 4.0).examples([recording("a", labels)], features, frame_rate_hz=25, frames_per_output=1)
    one = made.load(0)
    np.testing.assert_array_equal(one["weights"] == 0, np.isnan(labels))
    assert np.isfinite(one["targets"]).all()


def test_labels_of_another_rate_are_interpolated_and_back():
    recordings, made = examples((50, 80), rate_hz=10.0)
    targets = np.stack([made.load(i)["targets"] for i in range(len(made))])
    merged = made.scores(targets)
    assert len(merged) == 130
    inner = np.concatenate([np.r_[np.ones(len(r.labels) - 1), 0] for r in recordings]).astype(bool)
    np.testing.assert_allclose(merged[inner, 0], np.concatenate([r.labels for r in recordings])[inner], atol=0.02)


def test_a_batch_is_a_function_of_its_number():
    _, made = examples((700,), step_s=0.4)
    run = list(batches(made, 4, epochs=3, shuffle_seed=5))
    later = list(batches(made, 4, epochs=3, shuffle_seed=5, first=7))
    assert len(run) == 3 * -(-len(made) // 4)
    for one, other in zip(run[7:], later, strict=True):
        np.testing.assert_array_equal(one["inputs"], other["inputs"])


def test_an_epoch_contains_every_example_once_and_epochs_differ():
    _, made = examples((500,), step_s=0.4)
    per_epoch = -(-len(made) // 4)
    run = list(batches(made, 4, epochs=2, shuffle_seed=5))
    epochs = [
        np.concatenate([b["targets"][b["weights"].any(1)] for b in run[e * per_epoch :][:per_epoch]]) for e in (0, 1)
    ]
    everything = np.stack([made.load(i)["targets"] for i in range(len(made))])
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch[:, 0]), np.sort(everything[:, 0]))
    assert not np.array_equal(epochs[0], epochs[1])


def test_every_process_loads_its_part_of_a_batch(monkeypatch):
    _, made = examples((500,), step_s=0.4)
    whole = list(batches(made, 6, rows=8, shuffle_seed=1))
    monkeypatch.setattr(processes, "count", lambda: 2)
    halves = []
    for process in (0, 1):
        monkeypatch.setattr(processes, "index", lambda process=process: process)
        halves.append(list(batches(made, 6, rows=8, shuffle_seed=1)))
    for batch, first, second in zip(whole, *halves, strict=True):
        np.testing.assert_array_equal(batch["inputs"], np.concatenate([first["inputs"], second["inputs"]]))
        assert batch["inputs"].shape[0] == 8
        assert not batch["weights"][6:].any()


def test_a_window_shorter_than_one_output_is_refused():
    with pytest.raises(
        UserError, match=r"^config\.members\.net\.learner\.examples has window_s 0\.001 and step_s 2\.0: shorter"
    ):
        examples((100,), window_s=0.001)
