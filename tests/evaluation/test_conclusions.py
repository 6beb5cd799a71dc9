"""The report's sentences say what the numbers allow, and no more."""

from copy import deepcopy

import pytest

from jaxpara.evaluation.conclusions import conclude, interval, number

SCORE = {
    "measure": "UAR",
    "classes": ["clear", "mask"],
    "pooled": 0.7,
    "interval_95": [0.6, 0.78],
    "interval_95_over_samples": [0.68, 0.72],
    "labels": 1200,
    "speakers": 10,
    "undefined": {},
}
CV = SCORE | {"pooled": 0.72, "speakers": 22, "speakers_in_fit_and_tune": {"0": 0, "1": 0}}
NO_TRUTH = {
    "pooled": None,
    "interval_95": None,
    "labels": 0,
    "undefined": {"pooled": "no truth for the test partition"},
}
RESULTS = {
    "measure": "UAR",
    "members": {"adam": {"folds": [{}, {}], "mean_of_folds_test": 0.66}},
    "fusion": {"name": "mean", "members": ["adam"], "cv": CV, "cv_cross_fitted": None, "test": SCORE},
    "baselines": {"svm": SCORE | {"pooled": 0.55}},
}


def sentences(**fusion):
    results = deepcopy(RESULTS)
    results["fusion"] |= fusion
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in conclude(results)]


def test_a_plain_run():
    assert sentences() == [
        "The fusion (mean) of 2 fits reaches a UAR of 70.0 % on the test partition"
        " (95 % interval over speakers 60.0 % to 78.0 %; 1,200 labels of 10 speakers).",
        "The interval lies above chance (50.0 %).",
        "The single fits of adam reach 66.0 % on average, so that the fusion gains 4.0 points.",
        "The baseline svm reaches 55.0 %, below that interval.",
    ]


def test_an_interval_that_includes_chance_shows_no_skill():
    assert any("no skill" in s for s in sentences(test=SCORE | {"interval_95": [0.45, 0.9]}))


def test_without_test_truth_it_speaks_of_cross_validation():
    headline, test, *_ = sentences(test=NO_TRUTH)
    assert "72.0 % in cross-validation" in headline
    assert test == "On test nothing can be said: no truth for the test partition."
    assert not any("svm" in s for s in sentences(test=NO_TRUTH))


def test_without_any_score_it_gives_the_reasons():
    (only,) = sentences(test=NO_TRUTH, cv=CV | {"pooled": None, "undefined": {"pooled": "no label of class 1"}})
    assert only == "No score: no truth for the test partition; in cross-validation no label of class 1."


def test_unknown_speakers_leave_an_interval_over_samples_and_a_warning():
    score = SCORE | {"interval_95": None, "speakers": None, "undefined": {"interval_95": "speakers unknown"}}
    headline, chance, *_ = sentences(test=score)
    assert "interval over speakers is unknown; 1,200 labels)" in headline
    assert "(speakers unknown)" in chance
    assert "68.0 % to 72.0 %" in chance
    assert "scatter more" in chance


@pytest.mark.parametrize(("pooled", "flagged"), [(0.77, False), (0.85, True)])
def test_cross_validation_far_from_test_is_flagged(pooled, flagged):
    assert any("outside the interval" in s for s in sentences(cv=CV | {"pooled": pooled})) == flagged


def test_shared_speakers_are_flagged():
    said = sentences(cv=CV | {"speakers_in_fit_and_tune": {"0": 3, "1": 0}})
    assert any(
        "In 1 of 2 folds the same speakers" in s and "up to 3" in s and "72.0 %" in s and "70.0 %: 2.0 points less" in s
        for s in said
    )


def test_weights_scored_where_they_were_found_are_flagged():
    said = sentences(cv_cross_fitted=CV | {"pooled": 0.69})
    assert said[-1].endswith("(72.0 % pooled); with weights found on the other folds it is 69.0 %.")


def test_numbers():
    assert number("PCC", 0.12345) == "0.123"
    assert number("UAR", 0.755) == "75.5\N{NO-BREAK SPACE}%"
    assert number("UAR", None) == interval("PCC", None) == "–"
    assert interval("PCC", [-0.1, 0.5]) == "-0.100 to 0.500"
