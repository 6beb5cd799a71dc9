"""The report's sentences: each appears where the numbers support it, and only there."""

from copy import deepcopy

import pytest

from jaxpara.evaluation.conclusions import closing_lines, conclude
from jaxpara.evaluation.formatting import Formatter

SCORE = {
    "measure": "UAR",
    "classes": ["clear", "mask"],
    "pooled": 0.7,
    "chance": 0.5,
    "interval_95": [0.6, 0.78],
    "interval_95_over_samples": [0.68, 0.72],
    "labels": 1200,
    "speakers": 10,
    "undefined": {},
}
CV = SCORE | {
    "pooled": 0.72,
    "speakers": 22,
    "speakers_in_train_and_validation": {"0": 0, "1": 0},
    "mean_of_folds": 0.72,
    "per_fold": {"0": 0.73, "1": 0.71},
    "per_fold_interval_95": {"0": [0.64, 0.8], "1": [0.62, 0.79]},
}
FOLDS = [
    {
        "fold": fold,
        "seed": 0,
        "best_epoch": 3,
        "last_epoch": 5,
        "validation": {"speakers": 11, "per_partition": {part: CV["per_fold"][str(fold)]}},
    }
    for fold, part in enumerate(("devel", "train"))
]
NO_TRUTH = {
    "pooled": None,
    "interval_95": None,
    "labels": 0,
    "undefined": {"pooled": "no truth for the test partition"},
}
PAIRED = {
    "difference": 0.15,
    "interval_95": [0.1, 0.2],
    "p": 0.0214,
    "over": "speakers",
    "units": 10,
    "labels": 1200,
    "undefined": {},
}
RESULTS = {
    "measure": "UAR",
    "shared_audio": {
        "train_and_validation": {"pairs": 0, "examples": []},
        "train_and_test": {"pairs": 0, "examples": []},
    },
    "members": {
        "adam": {
            "folds": FOLDS,
            "mean_of_folds_test": 0.66,
            "leak": "",
            "notes": [],
            "seeds": {},
            "cv": CV,
            "test": SCORE,
        },
    },
    "fusion": {"name": "mean", "members": ["adam"], "cv": CV, "cv_cross_fitted": None, "test": SCORE},
    "corpus": {"partitions": {"train": {}, "devel": {}, "test": {}}},
    "baselines": {"svm": SCORE | {"pooled": 0.55, "description": "a linear one", "part": "test", "paired": PAIRED}},
}


def concluded(results):
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in conclude(results)]


def sentences(**fusion):
    results = deepcopy(RESULTS)
    results["fusion"] |= fusion
    return concluded(results)


def test_a_plain_run():
    assert sentences() == [
        "The fusion (mean) of 2 models reaches a UAR of 70.0 % on the test partition"
        " (95 % interval over speakers 60.0 % to 78.0 %; 1,200 labels of 10 speakers).",
        "The interval is above chance (50.0 %).",
        "One by one, the 2 models of adam reach 66.0 % on average; the fusion is 4.0 points better.",
        "The system is 15.0 points better than a linear one (55.0 %); the paired test over 10 speakers gives"
        " p = 0.021.",
    ]


@pytest.mark.parametrize(
    ("alone", "words"),
    [
        (
            {"cv": 0.72, "test": 0.69},
            "70.0 %, 69.0 % on the test partition: 69.5 % on average, standard deviation 0.7 points",
        ),
        (
            {"cv": 0.72, "test": None},
            "71.0 %, 72.0 % in cross-validation, mean of folds: 71.5 % on average, standard deviation 0.7 points",
        ),
        ({"cv": None, "test": None}, ""),
        ({"cv": 0.71, "test": 0.7}, ""),
    ],
)
def test_the_spread_of_seeds(alone, words):
    results = deepcopy(RESULTS)
    results["members"]["adam"]["seeds"] = {"0": {"cv": 0.71, "test": 0.7}, "1": alone}
    found = [sentence for sentence in concluded(results) if "seed" in sentence]
    whole = f"With a single seed adam reaches {words}. Smaller differences between systems may be chance."
    assert found == ([whole] if words else [])


def test_shared_audio_and_features_that_know_too_much_are_reported():
    results = deepcopy(RESULTS)
    example = {"one": "train_1.wav", "other": "test_2.wav"}
    results["shared_audio"]["train_and_test"] = {"pairs": 3, "examples": [example]}
    results["members"]["adam"]["leak"] = "they know"
    results["members"]["adam"]["notes"] = ["The features of adam were made elsewhere."]
    assert conclude(results)[-3:] == [
        "3 pairs of recordings have the same audio, one in train or devel and one in test, for example train_1.wav and"
        " test_2.wav: the scores are too high.",
        "The cross-validation scores of adam are too high: they know.",
        "The features of adam were made elsewhere.",
    ]


def test_an_interval_that_includes_chance():
    assert any(
        "does not show that the system is better than guessing" in s
        for s in sentences(test=SCORE | {"interval_95": [0.45, 0.9]})
    )


def test_one_class_for_every_recording():
    """Its recall is 100 % for all speakers, so the interval has no width and means nothing."""
    one = SCORE | {"pooled": 0.5, "interval_95": [0.5, 0.5], "confusion": [[0, 7], [0, 5]]}
    assert sentences(test=one)[1].startswith("The system predicts mask for every recording:")
    assert sentences(test=one | {"confusion": [[1, 6], [0, 5]]})[1].startswith("The interval includes chance")


def test_an_interval_below_chance_does_not_include_it():
    assert sentences(test=SCORE | {"interval_95": [0.2, 0.4]})[1] == (
        "The interval is below chance (50.0 %): the system is worse than guessing."
    )


@pytest.mark.parametrize(
    ("measure", "alone", "words"),
    [
        ("UAR", 0.7, "reach 70.0 % on average; the fusion is no better."),
        ("UAR", 0.7004, "reach 70.0 % on average; the fusion is no better."),
        ("UAR", 0.71, "reach 71.0 % on average; the fusion is 1.0 points worse."),
        ("PCC", 0.699, "reach 0.699 on average; the fusion is 0.001 better."),
    ],
)
def test_a_fusion_is_compared_with_single_models(measure, alone, words):
    results = deepcopy(RESULTS) | {"measure": measure, "baselines": {}}
    results["members"]["adam"]["mean_of_folds_test"] = alone
    assert any(sentence.endswith(words) for sentence in concluded(results))


@pytest.mark.parametrize(("test", "alone"), [(SCORE, ("71.0 %", "69.0 %")), (NO_TRUTH, ("73.0 %", "71.0 %"))])
def test_the_headline_compares_a_fusion_with_its_best_member(test, alone):
    """A member's models are averaged first, and its score is of the same recordings."""
    results = deepcopy(RESULTS)
    for name, worse in (("sgd", 0), ("svm", 0.02)):
        results["members"][name] = deepcopy(results["members"]["adam"])
        for part, value in (("test", 0.71), ("cv", 0.73)):
            results["members"][name][part] = CV | {"pooled": value - worse, "labels": 1200}
    results["fusion"] |= {"members": ["adam", "sgd", "svm"], "test": test}
    models = " (2 models together)" if test is SCORE else ""  # each predicts its own validation set
    best = f"The best member alone, sgd{models}, reaches {alone[0]}: the fusion is 1.0 points worse."
    assert concluded(results)[0].endswith(best)
    assert best in closing_lines(results)
    results["members"]["sgd"] = results["members"]["svm"]
    results["members"]["adam"] = results["members"]["svm"]
    assert concluded(results)[0].endswith(f"reaches {alone[1]}: the fusion is 1.0 points better.")
    for name in ("adam", "sgd", "svm"):  # of other recordings
        results["members"][name] = results["members"][name] | {"test": SCORE | {"labels": 7}, "cv": CV | {"labels": 7}}
    assert "best member" not in concluded(results)[0]
    results["fusion"]["members"] = ["adam"]
    assert "best member" not in concluded(results)[0]


@pytest.mark.parametrize(
    ("best", "words"), [((5, 5), "all models of adam"), ((3, 5), "1 of the 2 models of adam"), ((3, None), None)]
)
def test_a_last_epoch_that_is_the_best_asks_for_more_epochs(best, words):
    results = deepcopy(RESULTS)
    for fold, epoch in zip(results["members"]["adam"]["folds"], best, strict=True):
        fold |= {"best_epoch": epoch, "last_epoch": None if epoch is None else 5}
    found = [sentence for sentence in concluded(results) if "epochs" in sentence]
    assert len(found) == (words is not None)
    if words:
        assert found[0].startswith(f"The last epoch was the best one for {words}: training with more epochs (--config.")
        assert found[0] in closing_lines(results)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"difference": -0.032, "p": 0.0002}, "3.2 points worse than a linear one (55.0 %); the paired test over 10"
         " speakers gives p < 0.001."),
        ({"difference": 0.01, "p": 0.32}, "1.0 points better than a linear one (55.0 %), which does not show a"
         " difference: the paired test over 10 speakers gives p = 0.32."),
        ({"difference": 0.0, "p": 1.0}, "no better than a linear one (55.0 %), which does not show a difference: the"
         " paired test over 10 speakers gives p = 1."),
        ({"units": 3, "p": 0.25}, "15.0 points better than a linear one (55.0 %); the paired test over 3 speakers gives"
         " p = 0.25, but so few speakers cannot give less than 0.25."),
        ({"over": "samples", "units": 1400}, "15.0 points better than a linear one (55.0 %); the paired test over 1,400"
         " samples (speakers unknown) gives p = 0.021."),
        ({"p": None, "undefined": {"p": "one unit only"}}, "15.0 points better than a linear one (55.0 %); there is no"
         " paired test (one unit only)."),
    ],
)  # fmt: skip
def test_a_baseline_is_compared_by_the_paired_test(changes, sentence):
    results = deepcopy(RESULTS)
    results["baselines"]["svm"]["paired"] = PAIRED | changes
    assert concluded(results)[-1] == f"The system is {sentence}"


def test_a_baseline_without_a_difference_is_not_mentioned():
    results = deepcopy(RESULTS)
    results["baselines"]["svm"]["paired"] = PAIRED | {"difference": None}
    assert not any("linear one" in sentence for sentence in concluded(results))


def test_a_measure_of_which_smaller_is_better():
    results = deepcopy(RESULTS) | {"measure": "RMSE"}
    results["fusion"]["test"] = results["fusion"]["test"] | {"chance": 1.2}
    results["members"]["adam"]["mean_of_folds_test"] = 0.72
    results["baselines"]["svm"]["paired"] = PAIRED | {"difference": -0.15}
    headline, chance, models, baseline = concluded(results)
    assert headline.startswith("The fusion (mean) of 2 models reaches an RMSE of 0.700 on the test partition")
    assert chance == "The interval is below always predicting the mean (1.200)."
    assert models.endswith("reach 0.720 on average; the fusion is 0.020 better.")
    assert baseline.startswith("The system is 0.150 better than")
    results["fusion"]["test"] |= {"chance": 0.5}
    assert conclude(results)[1].endswith(": the system is worse than guessing.")


@pytest.mark.parametrize(
    ("partitions", "start"),
    [
        ({"test": {}}, "There is no test score (no truth for the test partition): epochs and C were"),
        ({}, "There is no test partition: epochs and C were chosen on the validation labels that also"),
    ],
)
def test_without_a_test_score_the_headline_is_about_cross_validation(partitions, start):
    results = deepcopy(RESULTS) | {"corpus": {"partitions": partitions}}
    results["fusion"]["test"] = NO_TRUTH
    results["baselines"]["svm"]["part"] = "cv"
    headline, test, *_ = found = concluded(results)
    assert "72.0 % in cross-validation" in headline
    assert test.startswith(start)
    assert test.endswith("give this score, so it is a little too high.")
    assert any("than a linear one" in sentence for sentence in found)
    lines = closing_lines(results)
    assert any("the submission is ready" in line for line in lines) == bool(partitions)
    assert lines.index("  baseline (svm): 55.0 %") == len(lines) - 1


def test_without_any_score_the_headline_gives_the_reasons():
    (only,) = sentences(test=NO_TRUTH, cv=CV | {"pooled": None, "undefined": {"pooled": "no label of class 1"}})
    assert only == "No score: no truth for the test partition; in cross-validation no label of class 1."


@pytest.mark.parametrize("several", [True, False])
def test_one_validation_set_is_no_cross_validation(several):
    results = deepcopy(RESULTS)
    name, folds = ("cross-validation", FOLDS) if several else ("validation", FOLDS[:1])
    results["members"]["adam"] |= {"folds": folds, "leak": "some reason"}
    results["members"]["other"] = results["members"]["adam"] | {"folds": FOLDS}  # not in the fusion
    results["fusion"]["cv"] = CV | {"pooled": 0.9, "per_fold": {str(fold["fold"]): 0.9 for fold in folds}}
    text = "\n".join(concluded(results) + closing_lines(results))
    assert f"The {name} scores of adam are too high" in text
    assert "The cross-validation scores of other are too high" in text
    assert ("\ncross-validation UAR: mean of folds 72.0 %, pooled 90.0 %" in text) == several
    assert ("\nvalidation UAR: 90.0 %" in text) != several
    assert ("The pooled cross-validation score, 90.0 %, is outside" in text) == several
    assert ("The validation score, 90.0 %, is outside" in text) != several
    results["fusion"]["test"] = NO_TRUTH
    where = "in cross-validation with all folds pooled" if several else "on the validation set"
    assert f"reaches a UAR of 90.0 % {where}" in concluded(results)[0]


def test_two_models_of_one_validation_set_have_a_mean():
    results = deepcopy(RESULTS)
    results["members"]["adam"]["folds"] = [FOLDS[0], FOLDS[0] | {"seed": 1}]
    assert "validation UAR: mean of models 72.0 %, pooled 72.0 %" in closing_lines(results)


def test_unknown_speakers_leave_an_interval_over_samples_and_a_warning():
    score = SCORE | {"interval_95": None, "speakers": None, "undefined": {"interval_95": "speakers unknown"}}
    headline, chance, *_ = sentences(test=score)
    assert "interval over speakers is unknown; 1,200 labels)" in headline
    assert "(speakers unknown)" in chance
    assert "68.0 % to 72.0 %" in chance
    assert "too narrow for new speakers" in chance
    assert sentences(test=score | {"interval_95_over_samples": None})[1] == (
        "There is no interval over speakers (speakers unknown)."
    )


@pytest.mark.parametrize(("pooled", "flagged"), [(0.77, False), (0.85, True)])
def test_cross_validation_far_from_test_is_flagged(pooled, flagged):
    assert any("outside the interval" in s for s in sentences(cv=CV | {"pooled": pooled})) == flagged


def test_shared_speakers_are_flagged():
    found = sentences(cv=CV | {"speakers_in_train_and_validation": {"0": 3, "1": 0}})
    assert any(
        "In 1 of 2 folds some speakers are in both" in s
        and "(up to 3)" in s
        and "score is 72.0 %; on the test partition it is 70.0 %, 2.0 points worse" in s
        for s in found
    )


def test_weights_scored_where_they_were_found_are_flagged():
    assert sentences(cv_cross_fitted=CV | {"pooled": 0.69})[-1].endswith(
        "score, 72.0 %. With weights chosen on other folds (cross-fitted) the score is 69.0 %."
    )


def test_numbers():
    pcc, uar = Formatter("PCC"), Formatter("UAR")
    assert pcc.number(0.12345) == "0.123"
    assert uar.number(0.755) == "75.5\N{NO-BREAK SPACE}%"
    assert uar.number(None) == pcc.interval(None) == uar.signed(None) == "–"
    assert pcc.interval([-0.1, 0.5]) == "-0.100 to 0.500"
    assert uar.interval([-0.1, 0.5], uar.signed) == "-10.0 to +50.0"
