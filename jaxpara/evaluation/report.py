"""The report: one HTML file that needs no other file and no network."""

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from jaxpara.config import flat
from jaxpara.errors import UserError
from jaxpara.evaluation import plots
from jaxpara.evaluation.breaths import scale_onto
from jaxpara.evaluation.conclusions import chance, conclude, interval, number
from jaxpara.evaluation.scores import CorpusData, join
from jaxpara.files import read_json_lines, write_text
from jaxpara.predictions import KEYS, FoldSeed, model_name

Json = Mapping[str, Any]

MAX_BELTS = 4  # members in one plot
MAX_SYSTEMS = 12  # members drawn one by one; the table and the plot of members show any number
RECIPES = {
    "recommended": "based on the authors’ published code, with its errors fixed",
    "paper": "the text of the paper to the letter",
    "published": "what the authors’ published code does, errors included",
}
FUSIONS = {
    "mean": "the mean, in which every model has the same weight",
    "select": "the one member with the best validation score, averaged over folds",
    "best": "in each fold, the member with the best score on the validation set",
    "grid": "a weighted mean of two members; of evenly spaced weights, those with the best score on the validation set",
    "dirichlet": "a weighted mean; of many random weights, those with the best score on the validation set",
    "convex": "a weighted mean, with the weights that give the highest correlation on the validation set",
}


def write(
    path: Path,
    *,
    results: Json,
    data: CorpusData,
    waveform: Callable[[str], tuple[np.ndarray, int]],
    validation: pd.DataFrame,
    test: pd.DataFrame,
    singles: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    curves: Mapping[str, Mapping[FoldSeed, Path]],
    config: Json,
    findings: Sequence[str],
) -> None:
    """Write the report of a run.

    Args:
      path: the HTML file.
      results: from `results.summarise`.
      data: the corpus.
      waveform: reads a recording of this name; returns `[sample]` and the sample rate in Hz. It raises OSError or
        UserError where the audio cannot be read, and is called for up to three recordings of a sequence task.
      validation, test: the final predictions.
      singles: {member: (validation, test)}, drawn with the fusion.
      curves: {member: {(fold, seed): metrics.jsonl}}; missing files are left out.
      config: as it ran.
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
        "model_name": lambda fold: model_name((fold["fold"], fold["seed"])),
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
        sequence=not data.classes,
        classes=data.classes,
        headline=sentences[0],
        notes=sentences[1:],
        findings=findings,
        config="\n".join(f"{k} = {v!r}" for k, v in flat(config).items() if not k.startswith("demo.")),
        members={name: _describe(member) for name, member in config["members"].items()},
        fusions=FUSIONS,
        recipes=RECIPES,
        several_seeds=any(member["seeds"] for member in results["members"].values()),
        excerpt_s=round(plots.MAX_EXCERPT_S),
        shown=shown,
        curves=_curves(results, curves),
        comparison=_comparison(results),
        too_many=len(systems) > MAX_SYSTEMS,
        per_fold=_per_fold(systems, results) if len(systems) <= MAX_SYSTEMS else None,
        per_speaker=_per_speaker(score),
        belts=_belts(
            score,
            data,
            waveform,
            test if shown == "test" else validation,
            {name: parts[shown == "test"] for name, parts in singles.items()},
        ),
        confusions=_confusions(results, data.classes),
        weights=weights,
        simplex=_simplex(weights),
    )
    write_text(path, text)


def _describe(member: Json) -> str:
    """Describe a member: `resnet18 on mel_image, trained with adam`."""
    learner, features = member["learner"], member["features"]
    of = f" of {', '.join(features['of'])}" if "of" in features else ""
    optimizer = f", trained with {learner['optimizer']['name']}" if "optimizer" in learner else ""
    return f"{learner.get('model', learner)['name']} on {features['name']}{of}{optimizer}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _curves(results: Json, curves: Mapping[str, Mapping[FoldSeed, Path]]) -> dict[str, Markup]:
    figures = {}
    for member, paths in curves.items():
        lines = {key: read for key, path in paths.items() if (read := read_json_lines(path))}
        best = {(fold["fold"], fold["seed"]): fold["best_epoch"] for fold in results["members"][member]["folds"]}
        if lines:
            figures[member] = Markup(plots.learning_curves(member, lines, best, results["measure"]))
    return figures


def _comparison(results: Json) -> Markup | None:
    """Draw the members side by side, where there are several."""
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
    """Return the cross-validation of each member, and of the fusion where there are several."""
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
    return Markup(plots.dots("folds", series, measure=results["measure"], rows="fold", lines=lines))


def _per_speaker(score: Json) -> Markup | None:
    points = _points(score["per_speaker"], score["per_speaker_interval_95"])
    if not points:
        return None
    points = dict(sorted(points.items(), key=lambda item: -item[1][0]))
    lines = {"pooled": score["pooled"], "mean per speaker": score["mean_per_speaker"], "chance": chance(score)}
    return Markup(
        plots.dots("speakers", {"one speaker": points}, measure=score["measure"], rows="speaker", lines=lines)
    )


def _points(values: Json, intervals: Json) -> dict[str, tuple[float, list[float] | None]]:
    return {key: (value, intervals.get(key)) for key, value in values.items() if value is not None}


def _belts(
    score: Json,
    data: CorpusData,
    waveform: Callable[[str], tuple[np.ndarray, int]],
    predictions: pd.DataFrame,
    singles: Mapping[str, pd.DataFrame],
) -> Markup | None:
    """Draw the first recording of the best, the median and the worst speaker."""
    ranked = sorted((value, name) for name, value in score["per_speaker"].items() if value is not None)
    if data.classes or not ranked:
        return None
    systems = {"predicted": predictions} | (dict(singles) if len(singles) <= MAX_BELTS else {})
    scaled = {name: _onto_truth(table, data) for name, table in systems.items()}
    predicted = data.labels[data.labels["recording"].isin(predictions["recording"])]
    excerpts = {}
    for rank, place in (("best", len(ranked) - 1), ("median", len(ranked) // 2), ("worst", 0)):
        value, speaker = ranked[place]
        recording = predicted["recording"][predicted["speaker"] == speaker].iloc[0]
        title = f"{rank} of {len(ranked)} speakers: {speaker}, r = {value:.3f}"
        if speaker not in excerpts:  # the best of one speaker is also the worst
            excerpts[speaker] = title, _excerpt(recording, data, waveform, scaled)
    return Markup(plots.belts("sequences", dict(excerpts.values())))


def _excerpt(
    recording: str,
    data: CorpusData,
    waveform: Callable[[str], tuple[np.ndarray, int]],
    systems: Mapping[str, pd.DataFrame],
) -> plots.Excerpt:
    labels = data.labels[data.labels["recording"] == recording]
    labels = labels[plots.middle(labels["time_s"].to_numpy())]
    times_s = labels["time_s"].to_numpy()
    try:
        level_db = plots.level_of(*waveform(recording), times_s)
    except (OSError, UserError):
        level_db = None
    belts = {name: labels[KEYS].merge(table, how="left", on=KEYS)["score_0"] for name, table in systems.items()}
    belts = {name: belt.to_numpy() for name, belt in belts.items()}
    return plots.Excerpt(times_s, labels["truth"].to_numpy(), belts, level_db)


def _onto_truth(predictions: pd.DataFrame, data: CorpusData) -> pd.DataFrame:
    """Bring predictions to the scale (`scale_onto`) and offset of the truth, the same for all recordings."""
    rows = join(predictions, data)
    truth, prediction = rows.truth, rows.scores[:, 0]
    scale = scale_onto(prediction, truth)
    offset = float(truth.mean() - scale * prediction.mean())
    return predictions[KEYS].assign(score_0=scale * predictions["score_0"] + offset).drop_duplicates(KEYS, keep="last")


def _confusions(results: Json, classes: Sequence[str]) -> list[Markup]:
    """Draw the reliability of the fusion, and the confusions of the fusion and of all members."""

    def drawn(systems: Mapping[str, Json], field: str) -> dict[str, Any]:
        return {
            f"{system}, {part}": scores[key][field]
            for system, scores in systems.items()
            for key, part in (("cv", "cross-validation"), ("test", "test"))
            if scores[key].get(field)
        }

    fusion = {"fusion": results["fusion"]}
    members = results["members"] if 1 < len(results["members"]) <= MAX_SYSTEMS else {}
    reliability = drawn(fusion, "reliability")
    figures = [Markup(plots.reliability("fusion", reliability))] if reliability else []
    for name, systems in (("fusion", fusion), ("members", members)):
        if confusions := drawn(systems, "confusion"):
            matrices = {title: np.array(counts) for title, counts in confusions.items()}
            figures.append(Markup(plots.confusions(name, matrices, classes)))
    return figures


def _weights(results: Json) -> dict[str, dict[str, dict[str, float]]]:
    """Return {fusion: {member: {model: weight}}} for the fusions that search weights."""
    return {
        fusion["name"]: {
            name: dict(zip(fusion["cv"]["per_fold"], row, strict=True))
            for name, row in fusion["searched_weights"].items()
        }
        for fusion in (results["fusion"], *results["also_scored"])
        if fusion["searched_weights"]
    }


def _simplex(weights: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Markup | None:
    """Draw the weights of three members as points in a triangle."""
    of_three = {fusion: by_member for fusion, by_member in weights.items() if len(by_member) == 3}
    return Markup(plots.simplex("weights", of_three)) if of_three else None
