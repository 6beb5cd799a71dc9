"""Scores of predictions against a corpus, ready for JSON: null with a reason wherever there is no number."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxpara.corpora.corpus import Corpus
from jaxpara.evaluation import breaths, intervals, metrics
from jaxpara.evaluation.metrics import Undefined, defined
from jaxpara.evaluation.rows import Rows, rows_of
from jaxpara.predictions import Predictions


def score(predictions: Predictions, corpus: Corpus, seed: int = 0) -> dict[str, Any]:
    """Scores predictions against `Recording.truth`; `jaxpara.evaluation.results` describes every field.

    Args:
      predictions: at most one row a label and fold; rows whose truth is NaN are left out.
      corpus: where the labels stand.
      seed: of the bootstrap.

    Raises:
      UserError: a prediction for something that is not in the corpus, or two for one label.
    """
    return _score(predictions, rows_of(predictions, corpus), seed)


def cross_validation(
    predictions: Predictions, corpus: Corpus, seed: int = 0, shared: Mapping[int, int] | None = None
) -> dict[str, Any]:
    """Scores the tune predictions of all folds, under both of the names that papers mix up.

    Args:
      predictions: the tune rows of every fold, with `folds` set; a label may stand in several folds.
      corpus: where the labels stand.
      seed: of the bootstrap.
      shared: by fold, the number of speakers whom it is fitted and tuned on; where that is known.

    Returns:
      `score` of all rows together (`pooled`), and beside it `per_fold`, `per_fold_interval_95`,
      `mean_of_folds` and `speakers_in_train_and_validation`; `jaxpara.evaluation.results` describes them.

    Raises:
      UserError: as `score`.
    """
    rows = rows_of(predictions, corpus)
    result = _score(predictions, rows, seed)
    result |= {"per_fold": {}, "per_fold_interval_95": {}, "mean_of_folds": None}
    result["speakers_in_train_and_validation"] = {str(fold): count for fold, count in (shared or {}).items()}
    for fold in np.unique(predictions.folds).tolist():
        part = rows.select(rows.folds == fold)
        _fill(result, "per_fold", part.value, str(fold))
        _fill(result, "per_fold_interval_95", lambda part=part: _over_speakers(part), str(fold))
    _fill(result, "mean_of_folds", lambda: _mean(result["per_fold"], "a fold has no value"))
    return result


def _score(predictions: Predictions, rows: Rows, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "measure": rows.task.measure,
        "pooled": None,
        "interval_95": None,
        "interval_95_bootstrap": None,
        "interval_95_over_samples": None,
        "mean_per_speaker": None,
        "per_speaker": {},
        "per_speaker_interval_95": {},
        "per_partition": {},
        "labels": len(rows),
        "without_truth": len(predictions) - len(rows),
        "speakers": len(set(rows.speakers.tolist())) if rows.speakers_known else None,
        "undefined": {},
    }
    if not len(rows):
        partitions = " and ".join(sorted(set(predictions.partitions.tolist())))
        reason = f"no truth for the {partitions} partition" if partitions else "no predictions"
        result["undefined"]["pooled"] = reason
        return result
    _fill(result, "pooled", rows.value)
    for name in sorted(set(rows.partitions.tolist())):
        _fill(result, "per_partition", rows.select(rows.partitions == name).value, name)
    if result["pooled"] is not None:
        _add_intervals(result, rows, seed)
    if rows.speakers_known:
        _add_speakers(result, rows)
    else:
        result["undefined"]["per_speaker"] = "speakers unknown"
    (_add_for_classes if rows.task.kind == "classes" else _add_for_sequences)(result, rows)
    return result


def _fill(result: dict[str, Any], field: str, compute: Callable[[], Any], key: str | None = None) -> None:
    """Sets `result[field]` (or `result[field][key]`), or leaves None there and the reason in `undefined`."""
    target, name = (result, field) if key is None else (result[field], key)
    target[name] = defined(compute, field if key is None else f"{field}.{key}", result["undefined"])


def _over_speakers(rows: Rows) -> list[float]:
    return intervals.jackknife_interval(rows.speaker_units(), rows.measure)


def _add_intervals(result: dict[str, Any], rows: Rows, seed: int) -> None:
    def bootstrap(units: intervals.Units) -> list[float]:
        return intervals.bootstrap_interval(units, rows.measure, seed=seed)

    _fill(result, "interval_95", lambda: _over_speakers(rows))
    _fill(result, "interval_95_bootstrap", lambda: bootstrap(rows.speaker_units()))
    _fill(result, "interval_95_over_samples", lambda: bootstrap(rows.sample_units()))


def _add_speakers(result: dict[str, Any], rows: Rows) -> None:
    def interval(part: Rows) -> list[float]:
        return intervals.jackknife_interval(part.sample_units(), part.measure)

    for name in sorted(set(rows.speakers.tolist())):
        part = rows.select(rows.speakers == name)
        _fill(result, "per_speaker", part.value, name)
        _fill(result, "per_speaker_interval_95", lambda part=part: interval(part), name)
    _fill(result, "mean_per_speaker", lambda: _mean(result["per_speaker"], "a speaker has no value"))


def _mean(values: dict[str, float | None], reason: str) -> float:
    """The mean of all values: of none of them left out, since a mean over fewer would be another figure."""
    numbers = [value for value in values.values() if value is not None]
    if not numbers or len(numbers) < len(values):
        raise Undefined(reason)
    return float(np.mean(numbers))


def _add_for_sequences(result: dict[str, Any], rows: Rows) -> None:
    _fill(result, "ccc", lambda: metrics.ccc(rows.truth, rows.scores[:, 0]))
    _fill(result, "rmse", lambda: metrics.rmse(rows.truth, rows.scores[:, 0]))
    parts = breaths.series(rows)
    _fill(result, "rmse_scaled", lambda: breaths.rmse_scaled(parts))
    _fill(result, "breathing_rate_mae", lambda: breaths.breathing_rate_mae(parts))
    _fill(result, "onset_f1", lambda: breaths.onset_f1(parts))


def _lists(reliability: metrics.Reliability) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in reliability._asdict().items()}


def _add_for_classes(result: dict[str, Any], rows: Rows) -> None:
    classes, counts = rows.task.classes, rows.confusion
    result["classes"] = list(classes)
    result["confusion"] = counts.tolist()
    _fill(result, "recalls", lambda: dict(zip(classes, metrics.recalls(counts).tolist(), strict=True)))
    _fill(result, "accuracy", lambda: metrics.accuracy(counts))
    _fill(result, "ece", lambda: metrics.ece(rows.truth, rows.scores))
    _fill(result, "reliability", lambda: _lists(metrics.reliability(rows.truth, rows.scores)))
    if len(classes) == 2:
        _fill(result, "auc", lambda: metrics.auc(rows.truth == 1, rows.scores[:, 1]))
        _fill(result, "eer", lambda: metrics.eer(rows.truth == 1, rows.scores[:, 1]))
