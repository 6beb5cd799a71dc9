"""Bags of audio words, compared with loops, and their codebooks, which depend on the training set only."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from jaxpara.corpora.splits import Fold
from jaxpara.errors import UserError
from jaxpara.features import boaw
from jaxpara.features.boaw import Bags, bags, codebooks
from jaxpara.features.cache import LazyArrays

RNG = np.random.default_rng(0)
FOLD = Fold(1, ("0.wav", "1.wav"), ("2.wav",), ("3.wav",))
LLD = {"name": "opensmile", "level": "lld"}
WHERE = "members.svm.features"


def recordings(count=6, frames=40, descriptors=6, scale=3.0, offset=100.0):
    """Return float32 frames far from 0, with another scale for each descriptor."""
    scales = scale ** np.arange(descriptors)
    return {
        f"{i}.wav": (offset + scales * RNG.standard_normal((frames + i, descriptors))).astype(np.float32)
        for i in range(count)
    }


def fit(frames, size=20, seed=0):
    return codebooks(frames, list(frames), size, seed)


def twice(frames):
    """Repeat all descriptors once."""
    return np.concatenate([frames, frames], axis=1)


def by_loops(books, train, frames, nearest):
    """Return `[word]` counts by the definition: for every frame the nearest words, one after the other."""
    everything = np.concatenate(list(train.values())).astype(np.float64)
    standard = (frames.astype(np.float64) - everything.mean(0)) / everything.std(0)
    counts = []
    for part, words in zip(np.split(standard, 2, axis=1), books["words"], strict=True):
        tally = np.zeros(len(words))
        for frame in part:
            distances = [float(((frame - word) ** 2).sum()) for word in words]
            for _ in range(nearest):
                first = int(np.argmin(distances))
                tally[first] += 1
                distances[first] = np.inf
        counts.append(tally)
    return np.concatenate(counts)


@pytest.mark.parametrize("nearest", [1, 3, 10])
def test_bags_are_logarithms_of_the_counts_of_loops(nearest):
    train, other = recordings(), recordings(count=3, scale=4.0)
    books = fit(train, size=25)
    found = bags(other, nearest, **books)
    assert list(found) == list(other)
    for name, frames in other.items():
        counts = by_loops(books, train, frames, nearest)
        assert counts.sum() == 2 * nearest * len(frames)
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], np.log10(counts + 1), rtol=1e-6)


def test_many_recordings_at_once_have_the_bags_of_each_alone(monkeypatch):
    monkeypatch.setattr(boaw, "BLOCK", 100)
    train = recordings(count=9)
    books = fit(train)
    found = bags(train, 4, **books)
    for name, frames in train.items():
        np.testing.assert_array_equal(found[name], bags({name: frames}, 4, **books)[name])


def test_of_words_at_equal_distances_only_the_requested_number_counts():
    corners = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    books = fit({"corners": twice(corners)}, size=4)
    frames = twice(np.array([[0.0, 0.0], [0.9, 0.9]]))
    counts = (10 ** bags({"a": frames}, 3, **books)["a"] - 1)[:4].round()
    assert counts.sum() == 6
    assert counts.max() <= 2
    # The second frame leaves out the opposite corner, the first one any corner.
    assert counts[np.argmin(books["words"].sum(2)[0])] <= 1


def test_words_are_different_standardised_frames_of_the_training_set():
    train = recordings(count=4)
    train["silence.wav"] = np.full((300, 6), 100, np.float32)
    everything = np.concatenate(list(train.values())).astype(np.float64)
    standard = (everything - everything.mean(0)) / everything.std(0)
    books = fit(train, size=50)
    assert books["words"].shape == (2, 50, 3)
    for words, frames in zip(books["words"], np.split(standard, 2, axis=1), strict=True):
        assert len(np.unique(words.round(4), axis=0)) == 50
        nearest = np.abs(words[:, None] - frames).max(2).min(1)
        np.testing.assert_allclose(nearest, 0, atol=1e-9)


def test_the_first_word_of_a_seed_is_any_frame_with_equal_chances():
    frames = twice(np.arange(8.0)[:, None])
    first = [float(fit({"all": frames}, 1, seed)["words"][0, 0, 0]) for seed in range(400)]
    _, counts = np.unique(np.round(first, 6), return_counts=True)
    assert len(counts) == 8
    assert ((counts - 50) ** 2 / 50).sum() < 24.3  # chi-squared with 7 degrees of freedom, p = 0.001


def test_the_words_depend_on_the_seed():
    train = recordings()
    np.testing.assert_array_equal(fit(train, seed=1)["words"], fit(train, seed=1)["words"])
    assert not np.array_equal(fit(train, seed=1)["words"], fit(train, seed=2)["words"])


def test_a_long_corpus_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(boaw, "CANDIDATES", 500)
    frames = {str(i): twice(np.stack([np.full(50, i), RNG.random(50)], axis=1)) for i in range(200)}
    words = fit(frames, 300)["words"]
    # Standardised, even places run from -sqrt(3) to sqrt(3). Kolmogorov-Smirnov, p = 0.001 for 300 draws.
    even = (np.sort(words[0, :, 0]) / np.sqrt(3) + 1) / 2
    assert np.abs(even - (np.arange(300) + 0.5) / 300).max() < 1.95 / np.sqrt(300)


def test_memory_does_not_grow_with_the_corpus(monkeypatch):
    monkeypatch.setattr(boaw, "CANDIDATES", 500)

    def peak(count):
        tracemalloc.start()
        names = [str(i) for i in range(count)]
        codebooks(
            LazyArrays(names, lambda name: np.random.default_rng(int(name)).random((100, 100), np.float32)),
            names,
            50,
            0,
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)
    assert peak(400) < peak(20) + 2_000_000  # of 16 MB: a few numbers per frame, not the frames


def test_a_constant_descriptor_has_no_influence():
    train = recordings()
    flat = {name: np.insert(frames, (0, 3), 7.0, axis=1) for name, frames in train.items()}
    books, without = fit(flat), fit(train)
    assert (books["words"][:, :, 0] == 0).all()
    np.testing.assert_array_equal(bags(flat, 4, **books)["0.wav"], bags(train, 4, **without)["0.wav"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nearest": 0}, "nearest 0 and size 2000"),
        ({"size": 5}, "nearest 10 and size 5"),
        ({"size": 50_001}, "size 50001, expected 1 <= nearest <= size <= 50000"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=rf"^config\.members\.svm\.features has .*{message}"):
        Bags(LLD, WHERE, 12, **fields)


def test_impossible_frames_are_refused():
    train = recordings()
    books = fit(train)
    bad = train["1.wav"].copy()
    bad[2, 5] = np.nan
    for call in (fit, lambda frames: bags(frames, 4, **books)):
        with pytest.raises(UserError, match=r"^1\.wav: descriptor 5 is nan in frame 2$"):
            call(train | {"1.wav": bad})
    with pytest.raises(UserError, match=r"^a: descriptors are \[40, 5\], expected .* 2 equal parts"):
        bags({"a": train["0.wav"][:, :5]}, 4, **books)
    with pytest.raises(UserError, match=r"descriptors are \[0, 6\]"):
        bags({"a": train["0.wav"][:0]}, 4, **books)
    with pytest.raises(UserError, match=r"only 1 of the 246 frames .* are different"):
        fit({"a": np.ones((246, 6))})


def test_only_the_training_set_of_a_fold_counts_for_its_codebooks(tmp_path):
    def arrays(folder, frames, fold=FOLD):
        bags = Bags(LLD, WHERE, 12, size=10, nearest=3)
        return bags.arrays(None, fold, lambda *_: frames, SimpleNamespace(say=lambda _: None), folder)

    frames = recordings(count=4)
    one = arrays(tmp_path / "one", frames)
    other = arrays(tmp_path / "other", frames | {"3.wav": frames["3.wav"] + 100})
    assert list(one) == list(frames)
    assert one["0.wav"].shape == (20,)
    for name in ("0.wav", "1.wav", "2.wav"):
        np.testing.assert_array_equal(one[name], other[name])
    assert not np.array_equal(one["3.wav"], other["3.wav"])
    # New audio is counted with the codebooks of the training.
    new = arrays(tmp_path / "one", {"new.wav": frames["3.wav"]}, Fold(1, (), (), ("new.wav",)))
    np.testing.assert_array_equal(new["new.wav"], one["3.wav"])
