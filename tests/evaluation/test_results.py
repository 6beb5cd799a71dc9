"""results.json: the keys that are documented, and no NaN."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from jaxpara.evaluation import results as results_module
from jaxpara.evaluation.paired import difference
from jaxpara.evaluation.results import FoldOutcome, MemberOutcome, keep_others, partitions_of, summarise
from jaxpara.evaluation.scores import cross_validation, join, score
from jaxpara.fusion import Fused, average
from jaxpara.predictions import scores_of, with_scores

ABOUT = {
    "jaxpara": "0", "experiment": "breathing_e2e", "recipe": "recommended", "demo": True, "left_out": {},
    "findings": {"errors": 0, "warnings": 31}, "devices": ["cpu"], "versions": {"numpy": np.__version__},
}  # fmt: skip


@pytest.fixture(scope="module", params=["breathing", "mask"])
def corpus(request, tmp_path_factory, fakes):
    folder = tmp_path_factory.mktemp(request.param)
    return fakes.mask(folder) if request.param == "mask" else fakes.breathing(folder, audio=False, seconds=20.0)


@pytest.fixture(scope="module")
def results(corpus, fakes):
    test = fakes.predict(corpus, corpus.partition("test"))
    folds = [
        FoldOutcome(fold, validation, fakes.predict(corpus, corpus.partition("test"), fold=fold), 12.5, 3, 30)
        for fold, validation in enumerate(fakes.predict_folds(corpus, 2))
    ]
    validation = fakes.concatenate([fold.validation for fold in folds])
    return summarise(
        about=ABOUT,
        data=fakes.data(corpus),
        shared_audio={"train_and_validation": [("a", "b")] * 2, "train_and_test": []},
        members={"cnn": MemberOutcome(folds, test, 1_642_049)},
        fused=Fused(validation, test, {}, {"cnn": [1.0, 1.0]}, validation),
        fusion="mean",
        also_scored={"convex": Fused(validation, test, {})},
        fusing=["cnn"],
        baselines={"loudness": ("its level", fakes.predict(corpus, corpus.partition("test"), skill=0.1))},
    ), test, validation  # fmt: skip


def test_scores_are_where_the_docstring_says(results, corpus, fakes):
    result, test, validation = results
    data = fakes.data(corpus)
    member = result["members"]["cnn"]
    assert member["test"] == result["fusion"]["test"] == score(test, data)
    fusion = result["fusion"]
    assert member["cv"] == fusion["cv"] == fusion["cv_cross_fitted"] == cross_validation(validation, data)
    folds = [fold["test"]["pooled"] for fold in member["folds"]]
    assert member["mean_of_folds_test"] == pytest.approx(np.mean(folds))
    assert [fold["validation"]["pooled"] for fold in member["folds"]] == list(member["cv"]["per_fold"].values())
    assert result["fusion"]["members"] == ["cnn"]
    (other,) = result["also_scored"]
    assert other == fusion | {"name": "convex", "searched_weights": None, "cv_cross_fitted": None}
    assert result["shared_audio"] == {
        "train_and_validation": {"pairs": 1, "examples": [{"one": "a", "other": "b"}]},
        "train_and_test": {"pairs": 0, "examples": []},
    }
    assert result["baselines"]["loudness"]["description"] == "its level"
    assert result["seconds"] == 25
    assert result["findings"] == {"errors": 0, "warnings": 31}
    assert result["simulated"] is result["demo"] is True
    assert (result["jaxpara"], result["schema"]) == ("0", 2)


def test_seeds_are_scored_one_by_one(corpus, fakes):
    """Two folds, each trained with two seeds: the figures of a seed are those of a run with its folds alone."""
    test = corpus.partition("test")
    folds = [
        FoldOutcome(
            fold, validation.assign(seed=seed), fakes.predict(corpus, test, fold=fold, seed=seed), 1.0, seed=seed
        )
        for seed in range(2)
        for fold, validation in enumerate(fakes.predict_folds(corpus, 2, seed=seed))
    ]

    def summary(folds):
        validation, whole = (
            fakes.concatenate([fold.validation for fold in folds]),
            average([fold.test for fold in folds]),
        )
        nothing = {"shared_audio": {}, "also_scored": {}, "baselines": {}}
        return summarise(
            members={"cnn": MemberOutcome(folds, whole)},
            fused=Fused(validation, whole, {}), fusion="mean", fusing=["cnn"], about=ABOUT,
            data=fakes.data(corpus), **nothing,
        )["members"]["cnn"]  # fmt: skip

    both = summary(folds)
    assert [fold["seed"] for fold in both["folds"]] == [0, 0, 1, 1]
    assert list(both["cv"]["per_fold"]) == ["0", "1", "0, seed 1", "1, seed 1"]
    for seed in (0, 1):
        alone = summary(folds[2 * seed : 2 * seed + 2])
        assert alone["seeds"] == {}
        expected = {"cv": alone["cv"]["mean_of_folds"], "test": alone["test"]["pooled"]}
        assert both["seeds"][str(seed)] == pytest.approx(expected)
    assert both["cv"]["mean_of_folds"] == pytest.approx(np.mean([of["cv"] for of in both["seeds"].values()]))


def test_the_fusion_is_compared_with_the_baseline_on_the_same_labels(corpus, fakes):
    """By the paired test, on test or on the validation sets; of several seeds the predictions are averaged first."""
    folds = [t.assign(seed=seed) for seed in (0, 1) for t in fakes.predict_folds(corpus, 2, seed=seed)]
    validation, test = fakes.concatenate(folds), fakes.predict(corpus, corpus.partition("test"))
    weak = fakes.predict(corpus, corpus.partition("test"), skill=0.1)
    half = fakes.predict_folds(corpus, 2, skill=0.1)[0]  # some of the labels
    outcome = MemberOutcome([FoldOutcome(0, validation, test, 1.0)], test)
    baselines = summarise(
        members={"cnn": outcome}, fused=Fused(validation, test, {}), fusion="mean", fusing=["cnn"], about=ABOUT,
        data=fakes.data(corpus), shared_audio={}, also_scored={},
        baselines={"weak": ("of test", weak), "half": ("of a fold", half)},
    )["baselines"]  # fmt: skip
    data = fakes.data(corpus)
    figures = difference(("the system", "weak"), join(test, data), join(weak, data))
    paired = baselines["weak"]["paired"]
    assert (paired["difference"], paired["interval_95"], paired["p"]) == (figures.value, figures.interval_95, figures.p)
    assert (paired["over"], paired["units"], paired["labels"]) == (
        "speakers",
        test.merge(data.labels)["speaker"].nunique(),
        len(test),
    )
    assert (baselines["weak"]["part"], baselines["half"]["part"]) == ("test", "cv")
    assert baselines["half"]["paired"]["labels"] == len(half)
    system = np.mean([scores_of(folds[0]), scores_of(folds[2])], axis=0)
    expected = join(with_scores(half, system), data).value() - join(half, data).value()
    assert baselines["half"]["paired"]["difference"] == pytest.approx(expected)


def test_it_is_json(results):
    assert json.loads(json.dumps(results[0], allow_nan=False)) == results[0]


def test_every_key_is_documented(results):
    words = set(re.findall(r"\w+", results_module.__doc__))
    score_keys = results[0]["fusion"]["cv"].keys() | results[0]["fusion"]["test"].keys()
    member = results[0]["members"]["cnn"]
    baseline = results[0]["baselines"]["loudness"]
    of_parts = member.keys() | member["folds"][0].keys() | baseline.keys() | baseline["paired"].keys()
    for keys in (results[0].keys(), results[0]["fusion"].keys(), of_parts, score_keys):
        assert keys <= words


def test_the_corpus_in_numbers(corpus, fakes):
    table = partitions_of(fakes.data(corpus))
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
    row = partitions_of(fakes.data(fakes.breathing(tmp_path, audio=False, test_truth=False)))["test"]
    assert (row["labels"], row["unlabelled"], row["label_mean"]) == (0, 3000, None)
    assert partitions_of(fakes.data(fakes.mask(tmp_path, known=False)))["train"]["speakers"] is None


@pytest.mark.parametrize("after", range(6))
def test_killed_while_it_renames_the_results_of_another_experiment_it_continues_with_them(tmp_path, monkeypatch, after):
    predictions = ("predictions/validation.npz", "predictions/test.npz", "predictions.csv")
    files = ("results.json", "report.html", "system.json", *predictions)
    (tmp_path / "predictions").mkdir()
    for file in files:
        (tmp_path / file).write_text('{"experiment": "mask_s4"}')
    moves, replace = iter(range(6)), Path.replace

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
