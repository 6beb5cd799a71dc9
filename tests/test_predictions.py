import time

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.predictions import Predictions, align, averaged, concatenate, keys_of, places


def make(names, times, scores=None, fold=0):
    return Predictions(
        np.array(names),
        np.array(times, float),
        np.array(scores if scores is not None else np.arange(len(names)), float)[:, None],
        np.array(["test"] * len(names)),
        np.full(len(names), fold),
    )


def test_what_is_saved_is_loaded(tmp_path):
    saved = make(["a.wav", "b.wav"], [0, 0.04])
    saved.save(tmp_path / "deep" / "p.npz")
    loaded = Predictions.load(tmp_path / "deep" / "p.npz")
    for name in Predictions.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["p.npz"]


def test_alignment_goes_by_key_and_not_by_position():
    one = make(["a", "a", "b"], [0, 0.04, 0], [1, 2, 3])
    other = make(["b", "a", "a"], [0, 0.12 - 0.08, 0], [30, 20, 10])  # 0.12 - 0.08 is not quite 0.04
    _, aligned = align([one, other])
    np.testing.assert_array_equal(aligned.scores[:, 0], [10, 20, 30])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make(["a"], [0]), "predictions 2 of 2: 1 missing; the first missing is a at 0.04 s"),
        (make(["a", "a", "c"], [0, 0.04, 0]), "1 unknown to the first; the first unknown to the first is c at 0 s"),
        (make(["a", "a", "a"], [0, 0.04, 0]), ": 1 doubled; the first doubled is a at 0 s"),
    ],
)
def test_what_does_not_match_is_refused_with_its_first_key(other, words):
    with pytest.raises(UserError, match=words):
        align([make(["a", "a"], [0, 0.04]), other])


def test_a_late_double_in_many_rows_is_found_at_once():
    rows = 20_000
    part = make(["a"] * rows, np.append(np.arange(rows - 1), rows - 2) / 25)
    began = time.process_time()
    with pytest.raises(UserError, match=f"1 doubled; the first doubled is a at {(rows - 2) / 25:g} s"):
        align([part, part])
    assert time.process_time() - began < 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"p\.npz"):
        Predictions.load(path)
    with pytest.raises(UserError, match="no such predictions"):
        Predictions.load(tmp_path / "none.npz")


def test_concatenation_keeps_all_rows():
    both = concatenate([make(["a"], [0], fold=0), make(["long name"], [0], fold=1)])
    assert list(both.recordings) == ["a", "long name"]
    assert list(both.folds) == [0, 1]


def test_what_several_folds_predicted_is_averaged():
    first, second = make(["b", "a", "a"], [0, 1, 0], [1, 2, 3], fold=0), make(["a", "b"], [1, 0], [6, 2], fold=1)
    one = averaged(concatenate([first, second]))
    assert list(zip(one.recordings, one.times_s, one.scores[:, 0], one.folds, strict=True)) == [
        ("b", 0, 1.5, -1),
        ("a", 1, 4, -1),
        ("a", 0, 3, 0),
    ]
    assert averaged(first) is first
    doubled = concatenate([first, first, second])  # a fault, which is not averaged away
    assert averaged(doubled) is doubled


def test_places_are_those_of_a_dictionary():
    random = np.random.default_rng(0)
    names, times = np.repeat(["b", "a", "ccc"], 50), np.tile(np.arange(50) / 25, 3)
    wanted = keys_of(names, times)
    order = random.permutation(len(names))
    found = places(wanted[order], wanted)
    row_of = {key: row for row, key in enumerate(wanted[order].tolist())}
    assert found.tolist() == [row_of[key] for key in wanted.tolist()]
    assert places(wanted[:0], wanted[:0]).tolist() == []
    for other in (order[1:], np.append(order[1:], order[1])):  # one missing, one doubled
        assert places(wanted[other], wanted) is None


def test_a_time_beyond_twelve_days_is_no_time_of_another_recording():
    wanted = keys_of(np.array(["a", "b"]), np.zeros(2))
    assert places(keys_of(np.array(["a", "a"]), np.array([0, 2**40 / 1e6])), wanted) is None
