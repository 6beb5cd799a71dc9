import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal.windows import hann

from jaxpara.features.windows import crossfade, overlap_average, starts

LABELS = 6000  # 240 s at 25 Hz


@pytest.mark.parametrize(
    ("window", "step", "kept", "distinct"),
    [
        (400, 160, 37, 36),  # 16 s: the published rule counts the last window twice
        (600, 240, 24, 24),  # 24 s
        (300, 120, 49, 49),  # 12 s
        (400, 400, 15, 15),  # step = window: nothing is appended
        (1600, 640, 8, 8),  # 64 s, the fusion network
        (25, 10, 599, 599),
        (800, 320, 18, 18),  # 32 s
    ],
)
def test_the_published_counts(window, step, kept, distinct):
    assert len(starts(LABELS, window, step, keep_duplicates=True)) == kept
    assert len(starts(LABELS, window, step)) == distinct


@given(st.integers(1, 400), st.integers(1, 120), st.integers(1, 120), st.booleans())
def test_every_position_is_covered_and_no_window_passes_the_end(length, window, step, keep):
    step = min(step, window)
    all_starts = starts(length, window, step, keep_duplicates=keep)
    covered = np.zeros(length, int)
    for start in all_starts:
        assert 0 <= start <= max(0, length - window)
        covered[start : start + window] += 1
    assert covered.min() >= 1
    if not keep:
        assert len(set(all_starts)) == len(all_starts)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 60))
def test_averaging_windows_of_a_sequence_gives_the_sequence(length, window, step):
    step = min(step, window)
    sequence = np.random.default_rng(length).normal(size=(length, 2))
    all_starts = starts(length, window, step)
    padded = np.concatenate([sequence, np.full((window, 2), 1e6)])
    cut = np.stack([padded[s : s + window] for s in all_starts])
    np.testing.assert_allclose(overlap_average(length, all_starts, cut), sequence, atol=1e-9)


def test_overlaps_are_averaged():
    windows = np.array([[1.0, 1, 1], [4, 4, 4]])[..., None]
    np.testing.assert_array_equal(overlap_average(4, np.array([0, 1]), windows)[:, 0], [1, 2.5, 2.5, 4])


@given(st.integers(1, 60), st.integers(1, 60))
def test_neighbours_are_cross_faded_with_halves_of_a_hann_window(half, more):
    window, step = half + more, more if more >= half else half  # they overlap by at most half
    overlap, weights = window - step, crossfade(window, step)
    np.testing.assert_allclose(weights[:overlap], hann(2 * overlap + 3)[1 : overlap + 1], atol=1e-12)
    np.testing.assert_array_equal(weights[overlap : window - overlap], 1)
    np.testing.assert_allclose(weights[:overlap] + weights[window - overlap :], 1)


def test_where_a_window_begins_it_counts_little():
    assert crossfade(200, 100)[:13].mean() < 0.02  # half a second of 8, at 25 Hz
    np.testing.assert_array_equal(crossfade(40, 40), 1)
    windows = np.array([[1.0, 1, 1], [4, 4, 4]])[..., None]
    faded = overlap_average(4, np.array([0, 1]), windows, crossfade(3, 1))[:, 0]
    assert faded[0] == 1
    assert 1 < faded[1] < 2.5 < faded[2] < 4
    assert faded[3] == 4
