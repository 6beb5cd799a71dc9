"""Scores of a prediction table, ready for JSON: null with a reason wherever there is no number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.errors import UserError
from jaxpara.evaluation import breaths, intervals, metrics
from jaxpara.evaluation.metrics import Undefined, defined
from jaxpara.predictions import KEYS, MODEL, FoldSeed, by_model, first_key, model_name, scores_of

# Neighbouring labels of a sequence are nearly copies of each other: intervals over single labels would be far too
# narrow. Ten seconds contain two to three breaths; the autocorrelation of a belt vanishes after four seconds.
BLOCK_S = 10.0


@dataclass(frozen=True, eq=False)
class CorpusData:
    """The facts about a corpus that evaluation uses.

    Attributes:
      root: the folder.
      label_file: its path, for messages.
      simulated: True if the audio was made by jaxpara.
      task: its name.
      measure: `PCC` or `UAR`.
      classes: names in the order of the class indices; empty for a sequence.
      labels: a row per label in corpus order, with the columns recording, time_s (rounded to microseconds), partition,
        speaker (empty where unknown) and truth (NaN where unknown).
      seconds: {partition: duration of its audio}; None where a file is not readable.
    """

    root: str
    label_file: str
    simulated: bool
    task: str
    measure: str
    classes: tuple[str, ...]
    labels: pd.DataFrame
    seconds: Mapping[str, float | None]

    def of_partition(self, name: str) -> pd.DataFrame:
        """Return the labels of one partition."""
        return self.labels[self.labels["partition"] == name]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Predictions joined with their truth.

    Attributes:
      table: a row per prediction whose truth is known: recording (a category, in corpus order), time_s, partition,
        speaker, truth, fold, seed and scores.
      classes: names; empty for a sequence.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def truth(self) -> np.ndarray:
        """`[row]` belt positions or class indices."""
        return self.table["truth"].to_numpy()

    @property
    def scores(self) -> np.ndarray:
        """`[row, score]`."""
        return scores_of(self.table)

    @property
    def speakers_known(self) -> bool:
        return not (self.table["speaker"] == "").any()

    @property
    def measure(self) -> intervals.SumMeasure:
        return intervals.UAR if self.classes else intervals.PCC

    def by(self, column: str) -> dict[str, "ScoredRows"]:
        """Split by the values of a column, in alphabetical order."""
        return {str(key): ScoredRows(part, self.classes) for key, part in self.table.groupby(column)}

    def value(self) -> float:
        """Compute the official measure of all rows together; raises `Undefined` where it has no value."""
        measure = "UAR" if self.classes else "PCC"
        return metrics.official_score(measure, self.truth, self.scores, len(self.classes))

    def confusion(self) -> np.ndarray:
        """Count rows by `[true class, predicted class]`."""
        return metrics.confusion(self.truth, self.scores.argmax(1), len(self.classes))

    def speaker_units(self) -> intervals.Units:
        """Make a unit of each speaker; raises `Undefined` where a speaker is not known."""
        if not self.speakers_known:
            raise Undefined("speakers unknown")
        return self._units(pd.factorize(self.table["speaker"], sort=True)[0])

    def sample_units(self) -> intervals.Units:
        """Make a unit of each recording, or of each block of 10 s where the rows are a sequence."""
        if self.classes and self.table["recording"].is_unique:
            return intervals.single_rows(self.confusion())
        blocks = self.table["time_s"] // BLOCK_S
        return self._units(self.table.groupby([self.table["recording"], blocks], observed=True).ngroup().to_numpy())

    def _units(self, unit: np.ndarray) -> intervals.Units:
        if self.classes:
            return intervals.confusions(self.truth, self.scores.argmax(1), unit, len(self.classes))
        return intervals.moments(self.truth, self.scores[:, 0], unit)


def join(predictions: pd.DataFrame, data: CorpusData) -> ScoredRows:
    """Look up truth and speaker of every prediction by recording and time; rows without truth are left out.

    Raises:
      UserError: a prediction for something that is not in the corpus, or two of one model for one label.
    """
    labels = data.labels[[*KEYS, "speaker", "truth"]]
    table = predictions.merge(labels, how="left", on=KEYS, validate="many_to_one", indicator="found")
    unknown = (table.pop("found") != "both").to_numpy()
    _refuse(table, unknown, f"have no row in {data.label_file}; were they made for another corpus?")
    _refuse(table, table.duplicated([*KEYS, *MODEL]).to_numpy(), "are duplicated; expected one per label.")
    table["recording"] = pd.Categorical(table["recording"], data.labels["recording"].unique())
    return ScoredRows(table[np.isfinite(table["truth"])], data.classes)


def _refuse(table: pd.DataFrame, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise UserError(f"{bad.sum()} of {len(bad)} predictions {what} The first is {first_key(table[bad])}")


def score(predictions: pd.DataFrame, data: CorpusData, seed: int = 0) -> dict[str, Any]:
    """Score predictions against the truth; `jaxpara.evaluation.results` describes every field.

    Args:
      predictions: at most one row per label and trained model.
      seed: of the bootstrap.

    Raises:
      UserError: as `join`.
    """
    return _score(predictions, join(predictions, data), data.measure, seed)


def cross_validation(
    predictions: pd.DataFrame, data: CorpusData, seed: int = 0, shared: Mapping[FoldSeed, int] | None = None
) -> dict[str, Any]:
    """Score the predictions of all validation sets, pooled and as the mean of folds.

    Args:
      predictions: of the validation set of every trained model; a label may be in several of them.
      seed: of the bootstrap.
      shared: {(fold, seed): number of speakers in both its training and its validation set}, where that is known.

    Returns:
      `score` of all rows together, and `per_fold`, `per_fold_interval_95`, `mean_of_folds` and
      `speakers_in_train_and_validation`; `jaxpara.evaluation.results` describes them.

    Raises:
      UserError: as `join`.
    """
    rows = join(predictions, data)
    result = _score(predictions, rows, data.measure, seed)
    result |= {"per_fold": {}, "per_fold_interval_95": {}, "mean_of_folds": None}
    result["speakers_in_train_and_validation"] = {model_name(key): count for key, count in (shared or {}).items()}
    known = by_model(rows.table)
    for key in by_model(predictions[MODEL]):
        part = ScoredRows(known.get(key, rows.table[:0]), data.classes)
        _fill(result, "per_fold", part.value, model_name(key))
        _fill(result, "per_fold_interval_95", lambda part=part: _over_speakers(part), model_name(key))
    _fill(result, "mean_of_folds", lambda: _mean(result["per_fold"], "a fold has no value"))
    return result


def _score(predictions: pd.DataFrame, rows: ScoredRows, measure: str, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "measure": measure,
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
        "speakers": rows.table["speaker"].nunique() if rows.speakers_known else None,
        "undefined": {},
    }
    if not len(rows):
        partitions = " and ".join(sorted(predictions["partition"].unique()))
        result["undefined"]["pooled"] = f"no truth for the {partitions} partition" if partitions else "no predictions"
        return result
    _fill(result, "pooled", rows.value)
    for name, part in rows.by("partition").items():
        _fill(result, "per_partition", part.value, name)
    if result["pooled"] is not None:
        _add_intervals(result, rows, seed)
    if rows.speakers_known:
        _add_speakers(result, rows)
    else:
        result["undefined"]["per_speaker"] = "speakers unknown"
    (_add_for_classes if rows.classes else _add_for_sequences)(result, rows)
    return result


def _fill(result: dict[str, Any], field: str, compute: Callable[[], Any], key: str | None = None) -> None:
    """Set `result[field]` (or `result[field][key]`), to None where it is undefined."""
    target, name = (result, field) if key is None else (result[field], key)
    target[name] = defined(compute, field if key is None else f"{field}.{key}", result["undefined"])


def _over_speakers(rows: ScoredRows) -> list[float]:
    return intervals.jackknife_interval(rows.speaker_units(), rows.measure)


def _add_intervals(result: dict[str, Any], rows: ScoredRows, seed: int) -> None:
    def bootstrap(units: intervals.Units) -> list[float]:
        return intervals.bootstrap_interval(units, rows.measure, seed=seed)

    _fill(result, "interval_95", lambda: _over_speakers(rows))
    _fill(result, "interval_95_bootstrap", lambda: bootstrap(rows.speaker_units()))
    _fill(result, "interval_95_over_samples", lambda: bootstrap(rows.sample_units()))


def _add_speakers(result: dict[str, Any], rows: ScoredRows) -> None:
    def interval(part: ScoredRows) -> list[float]:
        return intervals.jackknife_interval(part.sample_units(), part.measure)

    for name, part in rows.by("speaker").items():
        _fill(result, "per_speaker", part.value, name)
        _fill(result, "per_speaker_interval_95", lambda part=part: interval(part), name)
    _fill(result, "mean_per_speaker", lambda: _mean(result["per_speaker"], "a speaker has no value"))


def _mean(values: Mapping[str, float | None], reason: str) -> float:
    # With a value missing there is no mean: over the others it would be another figure.
    numbers = [value for value in values.values() if value is not None]
    if not numbers or len(numbers) < len(values):
        raise Undefined(reason)
    return float(np.mean(numbers))


def series_of(rows: ScoredRows) -> list[breaths.Series]:
    """Split a sequence into recordings; several models may have predicted the same one."""
    groups = rows.table.sort_values("time_s", kind="stable").groupby([*MODEL, "recording"], observed=True)
    return [breaths.Series(*(part[name].to_numpy() for name in ("truth", "score_0", "time_s"))) for _, part in groups]


def _add_for_sequences(result: dict[str, Any], rows: ScoredRows) -> None:
    truth, prediction = rows.truth, rows.scores[:, 0]
    _fill(result, "ccc", lambda: metrics.ccc(truth, prediction))
    _fill(result, "rmse", lambda: metrics.rmse(truth, prediction))
    series = series_of(rows)
    _fill(result, "rmse_scaled", lambda: breaths.rmse_scaled(series))
    _fill(result, "breathing_rate_mae", lambda: breaths.breathing_rate_mae(series))
    _fill(result, "onset_f1", lambda: breaths.onset_f1(series))


def _add_for_classes(result: dict[str, Any], rows: ScoredRows) -> None:
    classes, counts, truth, scores = rows.classes, rows.confusion(), rows.truth, rows.scores
    result["classes"] = list(classes)
    result["confusion"] = counts.tolist()
    _fill(result, "recalls", lambda: dict(zip(classes, metrics.recalls(counts).tolist(), strict=True)))
    _fill(result, "accuracy", lambda: metrics.accuracy(counts))
    _fill(result, "ece", lambda: metrics.ece(truth, scores))
    _fill(
        result, "reliability", lambda: {k: v.tolist() for k, v in metrics.reliability(truth, scores)._asdict().items()}
    )
    if len(classes) == 2:
        _fill(result, "auc", lambda: metrics.auc(truth == 1, scores[:, 1]))
        _fill(result, "eer", lambda: metrics.eer(truth == 1, scores[:, 1]))
