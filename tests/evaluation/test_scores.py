"""Scores and cross-validation of made-up corpora against scikit-learn and SciPy on hand-matched rows."""

import json
from dataclasses import replace

import audmetric
import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, recall_score

from jaxpara.corpora.corpus import Corpus
from jaxpara.errors import UserError
from jaxpara.evaluation import intervals
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.scores import cross_validation, join, score
from jaxpara.predictions import scores_of, with_scores

UAR = MEASURE["UAR"]


def shuffled(predictions, seed=0):
    return predictions.iloc[np.random.default_rng(seed).permutation(len(predictions))]


def truth_by_hand(predictions, corpus):
    table = {(r.name, round(t * 25)): y for r in corpus.recordings for t, y in zip(r.times_s, r.truth, strict=True)}
    keys = zip(predictions["recording"], np.round(predictions["time_s"] * 25).astype(int), strict=True)
    return np.array([table[key] for key in keys])


def test_a_sequence(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    predictions = shuffled(fakes.predict(corpus, corpus.partition("devel", "test")))
    result = score(predictions, fakes.data(corpus))
    truth, values = truth_by_hand(predictions, corpus), predictions["score_0"].to_numpy()
    assert result["measure"] == "PCC"
    assert result["pooled"] == pytest.approx(pearsonr(truth, values)[0])
    for name, value in result["per_speaker"].items():
        rows = (predictions["recording"] == name + ".wav").to_numpy()
        assert value == pytest.approx(pearsonr(truth[rows], values[rows])[0])
        low, high = result["per_speaker_interval_95"][name]
        assert low < value < high
    assert len(result["per_speaker"]) == result["speakers"] == 7
    assert result["mean_per_speaker"] == pytest.approx(np.mean(list(result["per_speaker"].values())))
    test = (predictions["partition"] == "test").to_numpy()
    assert result["per_partition"]["test"] == pytest.approx(pearsonr(truth[test], values[test])[0])
    assert (result["labels"], result["without_truth"]) == (7000, 0)
    for name in ("interval_95", "interval_95_bootstrap", "interval_95_over_samples"):
        assert result[name][0] < result["pooled"] < result[name][1]
    rows = [(predictions["recording"] == name).to_numpy() for name in predictions["recording"].unique()]
    fits = [np.polyfit(values[r], truth[r], 1) for r in rows]
    left = np.concatenate([truth[r] - np.polyval(fit, values[r]) for r, fit in zip(rows, fits, strict=True)])
    assert all(slope > 0 for slope, _ in fits)
    assert result["rmse_scaled"] == pytest.approx(np.sqrt(np.mean(left**2)))
    assert result["rmse_scaled"] < result["rmse"]
    assert 0 < result["onset_f1"] < 1
    assert 0 < result["breathing_rate_mae"] < 20
    assert result["undefined"] == {}
    assert score(predictions, fakes.data(corpus)) == result
    assert score(predictions, fakes.data(corpus), seed=1)["interval_95_bootstrap"] != result["interval_95_bootstrap"]


def test_a_nearly_perfect_sequence_breathes_as_the_truth_does_on_any_scale(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    predictions = fakes.predict(corpus, corpus.recordings)
    truth = truth_by_hand(predictions, corpus)
    noise = 3e-4 * np.random.default_rng(0).standard_normal(len(truth))
    result = score(shuffled(with_scores(predictions, (3 * truth + 2 + noise)[:, None])), fakes.data(corpus))
    assert result["rmse"] > 1
    assert result["rmse_scaled"] == pytest.approx(1e-4, rel=0.05)
    assert (result["breathing_rate_mae"], result["onset_f1"]) == (0, 1)


def test_a_gap_in_the_truth_leaves_no_onsets_and_says_where(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    gap = [replace(r, truth=np.where(np.abs(r.times_s - 20) < 1, np.nan, r.truth)) for r in corpus.recordings]
    corpus = replace(corpus, recordings=tuple(gap))
    result = score(fakes.predict(corpus, corpus.partition("devel")), fakes.data(corpus))
    assert result["breathing_rate_mae"] is result["onset_f1"] is None
    reason = "a recording has no labels from 19 s to 21 s"
    assert result["undefined"] == {"breathing_rate_mae": reason, "onset_f1": reason}
    assert result["rmse_scaled"] > 0


def test_samples_of_a_sequence_are_blocks_of_ten_seconds(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, speakers=(1, 0, 1), seconds=25, audio=False)
    rows = join(fakes.predict(corpus, corpus.recordings), fakes.data(corpus))
    assert sorted(rows.sample_units().sums[:, 0]) == [125, 125, 250, 250, 250, 250]


def test_classes(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    predictions = shuffled(fakes.predict(corpus, corpus.partition("devel")))
    result = score(predictions, fakes.data(corpus))
    truth, predicted = truth_by_hand(predictions, corpus), scores_of(predictions).argmax(1)
    assert result["pooled"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert result["confusion"] == confusion_matrix(truth, predicted).tolist()
    assert list(result["recalls"].values()) == pytest.approx(recall_score(truth, predicted, average=None))
    assert list(result["recalls"]) == result["classes"] == ["clear", "mask"]
    who = np.array([corpus.by_name[name].speaker for name in predictions["recording"]])
    for name, value in result["per_speaker"].items():
        assert value == pytest.approx(balanced_accuracy_score(truth[who == name], predicted[who == name]))
    assert result["accuracy"] == pytest.approx(np.mean(truth == predicted))
    assert 0 < result["eer"] < 0.5 < result["auc"] < 1
    assert 0 < result["ece"] < 1
    # Over single clips: as if nobody owned them.
    cells = UAR.units(truth, [scores_of(predictions)], None)
    assert result["interval_95_over_samples"] == intervals.bootstrap_interval(cells)
    assert result["chance"] == 0.5


@pytest.mark.parametrize("measure", ["CCC", "PCC", "RMSE", "Spearman"])
def test_numbers_per_recording(tmp_path, fakes, measure):
    like = fakes.mask(tmp_path, speakers=(4, 4, 6))
    rng = np.random.default_rng(0)
    ages = [replace(r, truth=(age := rng.uniform(20, 80, 1)), labels=age) for r in like.recordings]
    corpus = Corpus(replace(like.task, kind="values", classes=(), measure=measure), like.root, tuple(ages), 0.0)
    test = corpus.partition("test")
    truth = np.array([r.truth[0] for r in test])
    predictions = fakes.predict(like, like.partition("test")).drop(columns="score_1")
    predictions["score_0"] = values = truth + 20 * rng.standard_normal(len(truth))
    result = score(predictions, fakes.data(corpus))
    expected = {
        "ccc": audmetric.concordance_cc(truth, values),
        "pcc": pearsonr(truth, values)[0],
        "rmse": np.sqrt(np.mean((truth - values) ** 2)),
        "spearman": spearmanr(truth, values)[0],
    }
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert (result["measure"], result["pooled"]) == (measure, result[measure.lower()])
    assert result["chance"] == pytest.approx(truth.std() if measure == "RMSE" else 0)
    for name in ("interval_95", "interval_95_bootstrap", "interval_95_over_samples"):
        assert result[name][0] < result["pooled"] < result[name][1]
    assert len(result["per_speaker"]) == 6
    for name, value in result["per_speaker"].items():
        low, high = result["per_speaker_interval_95"][name]
        assert low < value < high
    assert result["undefined"] == {}
    assert not {"rmse_scaled", "onset_f1", "breathing_rate_mae", "confusion", "auc"} & result.keys()


@pytest.mark.parametrize("measure", ["F1", "accuracy", "AUC"])
def test_the_other_measures_of_classes(tmp_path, fakes, measure):
    corpus = fakes.mask(tmp_path)
    predictions = fakes.predict(corpus, corpus.partition("test"))
    result = cross_validation(predictions, fakes.data(corpus, measure=measure))
    assert result["pooled"] == result["mean_of_folds"] == result[measure.lower()]
    for name in ("interval_95", "interval_95_bootstrap", "interval_95_over_samples"):
        assert result[name][0] < result["pooled"] < result[name][1]
    assert result["per_fold_interval_95"] == {"-1": result["interval_95"]}
    for name, bounds in result["per_speaker_interval_95"].items():
        if bounds is not None:  # an AUC that one clip makes perfect has none
            assert bounds[0] < result["per_speaker"][name] < bounds[1]
    assert {key.partition(".")[0] for key in result["undefined"]} <= {"per_speaker_interval_95"}


def test_a_sequence_that_is_no_belt_has_no_breaths(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    predictions = fakes.predict(corpus, corpus.partition("test"))
    belt = score(predictions, fakes.data(corpus))
    other = score(predictions, fakes.data(corpus, breathing=False))
    assert belt.keys() - other.keys() == {"breathing_rate_mae", "onset_f1"}
    assert {name: belt[name] for name in other} == other


def test_without_truth_there_is_a_reason_and_no_number(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, test_truth=False)
    result = score(fakes.predict(corpus, corpus.partition("test")), fakes.data(corpus))
    assert result["undefined"] == {"pooled": "no truth for the test partition"}
    assert result["pooled"] is result["interval_95"] is result["mean_per_speaker"] is None
    assert result["labels"] == 0
    assert result["without_truth"] == len(corpus.partition("test"))


def test_no_predictions_at_all(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    assert score(fakes.predict(corpus, ()), fakes.data(corpus))["undefined"] == {"pooled": "no predictions"}


def test_rows_without_truth_are_left_out_and_counted(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, test_truth=False)
    both = score(fakes.predict(corpus, corpus.partition("devel", "test")), fakes.data(corpus))
    assert both["without_truth"] == len(corpus.partition("test"))
    assert both["labels"] == len(corpus.partition("devel"))
    assert list(both["per_partition"]) == ["devel"]


def test_unknown_speakers_leave_what_does_not_need_them(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, known=False)
    result = cross_validation(fakes.concatenate(fakes.predict_folds(corpus, 2)), fakes.data(corpus))
    assert result["pooled"] is not None
    assert result["interval_95_over_samples"] is not None
    assert result["interval_95"] is result["speakers"] is result["mean_per_speaker"] is None
    assert result["undefined"]["interval_95"] == "speakers unknown"
    assert result["speakers_in_train_and_validation"] == {}


def test_constant_predictions_are_undefined(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    predictions = fakes.predict(corpus, corpus.partition("test"))
    result = score(predictions.assign(score_0=0.3), fakes.data(corpus))
    assert result["pooled"] is result["interval_95"] is None
    assert result["undefined"]["pooled"] == "the prediction is constant"
    assert result["undefined"]["per_speaker.test_00"] == "the prediction is constant"
    assert result["rmse"] > 0


def test_one_speaker_has_a_score_and_no_interval_over_speakers(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, speakers=(0, 0, 1), audio=False)
    result = score(fakes.predict(corpus, corpus.recordings), fakes.data(corpus))
    assert result["pooled"] == result["mean_per_speaker"]
    assert result["undefined"]["interval_95"].startswith("one unit only")


def test_a_speaker_with_one_class_has_no_uar_and_the_mean_neither(tmp_path, fakes):
    corpus = fakes.mask(tmp_path, speakers=(0, 2, 0))
    one = corpus.recordings[0].speaker
    changed = [replace(r, truth=np.zeros(1)) if r.speaker == one else r for r in corpus.recordings]
    corpus = Corpus(corpus.task, corpus.root, tuple(changed), 0.0)
    result = score(fakes.predict(corpus, corpus.recordings), fakes.data(corpus))
    assert result["per_speaker"][one] is None
    assert result["undefined"][f"per_speaker.{one}"] == "no label of class 1 (of 2 classes)"
    assert result["mean_per_speaker"] is None
    assert result["pooled"] is not None


@pytest.mark.parametrize("kind", ["breathing", "mask"])
def test_everything_is_json(tmp_path, fakes, kind):
    corpus = fakes.mask(tmp_path) if kind == "mask" else fakes.breathing(tmp_path, audio=False)
    result = cross_validation(fakes.concatenate(fakes.predict_folds(corpus, 3)), fakes.data(corpus))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_cross_validation_names_both_figures(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    folds = fakes.predict_folds(corpus, 4)
    result = cross_validation(shuffled(fakes.concatenate(folds)), fakes.data(corpus))
    expected = [balanced_accuracy_score(truth_by_hand(f, corpus), scores_of(f).argmax(1)) for f in folds]
    assert list(result["per_fold"].values()) == pytest.approx(expected)
    assert result["mean_of_folds"] == pytest.approx(np.mean(expected))
    everything = fakes.concatenate(folds)
    pooled = balanced_accuracy_score(truth_by_hand(everything, corpus), scores_of(everything).argmax(1))
    assert result["pooled"] == pytest.approx(pooled)
    assert pooled != pytest.approx(np.mean(expected), abs=1e-6)
    for fold, interval in result["per_fold_interval_95"].items():
        assert interval[0] < result["per_fold"][fold] < interval[1]


def test_cross_validation_names_the_speakers_on_both_sides(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    leaky = cross_validation(
        fakes.concatenate(fakes.predict_folds(corpus, 2)), fakes.data(corpus), shared={(0, 0): 8, (1, 0): 7}
    )
    assert leaky["speakers_in_train_and_validation"] == {"0": 8, "1": 7}


def test_a_fold_without_a_value_leaves_no_mean_of_folds(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    clear = [r for r in corpus.partition("train") if r.truth[0] == 0]
    parts = [fakes.predict(corpus, corpus.partition("devel"), fold=0), fakes.predict(corpus, clear, fold=1)]
    result = cross_validation(fakes.concatenate(parts), fakes.data(corpus))
    assert result["mean_of_folds"] is None
    assert result["undefined"]["mean_of_folds"] == "a fold has no value"


def test_keys_that_the_corpus_does_not_have_are_refused(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, audio=False)
    predictions = fakes.predict(corpus, corpus.partition("test"))
    other = predictions.assign(recording=predictions["recording"].str.replace("test_01", "test_99"))
    with pytest.raises(UserError, match=r"1000 of 3000 predictions have no row in .*The first is test_99.wav at 0 s"):
        score(other, fakes.data(corpus))
    late = predictions.assign(time_s=predictions["time_s"] + 0.001)
    with pytest.raises(UserError, match=r"3000 of 3000 .* test_00.wav at 0.001 s"):
        score(late, fakes.data(corpus))


def test_duplicated_keys_are_refused_within_a_fold_only(tmp_path, fakes):
    corpus = fakes.mask(tmp_path)
    fold = fakes.predict(corpus, corpus.partition("devel"), fold=0)
    with pytest.raises(UserError, match=r"1 of \d+ predictions are duplicated.* devel_00003.wav"):
        score(fold.iloc[np.r_[0 : len(fold), 2]], fakes.data(corpus))
    cross_validation(fakes.concatenate([fold, fold.assign(fold=1)]), fakes.data(corpus))


def test_a_recording_in_several_folds_is_one_sample(tmp_path, fakes):
    """Two models with different seeds, say: recordings that appear twice add no information."""
    corpus = fakes.mask(tmp_path)
    once = fakes.predict(corpus, corpus.partition("test"), fold=0)
    twice = fakes.concatenate([once, once.assign(seed=1)])
    widths = [np.ptp(score(part, fakes.data(corpus))["interval_95_over_samples"]) for part in (once, twice)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)  # and not a factor of the root of 2 smaller


def test_series_are_those_of_each_recording_and_fold(tmp_path, fakes):
    corpus = fakes.breathing(tmp_path, speakers=(2, 1, 1), seconds=10, audio=False)
    folds = [fakes.predict(corpus, corpus.partition("train", "devel"), fold=fold) for fold in range(2)]
    both = fakes.concatenate(folds)
    parts = join(shuffled(both), fakes.data(corpus)).series()
    assert len(parts) == 6
    expected = [(r, p["score_0"][p["recording"] == r.name]) for p in folds for r in corpus.partition("train", "devel")]
    for part, (recording, prediction) in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(part.times_s, recording.times_s)
        np.testing.assert_array_equal(part.truth, recording.truth)
        np.testing.assert_array_equal(part.prediction, prediction)
