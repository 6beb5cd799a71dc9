"""Predictions of runs with several seeds as one, and the page docs/best.md: for `ablation` and `systems`."""

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from jaxpara.corpora.read import read
from jaxpara.corpora.tasks import TASKS, Task
from jaxpara.evaluation.scores import ScoredRows, join
from jaxpara.predictions import KEYS, load, one_per_label
from jaxpara.run import describe, run

HEAD = """# The strongest systems, and what each of their ingredients is worth

Made by `python -m benchmarks.systems TASK`, which runs the strongest system of a task and those of the paper, and by
`python -m benchmarks.ablation CONFIG`, which runs a config with and without each of its ingredients. All figures are of
**simulated** corpora at demo sizes: they show what matters there, and say nothing about the real corpora. Ingredients
were chosen on validation sets like those below, which makes their scores a little too high; test was never chosen on.
"""


@dataclass(frozen=True)
class Finished:
    """A finished run of an experiment."""

    task: Task
    results: dict[str, Any]  # results.json
    workdir: Path
    prefix: str  # of its files, where another experiment ran in the workdir later

    @property
    def seconds(self) -> float:
        """Of training."""
        return self.results["seconds"]

    def rows(self, part: str) -> ScoredRows:
        """Return its predictions of `validation` or `test`, with labels and speakers."""
        return self._joined(self.workdir / "predictions" / f"{self.prefix}{part}.npz")

    def baseline(self) -> ScoredRows:
        """Return the predictions of the simple baseline for test."""
        (path,) = self.workdir.glob("baseline/*.npz")
        return self._joined(path)

    def _joined(self, path: Path) -> ScoredRows:
        corpus = describe(read(Path(self.results["corpus"]["root"]), self.task))
        return join(one_per_label(load(path)), corpus)


def trained(experiment: str, workdir: Path, fields: Mapping[str, Any]) -> Finished:
    """Return the finished run of an experiment in a workdir; where there is none, run it with these fields first."""
    config = importlib.import_module(f"configs.{experiment}").get_config()
    if not (done := _finished(experiment, TASKS[config.corpus.task], workdir)):
        print(workdir, flush=True)
        run(config, overrides=fields, name=experiment, workdir=workdir, mode="train")
        done = _finished(experiment, TASKS[config.corpus.task], workdir)
        assert done
    return done


def _finished(experiment: str, task: Task, workdir: Path) -> Finished | None:
    for prefix in ("", f"{experiment}."):
        path = workdir / f"{prefix}results.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            if results["experiment"] == experiment:
                return Finished(task, results, workdir, prefix)
    return None


def pooled(by_seed: Mapping[int, ScoredRows]) -> ScoredRows:
    """Return the rows of several simulated corpora as one: every seed simulates other speakers."""
    tables = []
    for seed, rows in by_seed.items():
        table = rows.table.sort_values(KEYS).astype({"recording": str})
        tables.append(table.assign(speaker=f"{seed}/" + table["speaker"]))
    return replace(next(iter(by_seed.values())), table=pd.concat(tables))


def write_section(page: Path, name: str, text: str) -> None:
    """Write a section into a page, in the place of its former one; the others stay, in alphabetical order."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    sections = {part.split("\n", 1)[0]: f"## {part.strip()}\n" for part in re.split(r"^## ", old, flags=re.M)[1:]}
    sections[name] = text
    page.write_text("\n".join([HEAD, *(sections[key] for key in sorted(sections))]), encoding="utf-8")
