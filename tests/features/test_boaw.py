"""Bags of audio words against loops, and codebooks against what their methods promise."""

import tracemalloc

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.features.boaw import BagOfWords

RNG = np.random.default_rng(0)


def recordings(count=6, frames=40, descriptors=6, scale=3.0, offset=100.0):
    """Float32 frames far from 0, no two descriptors on one scale."""
    scales = scale ** np.arange(descriptors)
    return {
        f"{i}.wav": (offset + scales * RNG.standard_normal((frames + i, descriptors))).astype(np.float32)
        for i in range(count)
    }


def by_loops(bag, fit, frames, nearest):
    """`[word]` counts, by the definition: distances one by one, and always the nearest word that is left."""
    everything = np.concatenate(list(fit.values())).astype(np.float64)
    standard = (frames.astype(np.float64) - everything.mean(0)) / everything.std(0)
    counts = []
    for part, words in zip(np.split(standard, len(bag.words), axis=1), bag.words, strict=True):
        tally = np.zeros(len(words))
        for frame in part:
            distances = [float(((frame - word) ** 2).sum()) for word in words]
            for _ in range(nearest):
                first = int(np.argmin(distances))
                tally[first] += 1
                distances[first] = np.inf
        counts.append(tally)
    return np.concatenate(counts)


@pytest.mark.parametrize("method", ["random", "kmeans++"])
@pytest.mark.parametrize(("codebooks", "nearest"), [(1, 1), (2, 10), (3, 3)])
def test_counts_are_those_of_loops(method, codebooks, nearest):
    fit, other = recordings(), recordings(count=3, scale=4.0)
    bag = BagOfWords(size=25, nearest=nearest, codebooks=codebooks, method=method, log=False).fit(fit.items())
    for frames in other.values():
        bags = bag.transform(frames)
        assert bags.dtype == np.float32
        np.testing.assert_array_equal(bags, by_loops(bag, fit, frames, nearest))
        assert bags.sum() == codebooks * nearest * len(frames)


def test_bags_are_logarithms_and_then_normalised():
    fit = recordings()
    counts, logs, sums, lengths = (
        BagOfWords(size=20, nearest=4, log=log, normalise=normalise).fit(fit.items()).transform(fit["0.wav"])
        for log, normalise in [(False, "none"), (True, "none"), (True, "sum"), (False, "length")]
    )
    np.testing.assert_allclose(logs, np.log10(counts + 1), rtol=1e-6)
    np.testing.assert_allclose(sums, logs / logs.sum(), rtol=1e-5)
    np.testing.assert_allclose(lengths, counts / np.sqrt((counts**2).sum()), rtol=1e-5)


def test_all_at_once_are_one_by_one(monkeypatch):
    monkeypatch.setattr("jaxpara.features.boaw.BLOCK", 100)
    fit = recordings(count=9)
    bag = BagOfWords(size=20, nearest=4).fit(fit.items())
    bags = bag.transform_all(fit)
    assert list(bags) == list(fit)
    for name, frames in fit.items():
        np.testing.assert_array_equal(bags[name], bag.transform(frames))


def test_of_words_equally_near_as_many_count_as_are_asked_for():
    corners = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    bag = BagOfWords(size=4, nearest=3, codebooks=1, log=False).fit([("corners", corners)])
    counts = bag.transform(np.array([[0.0, 0.0], [0.9, 0.9]]))
    assert counts.sum() == 6
    assert counts.max() <= 2
    # The second frame leaves out the corner that faces it, the first one any.
    assert counts[np.argmin(bag.words.sum(2)[0])] <= 1


@pytest.mark.parametrize("method", ["random", "kmeans++"])
def test_words_are_different_standardised_frames_of_the_fit_part(method):
    fit = recordings(count=4)
    fit["silence.wav"] = np.full((300, 6), 100, np.float32)
    everything = np.concatenate(list(fit.values())).astype(np.float64)
    standard = (everything - everything.mean(0)) / everything.std(0)
    bag = BagOfWords(size=50, nearest=4, method=method).fit(fit.items())
    assert bag.words.shape == (2, 50, 3)
    for words, frames in zip(bag.words, np.split(standard, 2, axis=1), strict=True):
        assert len(np.unique(words.round(4), axis=0)) == 50
        nearest = np.abs(words[:, None] - frames).max(2).min(1)
        np.testing.assert_allclose(nearest, 0, atol=1e-9)


def test_kmeans_plus_plus_finds_far_clusters_that_random_frames_miss():
    centres = 1000 * RNG.standard_normal((20, 4))
    sizes = np.array([400] + [5] * 19)
    frames = np.repeat(centres, sizes, axis=0) + RNG.standard_normal((sizes.sum(), 4))

    def found(method):
        bag = BagOfWords(size=20, nearest=1, codebooks=1, method=method, log=False).fit([("all", frames)])
        standard = (centres - frames.mean(0)) / frames.std(0)
        return len({int(np.argmin(((standard - word) ** 2).sum(1))) for word in bag.words[0]})

    assert found("kmeans++") == 20
    assert found("random") < 15


def test_the_first_word_of_a_seed_is_any_frame_with_equal_chances():
    frames = np.arange(8.0)[:, None]
    first = [float(BagOfWords(1, 1, codebooks=1, seed=s).fit([("all", frames)]).words[0, 0, 0]) for s in range(400)]
    _, counts = np.unique(np.round(first, 6), return_counts=True)
    assert len(counts) == 8
    assert ((counts - 50) ** 2 / 50).sum() < 24.3  # chi-squared with 7 degrees of freedom, p = 0.001


@pytest.mark.parametrize("method", ["random", "kmeans++"])
def test_the_seed_decides_and_how_recordings_are_handed_over_does_not(method):
    fit = recordings()
    one, same, other = (
        BagOfWords(size=20, nearest=4, method=method, seed=seed).fit(frames).words
        for seed, frames in [(1, fit.items()), (1, iter(fit.items())), (2, fit.items())]
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_long_corpus_is_sampled_evenly():
    frames = [(str(i), np.stack([np.full(50, i), RNG.random(50)], axis=1)) for i in range(200)]
    bag = BagOfWords(size=300, nearest=1, codebooks=1, candidates=500).fit(frames)
    # Standardised, even places run from -sqrt(3) to sqrt(3). Kolmogorov-Smirnov, p = 0.001 for 300 draws.
    even = (np.sort(bag.words[0, :, 0]) / np.sqrt(3) + 1) / 2
    assert np.abs(even - (np.arange(300) + 0.5) / 300).max() < 1.95 / np.sqrt(300)


def test_memory_is_that_of_the_candidates_however_long_the_corpus():
    def peak(count):
        rng = np.random.default_rng(0)
        tracemalloc.start()
        BagOfWords(size=50, nearest=5, candidates=500).fit(
            (str(i), rng.random((100, 20), np.float32)) for i in range(count)
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)
    assert peak(400) < peak(20) + 200_000  # of 3.2 MB


def test_a_constant_descriptor_says_nothing():
    fit = recordings()
    flat = {name: np.insert(frames, 3, 7.0, axis=1) for name, frames in fit.items()}
    bag, without = (BagOfWords(size=20, nearest=4, codebooks=1).fit(known.items()) for known in (flat, fit))
    assert (bag.words[:, :, 3] == 0).all()
    np.testing.assert_array_equal(bag.transform(flat["0.wav"]), without.transform(fit["0.wav"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "kmean++"}, r"method is 'kmean\+\+', expected .* did you mean 'kmeans\+\+'"),
        ({"normalise": True}, "normalise is True"),
        ({"nearest": 0}, "nearest 0"),
        ({"size": 5}, "nearest 10, size 5"),
        ({"candidates": 100}, "size 2000, candidates 100"),
        ({"codebooks": 0}, "codebooks 0"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        BagOfWords(**fields)


def test_impossible_frames_are_refused():
    fit = recordings()
    bag = BagOfWords(size=20, nearest=4).fit(fit.items())
    spoiled = fit["1.wav"].copy()
    spoiled[2, 5] = np.nan
    known = fit | {"1.wav": spoiled}
    for call in (lambda: bag.fit(known.items()), lambda: bag.transform_all(known)):
        with pytest.raises(UserError, match=r"^1\.wav: descriptor 5 is nan in frame 2$"):
            call()
    with pytest.raises(UserError, match=r"descriptors are \[40, 5\], expected .* 2 equal parts"):
        bag.transform(fit["0.wav"][:, :5])
    with pytest.raises(UserError, match=r"descriptors are \[0, 6\]"):
        bag.transform(fit["0.wav"][:0])
    with pytest.raises(UserError, match=r"only 1 of the 246 frames .* are different"):
        BagOfWords(size=20, nearest=4).fit([("a", np.ones((246, 6)))])
    with pytest.raises(UserError, match="no recordings"):
        BagOfWords().fit([])
