"""results.json: the keys that are documented, and no NaN."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxpara.corpora.audio import AudioInfo
from jaxpara.evaluation import results as results_module
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome, describe, keep_others, summarise
from jaxpara.evaluation.scores import cross_validation, score
from jaxpara.fusion.fused import Fused
from jaxpara.fusion.mean import mean

ABOUT = {"jaxpara": "0", "devices": ["cpu"], "versions": {"numpy": np.__version__}}


@pytest.fixture(params=["breathing", "mask"])
def corpus(request, tmp_path, fakes):
    made = fakes.mask(tmp_path) if request.param == "mask" else fakes.breathing(tmp_path, audio=False)
    info = AudioInfo(frames=24_000, rate_hz=16_000)
    return replace(made, recordings=tuple(replace(recording, audio=info) for recording in made.recordings))


@pytest.fixture
def results(corpus, fakes):
    test = fakes.predict(corpus, corpus.partition("test"))
    folds = [
        FoldOutcome(fold, tune, fakes.predict(corpus, corpus.partition("test"), fold=fold), 12.5, 3, 30)
        for fold, tune in enumerate(fakes.predict_folds(corpus, 2))
    ]
    tune = fakes.concatenate([fold.validation for fold in folds])
    return summarise(
        experiment="breathing_e2e",
        recipe="recommended",
        demo=True,
        corpus=corpus,
        findings={"errors": 0, "warnings": 31},
        shared_audio={"train_and_validation": [tuple(r.name for r in corpus.recordings[:2])] * 2, "train_and_test": []},
        members={"cnn": MemberOutcome(folds, test, 1_642_049)},
        left_out={},
        fused=Fused(tune, test, {}, {"cnn": [1.0, 1.0]}, tune),
        fusion="mean",
        beside={"convex": Fused(tune, test, {})},
        fusing=["cnn"],
        baselines={"loudness": fakes.predict(corpus, corpus.partition("test"), skill=0.1)},
        about=ABOUT,
    ), test, tune  # fmt: skip


def test_scores_stand_where_the_docstring_says(results, corpus):
    result, test, tune = results
    member = result["members"]["cnn"]
    assert member["test"] == result["fusion"]["test"] == score(test, corpus)
    assert (
        member["cv"] == result["fusion"]["cv"] == result["fusion"]["cv_cross_fitted"] == cross_validation(tune, corpus)
    )
    folds = [fold["test"]["pooled"] for fold in member["folds"]]
    assert member["mean_of_folds_test"] == pytest.approx(np.mean(folds))
    assert [fold["validation"]["pooled"] for fold in member["folds"]] == list(member["cv"]["per_fold"].values())
    assert result["fusion"]["members"] == ["cnn"]
    (beside,) = result["beside"]
    assert beside == result["fusion"] | {"name": "convex", "weights": None, "cv_cross_fitted": None}
    assert result["shared_audio"] == {
        "train_and_validation": {
            "pairs": 1,
            "examples": [{"one": corpus.recordings[0].name, "other": corpus.recordings[1].name, "seconds": 1.5}],
        },
        "train_and_test": {"pairs": 0, "examples": []},
    }
    assert result["seconds"] == 25
    assert result["findings"] == {"errors": 0, "warnings": 31}
    assert result["simulated"] is result["demo"] is True
    assert result["jaxpara"] == "0"


def test_seeds_are_told_apart(corpus, fakes):
    """Two folds, each fitted with two seeds: the figures of a seed are those of a run with its folds alone."""
    test = corpus.partition("test")
    tuned = fakes.predict_folds(corpus, 2)
    folds = [
        FoldOutcome(f, replace(tuned[f % 2], folds=np.full(len(tuned[f % 2]), f)), fakes.predict(corpus, test, fold=f),
                    1.0, seed=f // 2)
        for f in range(4)
    ]  # fmt: skip

    def summary(folds):
        tune, whole = fakes.concatenate([fold.validation for fold in folds]), mean([fold.test for fold in folds])
        nothing = {"corpus": corpus, "findings": {}, "shared_audio": {}, "left_out": {}, "beside": {}, "baselines": {}}
        return summarise(
            experiment="", recipe="", demo=True, members={"cnn": MemberOutcome(folds, whole)},
            fused=Fused(tune, whole, {}), fusion="mean", fusing=["cnn"], about=ABOUT, **nothing,
        )["members"]["cnn"]  # fmt: skip

    both = summary(folds)
    assert [fold["seed"] for fold in both["folds"]] == [0, 0, 1, 1]
    for seed in (0, 1):
        alone = summary(folds[2 * seed : 2 * seed + 2])
        assert alone["seeds"] == {}
        expected = {"cv": alone["cv"]["mean_of_folds"], "test": alone["test"]["pooled"]}
        assert both["seeds"][str(seed)] == pytest.approx(expected)
    assert both["cv"]["mean_of_folds"] == pytest.approx(np.mean([of["cv"] for of in both["seeds"].values()]))


def test_it_is_json(results):
    assert json.loads(json.dumps(results[0], allow_nan=False)) == results[0]


def test_every_key_is_documented(results):
    words = set(re.findall(r"\w+", results_module.__doc__))
    score_keys = results[0]["fusion"]["cv"].keys() | results[0]["fusion"]["test"].keys()
    member = results[0]["members"]["cnn"]
    for keys in (results[0].keys(), results[0]["fusion"].keys(), member.keys(), member["folds"][0].keys(), score_keys):
        assert keys <= words


def test_the_corpus_in_numbers(corpus):
    table = describe(corpus)
    assert list(table) == ["train", "devel", "test"]
    test = corpus.partition("test")
    assert table["test"]["recordings"] == len(test)
    assert table["test"]["labels"] == sum(len(r.truth) for r in test)
    assert table["test"]["speakers"] == len({r.speaker for r in test})
    truth = np.concatenate([r.truth for r in test])
    if corpus.task.kind == "classes":
        assert table["test"]["classes"] == {"clear": (truth == 0).sum(), "mask": (truth == 1).sum()}
    else:
        assert table["test"]["label_mean"] == pytest.approx(truth.mean())
        assert table["test"]["label_std"] == pytest.approx(truth.std())


def test_a_partition_without_truth_in_numbers(tmp_path, fakes):
    row = describe(fakes.breathing(tmp_path, audio=False, test_truth=False))["test"]
    assert (row["labels"], row["unlabelled"], row["label_mean"]) == (0, 3000, None)
    assert describe(fakes.mask(tmp_path, known=False))["train"]["speakers"] is None


@pytest.mark.parametrize("after", range(5))
def test_killed_while_it_puts_away_anothers_results_it_goes_on_with_them(tmp_path, monkeypatch, after):
    files = ("results.json", "report.html", "system.json", "predictions/validation.npz", "predictions/test.npz")
    (tmp_path / "predictions").mkdir()
    for file in files:
        (tmp_path / file).write_text('{"experiment": "mask_s4"}')
    moves, replace = iter(range(5)), Path.replace

    def killed(path, target):
        if next(moves) == after:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            keep_others(tmp_path, "mask_s5")
    keep_others(tmp_path, "mask_s5")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert left == {str(Path(file).with_name(f"mask_s4.{Path(file).name}")) for file in files}
