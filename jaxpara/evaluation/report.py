"""The report: one HTML file that needs nothing else, not even a network."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.evaluation import plots
from jaxpara.evaluation.breaths import scale_onto
from jaxpara.evaluation.conclusions import chance, conclude, interval, number
from jaxpara.evaluation.rows import rows_of
from jaxpara.files import read_json_lines, write_text
from jaxpara.predictions import Predictions

Json = Mapping[str, Any]

MOST_CURVES = 4  # of single members over one belt
MOST_SYSTEMS = 12  # that are drawn one by one; the table and the plot of members show any number


def write(
    path: Path,
    *,
    results: Json,
    corpus: Corpus,
    validation: Predictions,
    test: Predictions,
    singles: Mapping[str, tuple[Predictions, Predictions]],
    curves: Mapping[str, Mapping[int, Path]],
    config: str,
    findings: Sequence[str],
) -> None:
    """Writes the report of one run.

    Args:
      path: the HTML file.
      results: from `results.summarise`.
      corpus: what the run was about.
      validation: the final predictions of the recordings that the folds were tuned on.
      test: the final predictions of the test partition.
      singles: both of single members, to be drawn beside the fusion.
      curves: by member and fold, the metrics.jsonl; those that are not there are left out.
      config: as text.
      findings: of the corpus check, a line each.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    measure = results["measure"]
    environment.filters |= {
        "number": lambda value: number(measure, value),
        "interval": lambda bounds: interval(measure, bounds),
        "percent": lambda value: number("UAR", value),
        "plain": lambda value: number("PCC", value),
        "of": lambda score, field: score.get(field),
        "duration": _duration,
        "thousands": lambda value: "–" if value is None else f"{value:,}",
        "known": lambda value, otherwise="unknown": otherwise if value is None else value,
    }
    weights, systems = _weights(results), _systems(results)
    template = environment.from_string(
        resources.files("jaxpara.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    sentences = conclude(results)
    shown, score = ("test", results["fusion"]["test"])
    if score["pooled"] is None:
        shown, score = ("cross-validation", results["fusion"]["cv"])
    text = template.render(
        results=results,
        task=corpus.task,
        headline=sentences[0],
        notes=sentences[1:],
        findings=findings,
        config=config,
        shown=shown,
        curves=_curves(results, curves),
        comparison=_comparison(results),
        too_many=len(systems) > MOST_SYSTEMS,
        per_fold=_per_fold(systems, results) if len(systems) <= MOST_SYSTEMS else None,
        per_speaker=_per_speaker(score),
        belts=_belts(
            score,
            corpus,
            test if shown == "test" else validation,
            {name: parts[shown == "test"] for name, parts in singles.items()},
        ),
        confusions=_confusions(results, corpus.task.classes),
        weights=weights,
        simplex=_simplex(weights),
    )
    write_text(path, text)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _curves(results: Json, curves: Mapping[str, Mapping[int, Path]]) -> dict[str, Markup]:
    figures = {}
    for member, paths in curves.items():
        lines = {fold: read for fold, path in paths.items() if (read := read_json_lines(path))}
        best = {fold["fold"]: fold["best_epoch"] for fold in results["members"][member]["folds"]}
        if lines:
            figures[member] = Markup(plots.learning_curves(member, lines, best, results["measure"]))
    return figures


def _comparison(results: Json) -> Markup | None:
    """The members side by side, where there are several."""
    members = results["members"]
    if len(members) < 2:
        return None
    series = {
        title: {
            name: (member[part]["pooled"], member[part]["interval_95"])
            for name, member in members.items()
            if member[part]["pooled"] is not None
        }
        for part, title in (("cv", "cross-validation, pooled"), ("test", "test"))
    }
    series = {title: points for title, points in series.items() if points}
    lines = {"chance": chance(results["fusion"]["cv"])}
    return (
        Markup(plots.dots("members", series, measure=results["measure"], rows="member", lines=lines))
        if series
        else None
    )


def _systems(results: Json) -> dict[str, Json]:
    """The cross-validation of each member, and of the fusion where there are several."""
    systems = {name: member["cv"] for name, member in results["members"].items()}
    return systems | ({"fusion": results["fusion"]["cv"]} if len(systems) > 1 else {})


def _per_fold(systems: Mapping[str, Json], results: Json) -> Markup | None:
    series = {
        name: _points(cv["per_fold"], cv["per_fold_interval_95"]) for name, cv in systems.items() if cv["per_fold"]
    }
    if not any(series.values()):
        return None
    cv = results["fusion"]["cv"]
    lines = {"mean of folds": cv["mean_of_folds"], "pooled": cv["pooled"], "chance": chance(cv)}
    lines = {label: value for label, value in lines.items() if value is not None}
    return Markup(plots.dots("folds", series, measure=results["measure"], rows="fold", lines=lines))


def _per_speaker(score: Json) -> Markup | None:
    points = _points(score["per_speaker"], score["per_speaker_interval_95"])
    if not points:
        return None
    points = dict(sorted(points.items(), key=lambda item: -item[1][0]))
    lines = {"pooled": score["pooled"], "mean": score["mean_per_speaker"], "chance": chance(score)}
    lines = {label: value for label, value in lines.items() if value is not None}
    return Markup(plots.dots("speakers", {"speaker": points}, measure=score["measure"], rows="speaker", lines=lines))


def _points(values: Json, intervals: Json) -> dict[str, tuple[float, list[float] | None]]:
    return {key: (value, intervals.get(key)) for key, value in values.items() if value is not None}


def _belts(score: Json, corpus: Corpus, predictions: Predictions, singles: Mapping[str, Predictions]) -> Markup | None:
    """The first recording of the best, the median and the worst speaker."""
    ranked = sorted((value, name) for name, value in score["per_speaker"].items() if value is not None)
    if corpus.task.kind != "sequence" or not ranked:
        return None
    first: dict[str, Recording] = {}
    predicted = set(predictions.recordings.tolist())
    for recording in corpus.recordings:
        if recording.name in predicted:
            first.setdefault(recording.speaker, recording)
    systems = {"predicted": predictions} | (dict(singles) if len(singles) <= MOST_CURVES else {})
    onto_truth = {name: _onto_truth(part, corpus) for name, part in systems.items()}
    shown = {}
    for rank, place in (("best", len(ranked) - 1), ("median", len(ranked) // 2), ("worst", 0)):
        value, speaker = ranked[place]
        recording = first[speaker]
        series = {}
        for name, part in systems.items():
            scale, offset = onto_truth[name]
            series[name] = scale * _series(part, recording) + offset
        title = f"{rank} of {len(ranked)} speakers: {speaker}, r = {value:.3f}"
        shown.setdefault(speaker, (title, (recording, series)))
    return Markup(plots.belts("sequences", dict(shown.values())))


def _series(predictions: Predictions, recording: Recording) -> np.ndarray:
    """`[label]` what was predicted at the labels of a recording."""
    rows = predictions.select(predictions.recordings == recording.name)
    at = dict(zip(rows.keys["time_us"].tolist(), rows.scores[:, 0], strict=True))
    return np.array([at.get(round(t * 1e6), np.nan) for t in recording.times_s.tolist()])


def _onto_truth(predictions: Predictions, corpus: Corpus) -> tuple[float, float]:
    """The scale (`scale_onto`) and offset, one for all recordings, that bring the predictions nearest to the truth."""
    rows = rows_of(predictions, corpus)
    prediction = rows.scores[:, 0]
    scale = scale_onto(prediction, rows.truth)
    return scale, float(rows.truth.mean() - scale * prediction.mean())


def _confusions(results: Json, classes: Sequence[str]) -> list[Markup]:
    """Of the fusion, and of all members where there are several; the reliability is that of the fusion alone."""

    def drawn(systems: Mapping[str, Json], field: str) -> dict[str, Any]:
        return {
            f"{system}, {part}": scores[key][field]
            for system, scores in systems.items()
            for key, part in (("cv", "cross-validation"), ("test", "test"))
            if scores[key].get(field)
        }

    fusion = {"fusion": results["fusion"]}
    members = results["members"] if 1 < len(results["members"]) <= MOST_SYSTEMS else {}
    reliability = drawn(fusion, "reliability")
    figures = [Markup(plots.reliability("fusion", reliability))] if reliability else []
    for name, systems in (("fusion", fusion), ("members", members)):
        if confusions := drawn(systems, "confusion"):
            matrices = {title: np.array(counts) for title, counts in confusions.items()}
            figures.append(Markup(plots.confusions(name, matrices, classes)))
    return figures


def _weights(results: Json) -> dict[str, dict[str, dict[str, float]]]:
    """By fusion that searches some, {member: {fold: weight}}."""
    return {
        fusion["name"]: {
            name: dict(zip(fusion["cv"]["per_fold"], row, strict=True)) for name, row in fusion["weights"].items()
        }
        for fusion in (results["fusion"], *results["beside"])
        if fusion["weights"]
    }


def _simplex(weights: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Markup | None:
    """The weights of three members as points in a triangle."""
    of_three = {fusion: by_member for fusion, by_member in weights.items() if len(by_member) == 3}
    return Markup(plots.simplex("weights", of_three)) if of_three else None
