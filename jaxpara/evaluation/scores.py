"""Scores of a prediction table, ready for JSON: null with a reason wherever there is no number."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from jaxpara.errors import UserError
from jaxpara.evaluation import breaths, intervals, metrics
from jaxpara.evaluation.measures import MEASURE, Measure
from jaxpara.evaluation.metrics import Undefined, defined
from jaxpara.evaluation.units import Units
from jaxpara.predictions import KEYS, MODEL, FoldSeed, by_model, first_key, model_name, scores_of

# Neighbouring labels of a sequence are nearly copies of each other: intervals over single labels would be far too
# narrow. Ten seconds contain two to three breaths; the autocorrelation of a belt vanishes after four seconds.
BLOCK_S = 10.0


@dataclass(frozen=True, eq=False)
class CorpusData:
    """The facts about a corpus that evaluation uses.

    Attributes:
      simulated: True if the audio was made by jaxpara.
      kind: of the target: `classes`, `ordinal`, `values` or `sequence`.
      measure: the official one, a key of `MEASURE`.
      classes: names in the order of the class indices; empty for other kinds.
      levels: names of the levels of an ordinal scale, whose labels are then their positions.
      labels: a row per label in corpus order, with the columns recording, time_s (rounded to microseconds), partition,
        speaker (empty where unknown) and truth (NaN where unknown).
      seconds: {partition: duration of its audio}; None where a file is not readable.
      breathing: True for the belt of a breathing corpus, of which breathing rates are computed.
    """

    root: str
    label_file: str
    simulated: bool
    task: str
    kind: str
    measure: str
    classes: tuple[str, ...]
    labels: pd.DataFrame
    seconds: Mapping[str, float | None]
    breathing: bool = False
    levels: tuple[str, ...] = ()

    def of_partition(self, name: str) -> pd.DataFrame:
        """Return the labels of one partition."""
        return self.labels[self.labels["partition"] == name]


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Predictions joined with their truth.

    Attributes:
      table: a row per prediction whose truth is known: recording (a category, in corpus order), time_s, partition,
        speaker, truth, fold, seed and scores.
      data: facts about their corpus.
    """

    table: pd.DataFrame
    data: CorpusData

    def __len__(self) -> int:
        return len(self.table)

    @property
    def truth(self) -> np.ndarray:
        """`[row]` numbers or class indices."""
        return self.table["truth"].to_numpy()

    @property
    def scores(self) -> np.ndarray:
        """`[row, score]`."""
        return scores_of(self.table)

    @property
    def speakers(self) -> int | None:
        """The number of speakers; None where one is not known."""
        return None if (self.table["speaker"] == "").any() else self.table["speaker"].nunique()

    @property
    def measure(self) -> Measure:
        """The official measure."""
        return MEASURE[self.data.measure]

    def by(self, column: str) -> dict[str, "ScoredRows"]:
        """Split by the values of a column, in alphabetical order."""
        return {str(key): replace(self, table=part) for key, part in self.table.groupby(column)}

    def value(self, measure: str | None = None) -> float:
        """Compute a measure, by default the official one, of all rows together; raise `Undefined` without a value."""
        return MEASURE[measure or self.data.measure].value(self.truth, self.scores)

    def chance(self) -> float:
        """Compute the best score that is possible without looking at the recordings."""
        return self.measure.chance(self.truth, len(self.data.classes))

    def confusion(self) -> np.ndarray:
        """Count rows by `[true class, predicted class]`."""
        return metrics.confusion(self.truth, self.scores.argmax(1), len(self.data.classes))

    def speaker_units(self) -> Units:
        """Make a unit of each speaker; raises `Undefined` where a speaker is not known."""
        if self.speakers is None:
            raise Undefined("speakers unknown")
        return self._units(self._speaker())

    def sample_units(self) -> Units:
        """Make a unit of each recording, or of each block of 10 s where the rows are a sequence."""
        return self._units(self._sample())

    def unit(self) -> np.ndarray | None:
        """Number the speakers, or the samples where a speaker is not known, `[row]`; None if each row is a sample."""
        return self._sample() if self.speakers is None else self._speaker()

    def units(self) -> Units:
        """Make a unit of each speaker, or of each sample where a speaker is not known."""
        return self._units(self.unit())

    def _speaker(self) -> np.ndarray:
        return pd.factorize(self.table["speaker"], sort=True)[0]

    def _sample(self) -> np.ndarray | None:
        if self.data.kind != "sequence" and not self.table.duplicated(KEYS).any():
            return None
        blocks = self.table["time_s"] // BLOCK_S
        return self.table.groupby([self.table["recording"], blocks], observed=True).ngroup().to_numpy()

    def _units(self, unit: np.ndarray | None) -> Units:
        if not len(self):
            raise Undefined("no labels")
        return self.measure.units(self.truth, [self.scores], unit)

    def jackknife_over_speakers(self) -> list[float]:
        return intervals.jackknife_interval(self.speaker_units(), self.measure.line)

    def series(self) -> list[breaths.Series]:
        """Split a sequence into recordings; several models may have predicted the same one."""
        groups = self.table.sort_values("time_s", kind="stable").groupby([*MODEL, "recording"], observed=True)
        return [breaths.Series(*(part[c].to_numpy() for c in ("truth", "score_0", "time_s"))) for _, part in groups]


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
    return ScoredRows(table[np.isfinite(table["truth"])], data)


def _refuse(table: pd.DataFrame, bad: np.ndarray, what: str) -> None:
    if bad.any():
        raise UserError(f"{bad.sum()} of {len(bad)} predictions {what} The first is {first_key(table[bad])}")


def score(predictions: pd.DataFrame, data: CorpusData, seed: int = 0) -> dict[str, Any]:
    """Score predictions, at most one per label and trained model; `jaxpara.evaluation.results` describes every field.

    Raises:
      UserError: as `join`.
    """
    rows = join(predictions, data)
    numbers = (
        "pooled",
        "chance",
        "interval_95",
        "interval_95_bootstrap",
        "interval_95_over_samples",
        "mean_per_speaker",
    )
    result: dict[str, Any] = {
        "measure": data.measure,
        **dict.fromkeys(numbers),
        **{field: {} for field in ("per_speaker", "per_speaker_interval_95", "per_partition")},
        "labels": len(rows),
        "without_truth": len(predictions) - len(rows),
        "speakers": rows.speakers,
        "undefined": {},
    }
    if not len(rows):
        partitions = " and ".join(sorted(predictions["partition"].unique()))
        result["undefined"]["pooled"] = f"no truth for the {partitions} partition" if partitions else "no predictions"
        return result

    def bootstrap(units: Callable[[], Units]) -> list[float]:
        return intervals.bootstrap_interval(units(), seed=seed)

    _fill(result, "pooled", rows.value)
    result["chance"] = rows.chance()
    for name, part in rows.by("partition").items():
        _fill(result, f"per_partition.{name}", part.value)
    if result["pooled"] is not None:
        _fill(result, "interval_95", rows.jackknife_over_speakers)
        _fill(result, "interval_95_bootstrap", bootstrap, rows.speaker_units)
        _fill(result, "interval_95_over_samples", bootstrap, rows.sample_units)
    if rows.speakers is None:
        result["undefined"]["per_speaker"] = "speakers unknown"
    else:
        for name, part in rows.by("speaker").items():
            units, jackknife = part.sample_units(), intervals.jackknife_interval
            _fill(result, f"per_speaker.{name}", part.value)
            _fill(result, f"per_speaker_interval_95.{name}", jackknife, units, rows.measure.line)
        _fill(result, "mean_per_speaker", mean_of, result["per_speaker"].values(), "a speaker has no value")
    (_add_for_classes if data.kind == "classes" else _add_for_numbers)(result, rows)
    return result


def cross_validation(
    predictions: pd.DataFrame, data: CorpusData, seed: int = 0, shared: Mapping[FoldSeed, int] | None = None
) -> dict[str, Any]:
    """Score the predictions of all validation sets, pooled and as the mean of folds.

    Args:
      predictions: of the validation set of every trained model; a label may be in several of them.
      shared: {(fold, seed): number of speakers in both its training and its validation set}, where that is known.

    Raises:
      UserError: as `join`.
    """
    rows = join(predictions, data)
    result = score(predictions, data, seed)
    result |= {"per_fold": {}, "per_fold_interval_95": {}, "mean_of_folds": None}
    result["speakers_in_train_and_validation"] = {model_name(key): count for key, count in (shared or {}).items()}
    known = by_model(rows.table)
    for key in by_model(predictions[MODEL]):
        part = replace(rows, table=known.get(key, rows.table[:0]))
        _fill(result, f"per_fold.{model_name(key)}", part.value)
        _fill(result, f"per_fold_interval_95.{model_name(key)}", part.jackknife_over_speakers)
    _fill(result, "mean_of_folds", mean_of, result["per_fold"].values(), "a fold has no value")
    return result


def _fill(result: dict[str, Any], figure: str, compute: Callable[..., Any], *args: Any) -> None:
    """Set a field (`pooled`) or an entry of one (`per_speaker.anna`), to None where it is undefined."""
    field, dot, key = figure.partition(".")
    target, name = (result[field], key) if dot else (result, field)
    target[name] = defined(result["undefined"], figure, compute, *args)


def mean_of(values: Collection[float | None], reason: str = "a value is missing") -> float:
    """Average; `Undefined` without values or where one is None, as the mean of the others would be another figure."""
    if not values or None in values:
        raise Undefined(reason)
    return float(np.mean(np.array(list(values), float)))


def _add_for_numbers(result: dict[str, Any], rows: ScoredRows) -> None:
    sequence = rows.data.kind == "sequence"
    # Of a sequence, Spearman's correlation is not among the measures.
    for measure in ("CCC", "PCC", "RMSE", *(() if sequence else ("Spearman",))):
        _fill(result, measure.lower(), rows.value, measure)
    if sequence:
        series = rows.series()
        rates = (breaths.breathing_rate_mae, breaths.onset_f1) if rows.data.breathing else ()
        for compute in (breaths.rmse_scaled, *rates):
            _fill(result, compute.__name__, compute, series)


def _add_for_classes(result: dict[str, Any], rows: ScoredRows) -> None:
    classes, counts, truth, scores = rows.data.classes, rows.confusion(), rows.truth, rows.scores
    result["classes"] = list(classes)
    result["confusion"] = counts.tolist()
    _fill(result, "recalls", lambda: dict(zip(classes, metrics.recalls(counts).tolist(), strict=True)))
    for measure in ("accuracy", "F1", "AUC"):
        _fill(result, measure.lower(), rows.value, measure)
    _fill(result, "ece", metrics.ece, truth, scores)
    _fill(result, "reliability", lambda: {k: v.tolist() for k, v in metrics.reliability(truth, scores).items()})
    if len(classes) == 2:
        _fill(result, "eer", metrics.eer, truth == 1, scores[:, 1])
