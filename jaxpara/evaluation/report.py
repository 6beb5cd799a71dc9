"""The report: one HTML file that needs no other file and no network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from jaxpara.config import flat
from jaxpara.errors import UserError
from jaxpara.evaluation import plots
from jaxpara.evaluation.breaths import scale_onto
from jaxpara.evaluation.conclusions import averaged, conclude, cv_name, pooled_cv_name
from jaxpara.evaluation.formatting import Formatter, p_value
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.scores import CorpusData, join
from jaxpara.files import read_json_lines, write_text
from jaxpara.predictions import KEYS, FoldSeed, model_name

Json = Mapping[str, Any]
Point = tuple[float, list[float] | None]  # a score and its interval
Waveform = Callable[[str], tuple[np.ndarray, int]]

MAX_SERIES = 4  # members in one plot
MAX_SYSTEMS = 12  # members drawn one by one; the table and the plot of members show any number


def write(
    path: Path,
    *,
    results: Json,
    data: CorpusData,
    waveform: Waveform,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    singles: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    curves: Mapping[str, Mapping[FoldSeed, Path]],
    config: Json,
    findings: Sequence[str],
) -> None:
    """Write the report of a run.

    Args:
      results: from `results.summarise`.
      waveform: reads a recording of this name; returns `[sample]` and the sample rate in Hz. It raises OSError or
        UserError where the audio cannot be read, and is called for up to three recordings of a sequence task.
      validation, test: the final predictions.
      singles: {member: (validation, test)}, drawn with the fusion.
      curves: {member: {(fold, seed): metrics.jsonl}}; missing files are left out.

    Raises:
      OSError: the file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxpara.evaluation", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    say, fusion = Formatter(results["measure"]), results["fusion"]
    environment.filters |= {
        "number": say.number,
        "interval": say.interval,
        "signed": say.signed,
        "signed_interval": lambda bounds: say.interval(bounds, say.signed),
        "p_value": lambda p: "–" if p is None else p_value(p),
        "percent": Formatter("UAR").number,
        "plain": Formatter("PCC").number,
        "duration": _duration,
        "thousands": lambda value: "–" if value is None else f"{value:,}",
        "model_name": lambda fold: model_name((fold["fold"], fold["seed"])),
        "known": lambda value, otherwise="unknown": otherwise if value is None else value,
    }
    headline, *notes = conclude(results)
    tested = fusion["test"]["pooled"] is not None
    score = fusion["test"] if tested else fusion["cv"]
    drawn = {"predicted": test if tested else validation}
    if len(singles) <= MAX_SERIES:
        drawn |= {name: parts[tested] for name, parts in singles.items()}
    weights = _weights(results)
    of_three = {name: by_member for name, by_member in weights.items() if len(by_member) == 3}
    text = environment.get_template("report.html.j2").render(
        results=results,
        kind=data.kind,
        of_paper=config["corpus"]["task"] != data.kind,
        breathing=data.breathing,
        classes=data.classes,
        headline=headline,
        notes=notes,
        findings=findings,
        config="\n".join(f"{k} = {v!r}" for k, v in flat(config).items() if not k.startswith("demo.")),
        members=config["members"],
        excerpt_s=round(plots.MAX_EXCERPT_S),
        cv_name=cv_name(results),
        cv_name_of_all=cv_name(results, *results["members"]),
        averaged=averaged(results),
        averaged_of_all=averaged(results, *results["members"]),
        # With one model each, the mean of their scores is the score.
        several_models=any(len(member["folds"]) > 1 for member in results["members"].values()),
        shown="test" if tested else cv_name(results),
        tested="test" in results["corpus"]["partitions"],
        guessing=say.guessing,
        curves=_curves(results, curves),
        waiting={member: _waiting(paths.values()) for member, paths in curves.items()},
        comparison=_comparison(results),
        too_many=len(results["members"]) >= MAX_SYSTEMS,
        per_fold=_per_fold(results),
        per_speaker=_per_speaker(score),
        sequences=_sequences(score, data, waveform, drawn) if data.kind == "sequence" else None,
        scatter=_scatter(results, data, validation, test) if data.kind in ("ordinal", "values") else None,
        confusions=_confusions(results, data.classes),
        weights=weights,
        simplex=plots.simplex("weights", of_three) if of_three else None,
    )
    write_text(path, text)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _curves(results: Json, curves: Mapping[str, Mapping[FoldSeed, Path]]) -> dict[str, str]:
    figures = {}
    for member, paths in curves.items():
        lines = {key: read for key, path in paths.items() if (read := read_json_lines(path))}
        best = {(fold["fold"], fold["seed"]): fold["best_epoch"] for fold in results["members"][member]["folds"]}
        if lines:
            figures[member] = plots.learning_curves(member, lines, best, results["measure"])
    return figures


def _waiting(paths: Iterable[Path]) -> float | None:
    """Return the fraction of time that training waited for data, the mean of all lines that have it."""
    found = [line.get("waiting") for path in paths for line in read_json_lines(path)]
    numbers = [value for value in found if isinstance(value, float)]
    return sum(numbers) / len(numbers) if numbers else None


def _points(score: Json, field: str) -> dict[str, Point]:
    """Pair the values in `per_fold` or `per_speaker` with their intervals."""
    bounds = score[f"{field}_interval_95"]
    return {key: (value, bounds[key]) for key, value in score[field].items() if value is not None}


def _comparison(results: Json) -> str | None:
    """Draw the members side by side, where there are several."""
    members = results["members"]
    series = {
        title: {
            name: (member[part]["pooled"], member[part]["interval_95"])
            for name, member in members.items()
            if member[part]["pooled"] is not None
        }
        for part, title in (("cv", pooled_cv_name(results)), ("test", "test"))
    }
    lines = {Formatter(results["measure"]).guessing: results["fusion"]["cv"]["chance"]}
    return _dots("members", series, results["measure"], "member", lines) if len(members) > 1 else None


def _per_fold(results: Json) -> str | None:
    """Draw the folds of each member, and of the fusion where there are several."""
    cv, members = results["fusion"]["cv"], results["members"]
    systems = {name: member["cv"] for name, member in members.items()} | ({"fusion": cv} if len(members) > 1 else {})
    series = {name: _points(system, "per_fold") for name, system in systems.items()}
    several = len(cv["per_fold"]) > 1
    mean = {f"mean of {averaged(results)}": cv["mean_of_folds"]} if several else {}
    lines = mean | {"pooled" if several else "score": cv["pooled"]}
    lines[Formatter(results["measure"]).guessing] = cv["chance"]
    return _dots("folds", series, results["measure"], "fold", lines) if len(members) < MAX_SYSTEMS else None


def _per_speaker(score: Json) -> str | None:
    gain = MEASURE[score["measure"]].gain
    best_first = dict(sorted(_points(score, "per_speaker").items(), key=lambda item: -gain(item[1][0])))
    lines = {"pooled": score["pooled"], "mean per speaker": score["mean_per_speaker"]}
    lines[Formatter(score["measure"]).guessing] = score["chance"]
    return _dots("speakers", {"one speaker": best_first}, score["measure"], "speaker", lines)


def _dots(
    name: str, series: Mapping[str, dict[str, Point]], measure: str, rows: str, lines: Mapping[str, float | None]
) -> str | None:
    series = {title: points for title, points in series.items() if points}
    return plots.dots(name, series, measure=measure, rows=rows, lines=lines) if series else None


def _scatter(results: Json, data: CorpusData, validation: pd.DataFrame, test: pd.DataFrame) -> str | None:
    """Draw the predictions of the fusion against the truth."""
    rows = {f"fusion, {cv_name(results)}": join(validation, data), "fusion, test": join(test, data)}
    systems = {title: (part.truth, part.scores[:, 0]) for title, part in rows.items() if len(part)}
    return plots.scatter("fusion", systems, data.levels) if systems else None


def _sequences(score: Json, data: CorpusData, waveform: Waveform, drawn: Mapping[str, pd.DataFrame]) -> str | None:
    """Draw the first recording of the best, the median and the worst speaker; of unknown speakers, three recordings."""
    say, gain = Formatter(data.measure), MEASURE[data.measure].gain
    predicted = data.labels[data.labels["recording"].isin(drawn["predicted"]["recording"])].dropna(subset="truth")
    ranked = sorted((gain(value), name) for name, value in score["per_speaker"].items() if value is not None)
    chosen: dict[str, str] = {}  # titles by recording; the best of one speaker is also the worst
    for rank, place in (("best", len(ranked) - 1), ("median", len(ranked) // 2), ("worst", 0)) if ranked else ():
        speaker = ranked[place][1]
        recording = predicted["recording"][predicted["speaker"] == speaker].iloc[0]
        value = say.number(score["per_speaker"][speaker])
        title = f"{rank} of {len(ranked)} speakers: {speaker}, {data.measure} = {value}"
        chosen.setdefault(recording, title)
    if score["speakers"] is None:
        recordings = predicted["recording"].unique()
        chosen = {name: name for name in recordings[[0, len(recordings) // 2, -1]]} if len(recordings) else {}
    scaled = {name: _onto_truth(table, data) for name, table in drawn.items()} if chosen else {}
    excerpts = {title: _excerpt(recording, data, waveform, scaled) for recording, title in chosen.items()}
    return plots.sequences("fusion", excerpts, "belt position" if data.breathing else "value") if excerpts else None


def _excerpt(
    recording: str, data: CorpusData, waveform: Waveform, systems: Mapping[str, pd.DataFrame]
) -> plots.Excerpt:
    labels = data.labels[data.labels["recording"] == recording]
    labels = labels[plots.middle(labels["time_s"].to_numpy())]
    times_s = labels["time_s"].to_numpy()
    try:
        level_db = plots.level_of(*waveform(recording), times_s)
    except (OSError, UserError):
        level_db = None
    series = {name: labels[KEYS].merge(table, how="left", on=KEYS)["score_0"] for name, table in systems.items()}
    series = {name: values.to_numpy() for name, values in series.items()}
    return plots.Excerpt(times_s, labels["truth"].to_numpy(), series, level_db)


def _onto_truth(predictions: pd.DataFrame, data: CorpusData) -> pd.DataFrame:
    """Bring predictions to one scale (`scale_onto`) and offset, those of the truth, where the measure ignores both."""
    scale, offset = 1.0, 0.0
    if data.measure == "PCC":
        rows = join(predictions, data)
        truth, prediction = rows.truth, rows.scores[:, 0]
        scale = scale_onto(prediction, truth)
        offset = float(truth.mean() - scale * prediction.mean())
    return predictions[KEYS].assign(score_0=scale * predictions["score_0"] + offset).drop_duplicates(KEYS, keep="last")


def _confusions(results: Json, classes: Sequence[str]) -> list[str]:
    """Draw the reliability of the fusion, and the confusions of the fusion and of all members."""

    def of(systems: Mapping[str, Json], field: str) -> dict[str, Any]:
        return {
            f"{system}, {part}": scores[key][field]
            for system, scores in systems.items()
            for key, part in (("cv", cv_name(results)), ("test", "test"))
            if scores[key].get(field)
        }

    fusion = {"fusion": results["fusion"]}
    members = results["members"] if 1 < len(results["members"]) <= MAX_SYSTEMS else {}
    reliability = of(fusion, "reliability")
    figures = [plots.reliability("fusion", reliability)] if reliability else []
    for name, systems in (("fusion", fusion), ("members", members)):
        if matrices := of(systems, "confusion"):
            figures.append(plots.confusions(name, {title: np.array(c) for title, c in matrices.items()}, classes))
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
