"""The predictions of several systems for the same recordings: from workdirs of runs and from submission files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxpara.corpora import labels
from jaxpara.corpora.challenge import read
from jaxpara.corpora.corpus import Corpus, Task
from jaxpara.corpora.findings import Findings, quote
from jaxpara.corpora.tasks import TASKS, task_named
from jaxpara.errors import UserError
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.rows import Rows, label_keys, rows_of
from jaxpara.predictions import Predictions, averaged, faults, places

AGAIN = "run the command of that run once more, they are written without training"


@dataclass(frozen=True, eq=False)
class Systems:
    """What is compared.

    Attributes:
      part: `test`, or `validation` where the test partition has no truth: the recordings that the folds were tuned on.
      rows: {system: its predictions}, row for row of the same labels.
    """

    corpus: Corpus
    part: str
    rows: dict[str, Rows]


@dataclass(frozen=True)
class Run:
    """What results.json says of a run: its task, the root of its corpus, and by part its pooled score."""

    task: str
    root: Path
    pooled: dict[str, float | None]


def load(paths: Sequence[Path], root: Path | None = None, task: str | None = None) -> Systems:
    """Reads systems and the corpus that they predict.

    Args:
      paths: workdirs of finished runs, or CSVs in the format of `submission.write`.
      root: of the corpus; None where a workdir knows it.
      task: a key of `TASKS`, where neither a workdir nor the CSVs tell it.

    Raises:
      UserError: something of it cannot be read, or the systems are not of the same corpus, task and labels.
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} system to compare, expected two or more workdirs or prediction files")
    names = _names(paths)
    runs = {path: _run(path) for path in paths if path.is_dir()}
    tables_of = {path: _table(path) for path in paths if path not in runs}
    corpus = read(*_corpus(runs, list(tables_of.values()), root, task))
    test = corpus.partition("test")
    part = "test" if any(np.isfinite(recording.truth).any() for recording in test) else "validation"
    if part == "validation" and tables_of:
        raise UserError(
            f"{corpus.label_file}: the test partition has no truth, and {next(iter(tables_of))} predicts nothing else;"
            " add lab/labels_confidential.csv, or compare workdirs, which have predictions for other recordings too"
        )
    wanted = label_keys(test) if part == "test" else None
    which = "labels of the test partition" if part == "test" else f"labels that {paths[0]} was tuned on"
    rows: dict[str, Rows] = {}
    for path, name in zip(paths, names, strict=True):
        fits = _of_run(path, part) if path in runs else _of_table(tables_of[path], corpus)
        predictions = averaged(fits)
        wanted = predictions.keys if wanted is None else wanted
        rows[name] = rows_of(_checked(path, predictions, wanted, which, corpus), corpus)
        if path in runs:
            _recognise(path, rows[name] if predictions is fits else rows_of(fits, corpus), runs[path].pooled[part])
    return Systems(corpus, part, rows)


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where two are alike."""
    twice = [path for path, times in Counter(path.resolve() for path in paths).items() if times > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice; a system does not differ from itself")
    short = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    # A file name may hold line breaks and terminal escapes.
    return ["".join(c if c.isprintable() else "?" for c in name) for name in names]


def _run(workdir: Path) -> Run:
    path = workdir / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        fusion = results["fusion"]
        told = {"test": fusion["test"]["pooled"], "validation": fusion["cv"]["pooled"]}
        pooled = {part: None if value is None else float(value) for part, value in told.items()}
        return Run(results["task"], Path(results["corpus"]["root"]), pooled)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the workdir of a finished run, or a CSV of predictions") from None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: not the results of a run ({error!r}); run the command of that run again") from error


def _corpus(
    runs: Mapping[Path, Run], files: Sequence[labels.Table], root: Path | None, task: str | None
) -> tuple[Path, Task]:
    """The root of the one corpus and its task."""
    _same("task", {path: run.task for path, run in runs.items()})
    if root is None:
        mend = "; where both are copies of one corpus, give --corpus=ROOT"
        _same("corpus", {path: str(run.root.resolve()) for path, run in runs.items()}, mend)
    if not runs:
        if root is None:
            raise UserError("no corpus: give --corpus=ROOT with prediction files, or a workdir beside them")
        return root, _task(files[0], root, task)
    path, run = next(iter(runs.items()))
    if root is None and not run.root.exists():
        raise UserError(f"{path / 'results.json'}: its corpus {run.root} is not there; give --corpus=ROOT")
    for known in TASKS.values():
        if known.name == run.task:
            return root or run.root, known
    raise UserError(f"{path / 'results.json'}: the task {run.task!r} is not known; run the command of that run again")


def _same(what: str, of_runs: Mapping[Path, str], mend: str = "") -> None:
    first, *others = of_runs.items() or [(None, None)]
    for path, value in others:
        if value != first[1]:
            raise UserError(
                f"{path} is a run on the {what} {value}, {first[0]} one on {first[1]}; only systems for the same"
                f" recordings can be compared{mend}"
            )


def _task(table: labels.Table, root: Path, wanted: str | None) -> Task:
    """The task that a CSV is for: as the user says, else by its columns and the classes that it names."""
    if wanted is not None:
        return task_named(wanted, "--task")
    if set(labels.TIME_COLUMNS) & set(table.cells):
        fitting = {name: task for name, task in TASKS.items() if task.kind == "sequence"}
    else:
        used = set(table.column(("prediction",), "prediction"))
        fitting = {name: task for name, task in TASKS.items() if used <= set(task.classes)}
    by_folder = [task for task in fitting.values() if task.name in root.resolve().parts]
    candidates = by_folder or list(fitting.values())
    if len(candidates) != 1:
        several = ", ".join(fitting or TASKS)
        raise UserError(f"{table.path}: its predictions do not tell the task; give --task, one of {several}")
    return candidates[0]


def _table(path: Path) -> labels.Table:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; give workdirs of finished runs, or CSVs of predictions")
    findings = Findings()
    table = labels.read_table(path, findings)
    if errors := findings.count("error"):
        raise UserError(f"{findings.listed()[0]} ({errors} such rows)")
    return table


def _of_run(workdir: Path, part: str) -> Predictions:
    path = workdir / "predictions" / f"{part}.npz"
    if not path.exists():
        raise UserError(f"{path}: no such predictions; {AGAIN}")
    return Predictions.load(path)


def _of_table(table: labels.Table, corpus: Corpus) -> Predictions:
    task = corpus.task
    recordings = np.array(table.column(labels.NAME_COLUMNS, "file name").tolist())
    texts = table.column(("prediction",), "prediction").tolist()
    if task.kind == "classes":
        times_s = np.zeros(len(texts))
        number_of = {name: number for number, name in enumerate(task.classes)}
        classes = np.array([number_of.get(text, -1) for text in texts])
        _refuse(table, texts, classes < 0, f"one of {', '.join(task.classes)}")
        scores = np.eye(len(task.classes))[classes]
    else:
        times_s = _numbers(table, table.column(labels.TIME_COLUMNS, "time").tolist(), "seconds")
        scores = _numbers(table, texts, "a finite number")[:, None]
    partitions = np.full(len(texts), "test")
    return Predictions(recordings, times_s, scores, partitions, np.full(len(texts), -1))


def _numbers(table: labels.Table, texts: list[str], expected: str) -> np.ndarray:
    values = labels.numbers(texts)
    # Beyond 12 days a time in microseconds has no place in a key; no belt gets there either.
    _refuse(table, texts, ~(np.abs(values) < labels.MAX_VALUE), expected)
    return values


def _refuse(table: labels.Table, texts: list[str], bad: np.ndarray, expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        name = table.column(labels.NAME_COLUMNS, "file name").iloc[at]
        raise UserError(
            f"{table.path}, row {table.cells.index[at]}: {quote(texts[at])} for {quote(name)}, expected {expected}"
            f" ({bad.sum()} such rows); correct them"
        )


def _checked(path: Path, predictions: Predictions, wanted: np.ndarray, which: str, corpus: Corpus) -> Predictions:
    """The predictions in the order of the wanted keys.

    Raises:
      UserError: rows that are missing, extra, doubled or not finite, or scores of another task.
    """
    columns = len(corpus.task.classes) or 1
    if predictions.scores.shape[1] != columns:
        raise UserError(
            f"{path}: {predictions.scores.shape[1]} scores a row, expected {columns} for {corpus.task.name};"
            " these are predictions for another task"
        )
    found = places(predictions.keys, wanted)
    if found is None or not np.isfinite(predictions.scores).all():
        wrong = faults(predictions, wanted.tolist(), "of no such label")
        raise UserError(
            f"{path}: of the {len(wanted)} {which} and the {len(predictions)} predictions for them, {wrong}; systems"
            f" are compared on exactly the same labels of {corpus.root}"
        )
    return predictions.select(found)


def _recognise(path: Path, rows: Rows, told: float | None) -> None:
    """Refuses predictions that do not reach the score that their own run says they reach."""
    try:
        value = rows.value()
    except Undefined:
        return
    if told is not None and abs(value - told) > 1e-6:
        raise UserError(
            f"{path}: its predictions reach a {rows.task.measure} of {value:.4f} on this corpus, its results.json says"
            f" {told:.4f}; give the corpus that it was run on, or, if its labels were corrected since, run the command"
            " of that run once more"
        )
