import time

import numpy as np
import pandas as pd
import pytest

from jaxpara.errors import UserError
from jaxpara.fusion import average
from jaxpara.predictions import (
    align,
    by_model,
    concatenate,
    load,
    match,
    predictions_of,
    save,
    scores_of,
    table_of,
    with_scores,
)


def make(names, times, scores=None, fold=0, seed=0):
    scores = np.arange(len(names)) if scores is None else scores
    return table_of(list(names), times, ["test"] * len(names), np.array(scores, float)[:, None], fold, seed)


def test_what_is_saved_is_loaded(tmp_path):
    saved = with_scores(make("ab", [0, 0.04], fold=2, seed=1), np.array([[0.25, 0.75], [0.5, 0.5]]))
    save(saved, tmp_path / "deep" / "p.npz")
    pd.testing.assert_frame_equal(load(tmp_path / "deep" / "p.npz"), saved)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["p.npz"]
    np.testing.assert_array_equal(scores_of(saved), [[0.25, 0.75], [0.5, 0.5]])


def test_alignment_goes_by_key_and_not_by_position():
    one = make("aab", [0, 0.04, 0], [1, 2, 3])
    other = make("baa", [0, 0.12 - 0.08, 0], [30, 20, 10])  # 0.12 - 0.08 is not quite 0.04
    _, aligned = align([one, other])
    np.testing.assert_array_equal(aligned["score_0"], [10, 20, 30])
    assert list(aligned.columns) == list(one.columns)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make("a", [0]), "predictions 2 of 2: 1 missing; the first missing is a at 0.04 s"),
        (make("aac", [0, 0.04, 0]), "1 unknown to the first; the first unknown to the first is c at 0 s"),
        (make("aaa", [0, 0.04, 0]), ": 1 duplicated; the first duplicated is a at 0 s"),
        (make("ac", [0, 0]), ": 1 missing, 1 unknown to the first; the first missing is a at 0.04 s"),
    ],
)
def test_what_does_not_match_is_refused_with_its_first_key(other, words):
    with pytest.raises(UserError, match=words):
        align([make("aa", [0, 0.04]), other])


def test_scores_that_are_not_finite_are_refused_where_they_must_be():
    table = make("ab", [0, 0], [1, np.inf])
    assert match(table, table) is table
    with pytest.raises(UserError, match="1 NaN or infinite; the first NaN or infinite is b at 0 s"):
        match(table, table, finite=True)


def test_tables_of_the_real_size_are_matched_in_about_a_second():
    """Four folds of 49 recordings with 6000 labels each, the rows in another order; and a late duplicate is found."""
    names, times = np.repeat([f"recording_{i:02d}.wav" for i in range(49)], 6000), np.tile(np.arange(6000) / 25, 49)
    folds = [make(names, times, fold=fold) for fold in range(4)]
    order = np.random.default_rng(0).permutation(len(names))
    began = time.process_time()
    aligned = align([folds[0], *(fold.iloc[order] for fold in folds[1:])])
    assert time.process_time() - began < 4
    assert all((table["score_0"] == folds[0]["score_0"]).all() for table in aligned)
    late = concatenate([folds[0].iloc[:-1], folds[0].iloc[-2:-1]])
    began = time.process_time()
    with pytest.raises(UserError, match=r": 1 duplicated; the first duplicated is recording_48.wav at 239.92 s"):
        align([late, late])
    assert time.process_time() - began < 4


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY"])
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"p\.npz: not readable as predictions"):
        load(path)
    with pytest.raises(UserError, match="no such predictions"):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_s": np.array([np.nan, 0])}, "a time is not finite"),
        ({"time_s": np.array(["0", "1"])}, "its column time_s has another type"),
        ({"fold": np.array([0])}, "its columns differ in length"),
        ({"score_0": np.zeros((2, 2))}, "its column score_0 has another type"),
        ({"score_2": np.zeros(2)}, "its columns are recording, time_s"),
        ({"recordings": np.array(["a", "b"])}, "its columns are recording, time_s"),
    ],
)
def test_foreign_files_are_refused(tmp_path, change, words):
    table = make("ab", [0, 1])
    save(table, tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        np.savez(tmp_path / "p.npz", **{**file, **change})
    with pytest.raises(UserError, match=words):
        load(tmp_path / "p.npz")


def test_concatenation_keeps_all_rows_and_models_are_split_by_seed_and_fold():
    parts = [make("a", [0], fold=1, seed=0), make(["long name"], [0], fold=0, seed=1), make("b", [0], fold=0, seed=0)]
    whole = concatenate(parts)
    assert list(whole["recording"]) == ["a", "long name", "b"]
    split = by_model(whole)
    assert list(split) == [(0, 0), (1, 0), (0, 1)]
    assert split[0, 1]["recording"].item() == "long name"


def test_predictions_of_no_recordings_are_saved_loaded_and_averaged(tmp_path):
    none = predictions_of((), np.empty((0, 3)), 1, 0)
    save(none, tmp_path / "none.npz")
    loaded = load(tmp_path / "none.npz")
    pd.testing.assert_frame_equal(loaded, none)
    assert scores_of(average([loaded, none], [0.3, 0.7])).shape == (0, 3)
