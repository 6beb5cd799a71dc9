"""Predictions of runs with several seeds as one, and the page docs/best.md: for `ablation` and `systems`."""

import argparse
import importlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
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

Made by `python -m benchmarks.systems NAME`, which runs the strongest system of a task and those of the paper, and by
`python -m benchmarks.ablation CONFIG`, which runs a config with and without each of its ingredients. All figures are of
**simulated** corpora: they show what matters there, and say nothing about the real corpora. The systems of the paper
have the sizes of the demo (few epochs, small inputs, no pretrained weights), as their full ones need a GPU; the
strongest systems are small enough to run as they are. Ingredients were chosen on validation sets like those below,
which makes their scores a little too high; nothing was chosen on test.
"""


def arguments(doc: str | None, names: Iterable[str], *, seeds: str, runs: str) -> argparse.Namespace:
    """Read the command line: `name`, one of these; `seeds`, a list; the folder `runs`; and the page `out`.

    Args:
      doc: the text of --help.
      seeds, runs: the defaults.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(names))
    parser.add_argument("--seeds", default=seeds, help="with commas between them; each is another simulated corpus")
    parser.add_argument("--runs", type=Path, default=Path(runs), help="the folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("docs/best.md"), help="the page; other sections of it stay")
    flags = parser.parse_args()
    flags.seeds = [int(seed) for seed in flags.seeds.split(",")]
    return flags


@dataclass(frozen=True)
class Run:
    """A run of an experiment in a workdir, which may have runs of other experiments too."""

    experiment: str
    task: Task
    workdir: Path

    @property
    def finished(self) -> bool:
        path = self._own("results.json")
        return path.exists() and self.results["experiment"] == self.experiment

    @property
    def results(self) -> dict[str, Any]:
        """The content of its results.json."""
        return json.loads(self._own("results.json").read_text(encoding="utf-8"))

    def rows(self, part: str) -> ScoredRows:
        """Return its predictions of `validation` or `test`, with labels and speakers."""
        return self._joined(self._own(f"predictions/{part}.npz"))

    def baseline(self) -> ScoredRows:
        """Return the predictions of the simple baseline for test."""
        (path,) = self.workdir.glob("baseline/*.npz")
        return self._joined(path)

    def _own(self, file: str) -> Path:
        """Return the path of a file, which is named after the experiment once another one ran in the workdir."""
        path = self.workdir / file
        renamed = path.with_name(f"{self.experiment}.{path.name}")
        return renamed if renamed.exists() else path

    def _joined(self, path: Path) -> ScoredRows:
        corpus = describe(read(Path(self.results["corpus"]["root"]), self.task))
        return join(one_per_label(load(path)), corpus)


def trained(experiment: str, workdir: Path, fields: Mapping[str, Any]) -> Run:
    """Run an experiment with these fields in a workdir, unless it finished there before."""
    config = importlib.import_module(f"configs.{experiment}").get_config()
    its = Run(experiment, TASKS[config.corpus.task], workdir)
    if not its.finished:
        print(workdir, flush=True)
        run(config, overrides=fields, name=experiment, workdir=workdir, mode="train")
    return its


def corpora_of(seeds: Sequence[int]) -> str:
    """Return the number of seeds and of their simulated corpora, in words."""
    if len(seeds) == 1:
        return "1 seed and its simulated corpus"
    return f"{len(seeds)} seeds, each with a simulated corpus of its own"


def heading(title: str, seeds: Sequence[int]) -> str:
    """Return the heading of a section; one about a single seed names it, so that it stays next to those of others."""
    return f"## {title}" if len(seeds) > 1 else f"## {title}, seed {seeds[0]}"


def command(module: str, name: str, seeds: Sequence[int]) -> str:
    """Return the command that makes a section."""
    return f"python -m benchmarks.{module} {name} --seeds={','.join(map(str, seeds))}"


def pooled(by_seed: Mapping[int, ScoredRows]) -> ScoredRows:
    """Return the rows of several simulated corpora as one: every seed simulates other speakers."""
    tables = []
    for seed, rows in by_seed.items():
        table = rows.table.sort_values(KEYS).astype({"recording": str})
        tables.append(table.assign(speaker=f"{seed}/" + table["speaker"]))
    return replace(next(iter(by_seed.values())), table=pd.concat(tables))


def write_section(page: Path, text: str) -> None:
    """Write a section into a page, in the place of its former one; the others stay, in alphabetical order.

    A section about several seeds also replaces those about single ones, whose titles end in `, seed N`.
    """
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    sections = {part.split("\n", 1)[0]: f"## {part.strip()}\n" for part in re.split(r"^## ", old, flags=re.M)[1:]}
    title = text.split("\n", 1)[0].removeprefix("## ")
    sections = {name: part for name, part in sections.items() if not name.startswith(f"{title}, seed ")} | {title: text}
    page.write_text("\n".join([HEAD, *(sections[key] for key in sorted(sections))]), encoding="utf-8")
