"""The report's sentences say what the numbers allow, and no more."""

from copy import deepcopy

import numpy as np
import pytest
from scipy import stats

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
CV = SCORE | {
    "pooled": 0.72,
    "speakers": 22,
    "speakers_in_train_and_validation": {"0": 0, "1": 0},
    "per_fold": {"0": 0.73, "1": 0.71},
    "per_fold_interval_95": {"0": [0.64, 0.8], "1": [0.62, 0.79]},
}
FOLDS = [
    {"fold": fold, "seed": 0, "validation": {"speakers": 11, "per_partition": {part: CV["per_fold"][str(fold)]}}}
    for fold, part in enumerate(("devel", "train"))
]
NO_TRUTH = {
    "pooled": None,
    "interval_95": None,
    "labels": 0,
    "undefined": {"pooled": "no truth for the test partition"},
}
RESULTS = {
    "measure": "UAR",
    "shared_audio": {
        "train_and_validation": {"pairs": 0, "examples": []},
        "train_and_test": {"pairs": 0, "examples": []},
    },
    "members": {"adam": {"folds": FOLDS, "mean_of_folds_test": 0.66, "leak": "", "seeds": {}}},
    "fusion": {"name": "mean", "members": ["adam"], "cv": CV, "cv_cross_fitted": None, "test": SCORE},
    "baselines": {"svm": SCORE | {"pooled": 0.55}},
}


def sentences(**fusion):
    results = deepcopy(RESULTS)
    results["fusion"] |= fusion
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in conclude(results)]


def test_a_plain_run():
    assert sentences() == [
        "The fusion (mean) of 2 models reaches a UAR of 70.0 % on the test partition"
        " (95 % interval over speakers 60.0 % to 78.0 %; 1,200 labels of 10 speakers).",
        "The interval is above chance (50.0 %).",
        "The 2 models of adam reach 66.0 % on average; the fusion gains 4.0 points.",
        "The baseline (svm) reaches 55.0 %, below the system's interval.",
    ]


@pytest.mark.parametrize(
    ("alone", "told"),
    [
        ({"cv": 0.72, "test": 0.69}, "70.0 %, 69.0 % on test: 69.5 % on average, standard deviation 0.7 points"),
        (
            {"cv": 0.72, "test": None},
            "71.0 %, 72.0 % in cross-validation, mean of folds: 71.5 % on average, standard deviation 0.7 points",
        ),
        ({"cv": None, "test": None}, ""),
        ({"cv": 0.71, "test": 0.7}, ""),
    ],
)
def test_how_far_seeds_are_apart(alone, told):
    results = deepcopy(RESULTS)
    results["members"]["adam"]["seeds"] = {"0": {"cv": 0.71, "test": 0.7}, "1": alone}
    found = [s.replace("\N{NO-BREAK SPACE}", " ") for s in conclude(results) if "seed" in s]
    whole = f"With a single seed adam reaches {told}. Smaller differences may be chance."
    assert found == ([whole] if told else [])


def test_shared_audio_and_features_that_know_too_much_are_reported():
    results = deepcopy(RESULTS)
    example = {"one": "train_1.wav", "other": "test_2.wav"}
    results["shared_audio"]["train_and_test"] = {"pairs": 3, "examples": [example]}
    results["members"]["adam"]["leak"] = "they know"
    assert conclude(results)[-2:] == [
        "3 pairs of recordings in training and test have the same audio, such as train_1.wav and test_2.wav: scores are"
        " too high.",
        "The cross-validation scores of adam are too high: they know.",
    ]


def test_an_interval_that_includes_chance_shows_no_skill():
    assert any("shows no skill" in s for s in sentences(test=SCORE | {"interval_95": [0.45, 0.9]}))


def test_an_interval_below_chance_does_not_include_it():
    assert sentences(test=SCORE | {"interval_95": [0.2, 0.4]})[1] == (
        "The interval is below chance (50.0 %): the system is worse than guessing."
    )


@pytest.mark.parametrize(
    ("measure", "alone", "said"),
    [
        ("UAR", 0.7, "reach 70.0 % on average; the fusion gains nothing."),
        ("UAR", 0.7004, "reach 70.0 % on average; the fusion gains nothing."),
        ("UAR", 0.71, "reach 71.0 % on average; the fusion loses 1.0 points."),
        ("PCC", 0.699, "reach 0.699 on average; the fusion gains 0.001."),
    ],
)
def test_what_a_fusion_gains(measure, alone, said):
    results = deepcopy(RESULTS) | {"measure": measure}
    results["members"]["adam"]["mean_of_folds_test"] = alone
    assert any(s.replace("\N{NO-BREAK SPACE}", " ").endswith(said) for s in conclude(results))


@pytest.mark.parametrize(
    ("pooled", "place"),
    [
        (0.8, "above the system's interval."),
        (0.65, "inside the system's interval: this run does not show that the system is better."),
    ],
)
def test_a_baseline_is_compared_with_the_interval(pooled, place):
    results = deepcopy(RESULTS)
    results["baselines"]["svm"]["pooled"] = pooled
    assert conclude(results)[-1].endswith(place)


def test_without_test_truth_it_speaks_of_cross_validation():
    headline, test, *_ = sentences(test=NO_TRUTH)
    assert "72.0 % in cross-validation" in headline
    assert test == "There is no test score: no truth for the test partition."
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
    assert "vary more" in chance
    assert sentences(test=score | {"interval_95_over_samples": None})[1] == (
        "There is no interval over speakers (speakers unknown)."
    )


@pytest.mark.parametrize(("pooled", "flagged"), [(0.77, False), (0.85, True)])
def test_cross_validation_far_from_test_is_flagged(pooled, flagged):
    assert any("outside the interval" in s for s in sentences(cv=CV | {"pooled": pooled})) == flagged


def test_shared_speakers_are_flagged():
    said = sentences(cv=CV | {"speakers_in_train_and_validation": {"0": 3, "1": 0}})
    assert any(
        "In 1 of 2 folds some speakers are in both" in s
        and "(up to 3)" in s
        and "72.0 %" in s
        and "70.0 %: 2.0 points less" in s
        for s in said
    )


LINES = {"PCC": (np.arctanh, np.tanh), "UAR": (lambda p: np.log(p / (1 - p)), lambda z: 1 / (1 + np.exp(-z)))}


def gap(devel, train, error, *, measure="UAR", speakers=6, shared=False, known=True, members=1, fused=None):
    """What is said of folds with these values, each with a standard error on the line and so many speakers.

    Args:
      members: among whom the folds are dealt out.
      fused: those that the fusion has; by default all.
    """
    there, back = LINES[measure]
    parts, values = ["devel"] * len(devel) + ["train"] * len(train), [*devel, *train]
    reach = stats.t.ppf(0.975, speakers - 1) * error * np.array([-1, 1])
    cv = {
        "measure": measure,
        "speakers": 2 * speakers if shared else len(values) * speakers,
        "per_fold": {str(k): value for k, value in enumerate(values)},
        "per_fold_interval_95": {
            str(k): back(there(value) + reach).tolist() if known else None for k, value in enumerate(values)
        },
    }
    results = deepcopy(RESULTS) | {"measure": measure}
    folds = [
        {"fold": k, "seed": 0, "validation": {"speakers": speakers if known else None, "per_partition": {part: value}}}
        for k, (part, value) in enumerate(zip(parts, values, strict=True))
    ]
    adam = results["members"]["adam"]
    results["members"] = {f"m{k}": adam | {"folds": folds[k::members]} for k in range(members)}
    results["fusion"]["members"] = list(results["members"])
    for fold in set(range(len(values))) - set(range(len(values)) if fused is None else fused):
        del cv["per_fold"][str(fold)], cv["per_fold_interval_95"][str(fold)]
    results["fusion"]["cv"] |= cv
    said = [s.replace("\N{NO-BREAK SPACE}", " ") for s in conclude(results)]
    return [sentence for sentence in said if "that validate" in sentence]


def test_folds_of_one_partition_that_do_better_are_told():
    assert gap([0.92, 0.926], [0.74, 0.732], 0.2) == [
        "The folds that validate on devel reach 92.3 % on average, those that validate on train 73.6 %: a difference of"
        " 18.7 points, more than the choice of speakers explains. The mean of all folds hides it: report both."
    ]
    (sentence,) = gap([0.2, 0.25], [0.6, 0.6], 0.05, measure="PCC")
    assert (
        "validate on train reach 0.600 on average, those that validate on devel 0.225: a difference of 0.375,"
        in sentence
    )


def test_folds_of_all_members_count_as_far_as_the_fusion_has_them():
    values = [0.92, 0.926], [0.74, 0.732]
    told = gap(*values, 0.2)
    assert len(told) == 1
    for members in (2, 3, 4):
        assert gap(*values, 0.2, members=members) == told
    assert gap(*values, 0.2, members=2, fused=(0, 2)) == gap([0.92], [0.74], 0.2)  # one of the two is selected
    assert gap(*values, 0.2, fused=(0, 1, 3)) == gap([0.92, 0.926], [0.732], 0.2)  # nothing of fold 2 is scored
    assert gap(*values, 0.2, members=4, fused=(0,)) == []


def test_a_difference_within_the_intervals_is_not_told():
    assert gap([0.92, 0.926], [0.74, 0.732], 0.9) == []
    assert gap([0.70, 0.72], [0.73, 0.71], 0.05) == []


@pytest.mark.parametrize("measure", ["PCC", "UAR"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_limit_is_that_of_welch(measure, shared):
    there, back = LINES[measure]
    speakers, error = 6, 0.1
    # Four folds of equal error: those with speakers of their own have all their degrees of freedom together.
    freedom = 2 * (speakers - 1) if shared else 4 * (speakers - 1)
    limit = stats.t.ppf(0.975, freedom) * error * (2**0.5 if shared else 1)
    for share, speaks in ((0.99, False), (1.01, True)):
        one, other = back(there(0.6) + np.array([0, share * limit])).tolist()
        said = gap([one, one], [other, other], error, measure=measure, speakers=speakers, shared=shared)
        assert bool(said) == speaks


@pytest.mark.parametrize(
    ("devel", "train"),
    [([0.92, 0.926], [0.74, 0.732]), ([0.92, 0.7], [0.74, 0.732]), ([0.6, 0.62, 0.63], [0.64, 0.65]), ([0.9], [0.7])],
)
def test_without_intervals_the_scatter_of_the_folds_decides(devel, train):
    said = gap(devel, train, 0.1, known=False)
    values = [LINES["UAR"][0](np.array(part)) for part in (devel, train)]
    expected = len(devel) > 1 and stats.ttest_ind(*values, equal_var=False).pvalue < 0.05
    assert bool(said) == expected
    assert all("folds of the same partition differ from each other" in sentence for sentence in said)


def test_folds_without_any_scatter_or_of_one_partition_tell_nothing():
    assert gap([0.6, 0.6], [0.5, 0.5], 0.1, known=False) == []
    assert gap([1.0, 1.0], [0.5, 0.52], 0.1, known=False) == []
    assert gap([0.9, 0.5], [], 0.01) == []
    assert gap([0.9, None], [0.5, 0.52], 0.1, known=False) == []


def test_weights_scored_where_they_were_found_are_flagged():
    said = sentences(cv_cross_fitted=CV | {"pooled": 0.69})
    assert said[-1].endswith("(72.0 % pooled); with weights from other folds it is 69.0 %.")


def test_numbers():
    assert number("PCC", 0.12345) == "0.123"
    assert number("UAR", 0.755) == "75.5\N{NO-BREAK SPACE}%"
    assert number("UAR", None) == interval("PCC", None) == "–"
    assert interval("PCC", [-0.1, 0.5]) == "-0.100 to 0.500"
