"""A grid of runs: one for each combination of values of some fields, then a table and a paired comparison of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import pandas as pd

from jaxpara.corpora.simulated import STAMP
from jaxpara.errors import UserError, reason
from jaxpara.evaluation import comparison_report
from jaxpara.evaluation.formatting import Formatter
from jaxpara.evaluation.measures import MEASURE
from jaxpara.files import read_json, write_text
from jaxpara.run import DEMO, compare, default_workdir, run

MAX_COMPARED = 5  # runs in the paired comparison: with more pairs, no difference would remain after the correction


def run_grid(
    config: ml_collections.ConfigDict,
    points: Sequence[Mapping[str, Any]],
    *,
    overrides: Mapping[str, Any],
    name: str,
    workdir: Path | None,
) -> None:
    """Run an experiment at each point of a grid; print and write a table of the runs, and compare the best ones.

    Each run has a folder of its own in the workdir, named after its values, and is like any other run: what is finished
    is skipped, and what was interrupted resumes. If one fails, the others run nevertheless.

    Args:
      config, overrides, name: see `jaxpara.run.run`.
      points: of the grid, values by dotted path; they win over `overrides`.
      workdir: for the folders of the runs, grid.csv and the folder `comparison`; by default `runs/<name>_grid`.

    Raises:
      UserError: a run failed, or two would have the same folder.
      KeyboardInterrupt: the user stopped the grid; it can be resumed.
    """
    workdir = workdir or default_workdir(f"{name}_grid", config.to_dict()["recipe"])
    rows: list[dict[str, Any]] = []
    for number, (label, point) in enumerate(zip(folder_names(points), points, strict=True), 1):
        print(f"\nrun {number} of {len(points)}: {label}", flush=True)
        error = ""
        try:
            run(config, overrides={**overrides, **point}, name=name, workdir=workdir / label, mode="train")
        except UserError as failure:
            error = str(failure)
        except Exception as failure:
            if not isinstance(failure, MemoryError) and "RESOURCE_EXHAUSTED" not in str(failure):  # of XLA
                raise
            error = f"out of memory ({reason(failure)})"
        if error:
            print(f"{label} failed: {error}", flush=True)
        # After every run, as the user may stop the grid.
        rows.append({"run": label, **point, **({} if error else _scores(workdir / label)), "error": error})
        write_text(workdir / "grid.csv", _sorted(pd.DataFrame(rows)).to_csv(index=False, lineterminator="\n"))

    table = _sorted(pd.DataFrame(rows))
    finished = table[table["error"] == ""]
    if len(finished):
        print(f"\n{_text(finished)}table: {workdir / 'grid.csv'}\n")
    if len(finished) > 1:
        try:
            compare([workdir / label for label in finished["run"][:MAX_COMPARED]], None, None, workdir / "comparison")
        except UserError as failure:
            print(f"no paired comparison: {failure}")
    if failed := len(table) - len(finished):
        fix = "the reasons are above and in grid.csv; rerun the same command to try these again"
        raise UserError(f"--grid: {failed} of {len(table)} runs failed; {fix}")


def folder_names(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the folder of each point by its values, such as `lr=0.001,dropout=0.3`.

    Raises:
      UserError: two points would have the same name.
    """
    short = {path: _shortest(path, points[0]) for path in points[0]}
    names = [",".join(f"{short[path]}={_safe(value)}" for path, value in point.items()) for point in points]
    if repeated := [name for n, name in enumerate(names) if name in names[:n]]:
        raise UserError(f"--grid: two runs would have the same folder, {repeated[0]}; run them with two commands")
    return names


def _shortest(path: str, paths: Mapping[str, Any]) -> str:
    """Return the end of a path, of as few parts as distinguish it from the others."""
    parts = path.split(".")
    ends = [".".join(parts[first:]) for first in reversed(range(len(parts)))]
    return next(
        (end for end in ends if not any(f".{other}".endswith(f".{end}") for other in paths if other != path)), path
    )


def _safe(value: Any) -> str:
    """Write a value with letters, digits and `. + - _` only."""
    return re.sub(r"[^\w.+-]+", "_", str(value), flags=re.ASCII).strip("_") or "empty"


def _scores(workdir: Path) -> dict[str, Any]:
    """Return the scores of a finished run as a row of the table."""
    results = read_json(workdir / "results.json", "run its command again", ("fusion",))
    fusion = results["fusion"]
    # Weights of a fusion that were found on the same folds make its score too high.
    scores = {"validation": fusion["cv_cross_fitted"] or fusion["cv"], "test": fusion["test"]}
    row = {key: results[key] for key in ("simulated", "demo", "measure")}
    for part, score in scores.items():
        low, high = score["interval_95"] or (None, None)
        row |= {part: score["pooled"], f"{part}_low_95": low, f"{part}_high_95": high}
    return row | {"seconds": results["seconds"]}


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    """Sort the runs by their validation score, the best first, and those without one last."""
    if "validation" not in table:
        return table
    ascending = MEASURE[table["measure"].dropna().iloc[0]].smaller_is_better
    return table.sort_values("validation", ascending=ascending, kind="stable", na_position="last")


def _text(table: pd.DataFrame) -> str:
    """Format the table for a terminal, with the notes that it needs."""
    rows = [("run", "validation", "95 % interval", "test", "95 % interval", "seconds")]
    for row in table.to_dict("records"):
        say, cells = Formatter(row["measure"]), []
        for part in ("validation", "test"):
            value, low, high = (None if pd.isna(x := row[part + end]) else x for end in ("", "_low_95", "_high_95"))
            cells += [say.number(value), say.interval(None if low is None or high is None else [low, high])]
        rows.append((row["run"], *cells, f"{row['seconds']:.0f}"))
    measures = ", ".join(dict.fromkeys(table["measure"]))
    stamps = [STAMP] * bool(table["simulated"].any()) + [DEMO] * bool(table["demo"].any())
    notes = [
        *stamps,
        f"{measures}; sorted by validation (all folds pooled). Choose by validation, never by test: a choice makes the"
        " score that it was made by too high.",
    ]
    return comparison_report.plain(rows) + "\n".join([*notes, ""])
