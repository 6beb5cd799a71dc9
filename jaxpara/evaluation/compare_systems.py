"""Comparison of systems on the same recordings: their differences, with intervals and p-values.

A system is the workdir of a run, or a CSV in the challenge's submission format. Systems are compared on the test
partition where its truth is available, else (workdirs only) on the validation sets. The truth of a sub-challenge is
read from its corpus, that of any other corpus from the predictions.csv of the first workdir.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara.errors import UserError
from jaxpara.evaluation import comparison_report, submission
from jaxpara.evaluation.metrics import defined
from jaxpara.evaluation.paired import Comparison
from jaxpara.evaluation.scores import CorpusData, ScoredRows, join
from jaxpara.predictions import KEYS, load, match, one_per_label, score_columns
from jaxpara.registry import require_one_of

TOLERANCE = 1e-6  # between a run's score here and in its results.json
Tasks = Mapping[str, Any]  # {value of --task: object with `name`, `kind`, `target` and `classes`}


@dataclass(frozen=True)
class Run:
    """The results.json of a run.

    Attributes:
      task, root: name of the task, and root of the corpus.
      pooled: its pooled score by part.
      simulated: True if the audio was made by jaxpara.
      measure: its official measure; empty in runs of older versions.
      described: the fields of its task, from its system.json; empty without one.
    """

    task: str
    root: Path
    pooled: dict[str, float | None]
    simulated: bool
    measure: str
    described: Mapping[str, Any]

    def task_key(self, tasks: Tasks) -> str | None:
        """Return the key of its task in `tasks`, None for a task that is only described in the workdir."""
        wanted = {field: self.described[field] for field in ("kind", "target") if self.described}
        for key, known in tasks.items():
            if known.name == self.task and all(getattr(known, field) == value for field, value in wanted.items()):
                return key
        return None


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
    root, key = _corpus(runs, files, root, task, tasks)
    data = _data_of(next(iter(runs)), next(iter(runs.values()))) if key is None else read(root, key)
    if measure := next((run.measure for run in runs.values()), ""):
        data = replace(data, measure=measure)
    labels, part = data.of_partition("test"), "test"
    if labels["truth"].isna().all():
        part = "validation"
        if files:
            raise UserError(
                f"{data.label_file}: the test partition has no truth, and {next(iter(files))} predicts nothing else;"
                " add lab/labels_confidential.csv, or compare workdirs, which have predictions of other recordings too"
            )
    systems: dict[str, ScoredRows] = {}
    for path, name in zip(paths, names, strict=True):
        saved = path / "predictions" / f"{part}.npz"
        models = load(saved) if path in runs else submission.predictions_in(path, files[path], data)
        predictions = one_per_label(models)
        if part == "validation" and not systems:
            labels = predictions
        which = "labels of the test partition" if part == "test" else f"labels of the validation sets of {paths[0]}"
        systems[name] = join(_matched(path, predictions, labels, which, data), data)
        if path in runs:
            _require_same_score(path, join(models, data), data.measure, runs[path].pooled[part])
    comparison = Comparison(systems, data, part)
    print(comparison_report.text(comparison), end="")
    if output is not None:
        comparison_report.write(output, comparison)


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
        system = workdir / "system.json"
        described = json.loads(system.read_text(encoding="utf-8"))["task"] if system.exists() else {}
        if not isinstance(described, dict):  # a run of an older version
            described = {}
        root, simulated = Path(results["corpus"]["root"]), results.get("simulated", False)
        return Run(results["task"], root, pooled, simulated, results.get("measure", ""), described)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the workdir of a finished run, or a CSV of predictions") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: not the results of a run ({error!r}); run the command of that run again") from error


def _corpus(
    runs: Mapping[Path, Run], files: Mapping[Path, pd.DataFrame], root: Path | None, task: str | None, tasks: Tasks
) -> tuple[Path, str | None]:
    """Find the root of the one corpus and the key of its task, None for a task that is only described in workdirs."""
    if not runs:
        if root is None:
            raise UserError("no corpus: give --corpus_root with prediction files, or add a workdir")
        return root, _task(*next(iter(files.items())), root, task, tasks)
    path, run = next(iter(runs.items()))

    def require_same(what: str, values: Sequence[Any], fix: str = "") -> None:
        for other, value in zip(runs, values, strict=True):
            if value != values[0]:
                raise UserError(
                    f"{other} is a run on the {what} {value}, {path} one on {values[0]}; only systems for the same"
                    f" recordings can be compared{fix}"
                )

    require_same("task", [run.task for run in runs.values()])
    target = next((run.described["target"] for run in runs.values() if run.described), "")
    require_same("target", [run.described.get("target", target) for run in runs.values()])
    measures = [run.measure for run in runs.values()]
    if len(set(measures)) > 1:
        raise UserError(
            f"the systems have the measures {' and '.join(sorted(set(measures)))}, expected one for all; give each run"
            " the same --config.corpus.measure with --mode=evaluate"
        )
    if root is None:
        fix = "; where both are copies of one corpus, give --corpus_root"
        require_same("corpus", [run.root.resolve() for run in runs.values()], fix)
    key = run.task_key(tasks)
    if key is None and not run.described:
        raise UserError(
            f"{path / 'results.json'}: the task {run.task!r} is not known; run the command of that run again"
        )
    if key is not None and root is None and not run.root.exists():
        raise UserError(f"{path / 'results.json'}: its corpus {run.root} does not exist; give --corpus_root")
    return root or run.root, key


def _data_of(workdir: Path, run: Run) -> CorpusData:
    """Return the facts about a corpus that are in the workdir of a run on it: its labels are in predictions.csv."""
    path, kind = workdir / "predictions.csv", run.described["kind"]
    classes = tuple(run.described["classes"]) if kind == "classes" else ()
    try:
        texts = {name: str for name in ("file", "speaker", "partition", *(["truth"] if classes else []))}
        table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"truth": "", "time": ""})
        truth = table["truth"]
        columns = {
            "recording": table["file"],
            "time_s": table["time"].round(6) if "time" in table else 0.0,
            "partition": table["partition"],
            "speaker": table["speaker"],
            "truth": pd.Series(pd.Index(classes).get_indexer(pd.Index(truth))).where(truth.notna())
            if classes
            else truth,
        }
        labels = pd.DataFrame(columns).astype({"time_s": float, "truth": float}).drop_duplicates(KEYS)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not readable as the predictions of a run ({error}); run the command of that run again"
        ) from error
    return CorpusData(str(run.root), str(path), run.simulated, run.task, kind, run.measure, classes, labels, {})


def _task(path: Path, cells: pd.DataFrame, root: Path, wanted: str | None, tasks: Tasks) -> str:
    """Return the task that the user gives, or find it by the columns and classes of a CSV."""
    if wanted is not None:
        require_one_of("--task", wanted, tasks)
        return wanted
    kinds = {key: task.kind for key, task in tasks.items()}
    if "time" in cells:
        fitting = [key for key, kind in kinds.items() if kind == "sequence"]
    else:
        found = set(cells["prediction"])
        fitting = [key for key, kind in kinds.items() if kind == "classes" and found <= set(tasks[key].classes)]
    if not fitting and "time" not in cells and pd.to_numeric(cells["prediction"], errors="coerce").notna().all():
        fitting = [key for key, kind in kinds.items() if kind in ("ordinal", "values")]
    candidates = [key for key in fitting if tasks[key].name in root.resolve().parts] or fitting
    if len(candidates) != 1:
        several = ", ".join(fitting or tasks)
        raise UserError(f"{path}: its predictions fit several tasks or none; give --task, one of {several}")
    return candidates[0]


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
    value = defined({}, "value", rows.value)
    if value is not None and reported is not None and abs(value - reported) > TOLERANCE * max(1.0, reported):
        raise UserError(
            f"{path}: its predictions reach a {measure} of {value:.4f} on this corpus, but its results.json has"
            f" {reported:.4f}; give the corpus of that run, or, if its labels were corrected since, run the command of"
            " that run again"
        )
