"""Comparison of systems on the same recordings: their differences, with intervals and p-values.

A system is the workdir of a run, or a CSV in the challenge's submission format. Systems are compared on the test
partition where its truth is available, else (workdirs only) on the validation sets.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara.errors import UserError
from jaxpara.evaluation import comparison_report, intervals, submission
from jaxpara.evaluation.comparison_report import Comparison, SystemScore
from jaxpara.evaluation.metrics import Undefined, defined
from jaxpara.evaluation.paired import difference, holm
from jaxpara.evaluation.scores import CorpusData, ScoredRows, join
from jaxpara.evaluation.submission import SubmissionFile
from jaxpara.predictions import KEYS, MODEL, load, match, score_columns, scores_of, table_of
from jaxpara.registry import require_one_of

TOLERANCE = 1e-6  # between a run's score here and in its results.json
Tasks = Mapping[str, Any]  # {value of --task: object with `name` and `classes`}


@dataclass(frozen=True)
class Run:
    """The results.json of a run: its task, the root of its corpus, and its pooled score by part."""

    task: str
    root: Path
    pooled: dict[str, float | None]


def run(
    paths: Sequence[Path],
    root: Path | None,
    task: str | None,
    output: Path | None,
    *,
    tasks: Tasks,
    read: Callable[[Path, str], CorpusData],
) -> None:
    """Compare systems, print the comparison, and write it to a folder where one is given.

    Args:
      paths: workdirs of finished runs, or CSVs in the format of `submission.write`; two or more.
      root: of the corpus; None where a workdir names it.
      task: a key of `tasks`; None to use that of a workdir, or the one that the CSVs fit.
      output: the folder for comparison.txt, .csv, .md, .tex and .svg.
      tasks: all tasks.
      read: reads the corpus at a root, of a key of `tasks`.

    Raises:
      UserError: something cannot be read, or the systems are not for the same corpus, task and labels.
      OSError: a file cannot be written.
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} system to compare, expected two or more workdirs or prediction files")
    names = _names(paths)
    runs = {path: _run(path) for path in paths if path.is_dir()}
    files = {path: submission.read(path) for path in paths if path not in runs}
    data = read(*_corpus(runs, files, root, task, tasks))
    part = "test" if data.of_partition("test")["truth"].notna().any() else "validation"
    if part == "validation" and files:
        raise UserError(
            f"{data.label_file}: the test partition has no truth, and {next(iter(files))} predicts nothing else; add"
            " lab/labels_confidential.csv, or compare workdirs, which have predictions of other recordings too"
        )
    wanted = data.of_partition("test") if part == "test" else None
    which = "labels of the test partition" if part == "test" else f"labels of the validation sets of {paths[0]}"
    rows: dict[str, ScoredRows] = {}
    for path, name in zip(paths, names, strict=True):
        saved = path / "predictions" / f"{part}.npz"
        models = load(saved) if path in runs else submission.predictions_in(files[path], data)
        predictions = _one_per_label(models)
        wanted = predictions if wanted is None else wanted
        rows[name] = join(_matched(path, predictions, wanted, which, data), data)
        if path in runs:
            _require_same_score(path, join(models, data), data.measure, runs[path].pooled[part])
    comparison = compare(rows, data, part)
    print(comparison_report.text(comparison), end="")
    if output is not None:
        comparison_report.write(output, comparison)


def compare(systems: Mapping[str, ScoredRows], data: CorpusData, part: str) -> Comparison:
    """Score each system, and the difference of every pair.

    Args:
      systems: by name, with the same labels in the same order.
      part: `test` or `validation`.
    """
    pairs = [difference((a, b), systems[a], systems[b]) for a, b in combinations(systems, 2)]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    first = next(iter(systems.values()))
    return Comparison(
        task=data.task,
        measure=data.measure,
        simulated=data.simulated,
        part=part,
        labels=len(first),
        speakers=first.table["speaker"].nunique() if first.speakers_known else None,
        samples=len(first.sample_units()),
        scores=[_score(name, rows) for name, rows in systems.items()],
        differences=[pair if pair.p is None else replace(pair, p_holm=next(corrected)) for pair in pairs],
    )


def _score(name: str, rows: ScoredRows) -> SystemScore:
    undefined: dict[str, str] = {}
    value = defined(rows.value, "value", undefined)
    if value is None:
        return SystemScore(name, None, None, undefined)
    units = rows.speaker_units() if rows.speakers_known else rows.sample_units()
    bounds = defined(lambda: intervals.jackknife_interval(units, rows.measure), "interval_95", undefined)
    return SystemScore(name, value, bounds, undefined)


def _names(paths: Sequence[Path]) -> list[str]:
    """Name each system by the last part of its path, or by the whole path where two are equal."""
    repeated = [path for path, times in Counter(path.resolve() for path in paths).items() if times > 1]
    if repeated:
        raise UserError(f"{repeated[0]} is given twice; give two different systems")
    short = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    # A file name may have line breaks and terminal escapes in it.
    return ["".join(c if c.isprintable() else "?" for c in name) for name in names]


def _run(workdir: Path) -> Run:
    path = workdir / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        fusion = results["fusion"]
        pooled = {"test": fusion["test"]["pooled"], "validation": fusion["cv"]["pooled"]}
        pooled = {part: None if value is None else float(value) for part, value in pooled.items()}
        return Run(results["task"], Path(results["corpus"]["root"]), pooled)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the workdir of a finished run, or a CSV of predictions") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: not the results of a run ({error!r}); run the command of that run again") from error


def _corpus(
    runs: Mapping[Path, Run], files: Mapping[Path, SubmissionFile], root: Path | None, task: str | None, tasks: Tasks
) -> tuple[Path, str]:
    """Find the root of the one corpus and the key of its task."""
    _require_same("task", {path: run.task for path, run in runs.items()})
    if root is None:
        fix = "; where both are copies of one corpus, give --corpus_root"
        _require_same("corpus", {path: str(run.root.resolve()) for path, run in runs.items()}, fix)
    if not runs:
        if root is None:
            raise UserError("no corpus: give --corpus_root with prediction files, or add a workdir")
        return root, _task(next(iter(files.values())), root, task, tasks)
    path, run = next(iter(runs.items()))
    if root is None and not run.root.exists():
        raise UserError(f"{path / 'results.json'}: its corpus {run.root} does not exist; give --corpus_root")
    for key, known in tasks.items():
        if known.name == run.task:
            return root or run.root, key
    raise UserError(f"{path / 'results.json'}: the task {run.task!r} is not known; run the command of that run again")


def _require_same(what: str, of_runs: Mapping[Path, str], fix: str = "") -> None:
    first, *others = of_runs.items() or [(None, None)]
    for path, value in others:
        if value != first[1]:
            raise UserError(
                f"{path} is a run on the {what} {value}, {first[0]} one on {first[1]}; only systems for the same"
                f" recordings can be compared{fix}"
            )


def _task(file: SubmissionFile, root: Path, wanted: str | None, tasks: Tasks) -> str:
    """Return the task that the user gives, or find it by the columns and classes of a CSV."""
    if wanted is not None:
        require_one_of("--task", wanted, tasks)
        return wanted
    if "time" in file.cells:
        fitting = [key for key, task in tasks.items() if not task.classes]
    else:
        classes = set(file.cells["prediction"])
        fitting = [key for key, task in tasks.items() if classes <= set(task.classes)]
    candidates = [key for key in fitting if tasks[key].name in root.resolve().parts] or fitting
    if len(candidates) != 1:
        several = ", ".join(fitting or tasks)
        raise UserError(f"{file.path}: its predictions fit several tasks or none; give --task, one of {several}")
    return candidates[0]


def _one_per_label(models: pd.DataFrame) -> pd.DataFrame:
    """Average the predictions of models with several seeds for the same label."""
    if not models.duplicated(KEYS).any() or models.duplicated([*KEYS, *MODEL]).any():  # the latter is an error
        return models
    mean = models.groupby(KEYS, sort=False)[score_columns(models)].mean().reset_index()
    partitions = models.drop_duplicates(KEYS)["partition"]
    return table_of(mean["recording"], mean["time_s"], partitions, scores_of(mean))


def _matched(path: Path, predictions: pd.DataFrame, wanted: pd.DataFrame, which: str, data: CorpusData) -> pd.DataFrame:
    """Sort predictions into the order of the labels; a UserError if they are not for exactly these labels."""
    count, expected = len(score_columns(predictions)), len(data.classes) or 1
    if count != expected:
        raise UserError(
            f"{path}: {count} scores per row, expected {expected} for {data.task}; these are predictions for another"
            " task"
        )
    try:
        return match(predictions, wanted, "of no such label", finite=True)
    except UserError as error:
        raise UserError(
            f"{path}: of the {len(wanted)} {which} and the {len(predictions)} predictions for them, {error}; systems"
            f" are compared on exactly the same labels of {data.root}"
        ) from None


def _require_same_score(path: Path, rows: ScoredRows, measure: str, reported: float | None) -> None:
    """Refuse predictions whose score is not the one in the results.json of their own run."""
    try:
        value = rows.value()
    except Undefined:
        return
    if reported is not None and abs(value - reported) > TOLERANCE:
        raise UserError(
            f"{path}: its predictions reach a {measure} of {value:.4f} on this corpus, but its results.json has"
            f" {reported:.4f}; give the corpus of that run, or, if its labels were corrected since, run the command of"
            " that run again"
        )
