"""Compares systems on the same recordings: which is better, by how much, and may that be chance?

    python -m jaxpara.evaluation.compare_systems runs/mask_s1 runs/mask_s2 --output=comparison
    python -m jaxpara.evaluation.compare_systems ours.csv theirs.csv --corpus=/data/ComParE2020_Mask

A system is the workdir of a run, or a CSV in the challenge's submission format. They are compared on the test
partition where its truth is at hand, else, workdirs only, on the recordings that their folds were tuned on.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from jaxpara.errors import UserError, refusal
from jaxpara.evaluation import intervals, plots
from jaxpara.evaluation.conclusions import interval, number
from jaxpara.evaluation.metrics import defined
from jaxpara.evaluation.paired import MOST_UNITS_EXACT, SWAPS, Difference, difference, holm, smallest_p
from jaxpara.evaluation.rows import BLOCK_S, Rows
from jaxpara.evaluation.systems import Systems, load
from jaxpara.evaluation.tabular import Grid, escape_markdown, latex, markdown, plain
from jaxpara.files import write_text

_COLUMNS = ("system", "against", "measure", "value", "low_95", "high_95", "bootstrap_low_95", "bootstrap_high_95")
_COLUMNS += ("p", "p_holm", "over", "simulated", "undefined")
_PARTS = {"test": "test partition", "validation": "recordings that the folds were tuned on"}


@dataclass(frozen=True)
class Score:
    """A system by itself; figures are None where they are undefined, with the reason in `undefined`.

    Attributes:
      value: the measure over all rows together.
      interval_95: over speakers, or over samples where a speaker is unknown (`intervals.jackknife_interval`).
    """

    name: str
    value: float | None
    interval_95: list[float] | None
    undefined: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """All that is said about some systems.

    Attributes:
      title, measure: of the task.
      simulated: whether the corpus is; stamped on all that is written.
      over: `speakers` or `samples`: what was drawn, left out and swapped.
      differences: of every pair, in the order of the systems.
      notes: what has to be known to read the figures, in sentences.
    """

    title: str
    measure: str
    simulated: bool
    over: str
    scores: list[Score]
    differences: list[Difference]
    notes: list[str]


def compare(systems: Systems) -> Comparison:
    """Scores each system, and the difference of every pair."""
    rows = systems.rows
    one, simulated = next(iter(rows.values())), systems.corpus.simulated
    scores = [_score(name, part) for name, part in rows.items()]
    pairs = [difference((a, b), rows[a], rows[b]) for a, b in combinations(rows, 2)]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    pairs = [pair if pair.p is None else replace(pair, p_holm=next(corrected)) for pair in pairs]
    return Comparison(
        title=f"{systems.corpus.task.name}{', SIMULATED corpus' * simulated}, {_PARTS[systems.part]}",
        measure=one.task.measure,
        simulated=simulated,
        over="speakers" if one.speakers_known else "samples",
        scores=scores,
        differences=pairs,
        notes=[*_notes(systems, one, len(pairs)), *_undefined(scores, pairs)],
    )


def _score(name: str, rows: Rows) -> Score:
    undefined: dict[str, str] = {}
    value = defined(rows.value, "value", undefined)
    if value is None:
        return Score(name, None, None, undefined)
    units = rows.speaker_units() if rows.speakers_known else rows.sample_units()
    bounds = defined(lambda: intervals.jackknife_interval(units, rows.measure), "interval_95", undefined)
    return Score(name, value, bounds, undefined)


def _notes(systems: Systems, rows: Rows, pairs: int) -> list[str]:
    notes = []
    if systems.corpus.simulated:
        notes.append("SIMULATED corpus: no figure here says anything about the real one.")
    if rows.speakers_known:
        units, unit = len(set(rows.speakers.tolist())), "speaker"
        notes.append(f"{len(rows):,} labels of {units} {unit}{'s' if units > 1 else ''}.")
    else:
        units, unit = len(rows.sample_units()), "sample"
        what = "recordings" if rows.task.kind == "classes" else f"blocks of {BLOCK_S:g} s"
        notes.append(
            f"{len(rows):,} labels. Speakers are unknown: intervals and p are over samples ({units:,} {what}), as if it"
            " did not matter who speaks, and claim more than new speakers would bear out; lab/speakers.csv mends it."
        )
    if systems.part == "validation":
        notes.append(
            "The test partition has no truth at hand. On these recordings epochs and weights were chosen: every system"
            " is flattered, and those that choose more are flattered more."
        )
    exact = units <= MOST_UNITS_EXACT
    notes.append(
        "A difference is the first system less the second. Interval: paired jackknife with Student's t, the one to"
        f" trust. Bootstrap: percentiles of {intervals.RESAMPLES:,} paired resamples, too short with few speakers."
        f" p: {f'all {2**units:,}' if exact else f'{SWAPS:,} random'} ways to swap the two systems {unit} by {unit},"
        f" two-sided{f'; p (Holm): corrected for {pairs} pairs' if pairs > 1 else ''}."
    )
    if units > 1 and smallest_p(units) * pairs > 0.05:
        notes.append(
            f"With {units} {unit}s p cannot fall below {smallest_p(units):.4f}, so that this test cannot show a"
            f" difference at the 5 % level{f' among {pairs} pairs' if pairs > 1 else ''}."
        )
    return notes


def _undefined(scores: Sequence[Score], pairs: Sequence[Difference]) -> list[str]:
    """A sentence for each reason why a figure of a row is not there."""
    sentences = []
    named = [(score.name, score.undefined) for score in scores] + [(_label(pair), pair.undefined) for pair in pairs]
    for name, undefined in named:
        for reason in dict.fromkeys(undefined.values()):
            figures = ", ".join(_FIGURES[figure] for figure in undefined if undefined[figure] == reason)
            sentences.append(f"{name}: undefined ({figures}): {reason}.")
    return sentences


_FIGURES = {"value": "value", "interval_95": "interval", "interval_95_bootstrap": "bootstrap", "p": "p"}


def _label(pair: Difference) -> str:
    return f"{pair.first} - {pair.second}"


def grids(comparison: Comparison) -> list[Grid]:
    """The table of the systems and the table of the pairs."""
    measure, over = comparison.measure, comparison.over
    scale, places, unit = (100, 1, " (points)") if measure == "UAR" else (1, 3, "")

    def signed(value: float | None) -> str:
        return "–" if value is None else f"{scale * value:+.{places}f}"

    def bounds(pair: list[float] | None) -> str:
        return "–" if pair is None else f"{signed(pair[0])} to {signed(pair[1])}"

    def p(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    def row_of(d: Difference) -> tuple[str, ...]:
        return _label(d), signed(d.value), bounds(d.interval_95), bounds(d.interval_95_bootstrap), p(d.p), p(d.p_holm)

    return [
        Grid(
            ("system", measure, f"95 % interval over {over}"),
            [(s.name, number(measure, s.value), interval(measure, s.interval_95)) for s in comparison.scores],
        ),
        Grid(
            ("pair", f"difference{unit}", "95 % interval", "bootstrap", "p", "p (Holm)"),
            [row_of(pair) for pair in comparison.differences],
        ),
    ]


def text(comparison: Comparison) -> str:
    """The comparison as the command prints it."""
    tables = "\n".join(plain(grid) for grid in grids(comparison))
    return "\n".join([f"{comparison.title}: {comparison.measure}", "", tables, *comparison.notes, ""])


def write(folder: Path, comparison: Comparison) -> None:
    """Writes `comparison.txt`, `.csv` (figures unrounded), `.md`, `.tex` and `.svg`.

    Raises:
      OSError: a file cannot be written.
    """
    tables, title = grids(comparison), f"{comparison.title}: {comparison.measure}"
    notes = [f"- {escape_markdown(note)}" for note in comparison.notes]
    in_latex = [f"% {title}", *(f"% {note}" for note in comparison.notes), *map(latex, tables)]
    contents = {
        "txt": text(comparison),
        "csv": _csv(comparison),
        "md": "\n".join([f"## {escape_markdown(title)}", "", *map(markdown, tables), *notes, ""]),
        "tex": "\n".join(in_latex),
        "svg": _plot(comparison),
    }
    for suffix, content in contents.items():
        write_text(folder / f"comparison.{suffix}", content)


def _csv(comparison: Comparison) -> str:
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_COLUMNS)
    nothing = [None, None]
    for s in comparison.scores:
        figures = [s.value, *(s.interval_95 or nothing), *nothing, None, None]
        table.writerow(
            [s.name, None, comparison.measure, *figures, comparison.over, comparison.simulated, _reasons(s.undefined)]
        )
    for d in comparison.differences:
        figures = [d.value, *(d.interval_95 or nothing), *(d.interval_95_bootstrap or nothing), d.p, d.p_holm]
        table.writerow(
            [
                d.first,
                d.second,
                comparison.measure,
                *figures,
                comparison.over,
                comparison.simulated,
                _reasons(d.undefined),
            ]
        )
    return file.getvalue()


def _reasons(undefined: dict[str, str]) -> str:
    return "; ".join(f"{figure}: {reason}" for figure, reason in undefined.items())


def _plot(comparison: Comparison) -> str:
    scale = 100 if comparison.measure == "UAR" else 1
    points = {
        _label(d): (scale * d.value, None if d.interval_95 is None else [scale * bound for bound in d.interval_95])
        for d in comparison.differences
        if d.value is not None
    }
    return plots.dots(
        "comparison",
        {f"with 95 % interval over {comparison.over}": points},
        measure=f"difference of {comparison.measure}{' (points)' if scale == 100 else ''}"
        + ", SIMULATED corpus" * comparison.simulated,
        rows="",
        lines={"no difference": 0.0},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status: 0 done, 1 something to mend."""
    parser = argparse.ArgumentParser(
        prog="python -m jaxpara.evaluation.compare_systems",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("systems", nargs="+", type=Path, metavar="SYSTEM", help="a workdir or a CSV, two or more")
    parser.add_argument("--corpus", type=Path, metavar="ROOT", help="by default the one that the workdirs were run on")
    parser.add_argument("--task", help="such as mask; only where CSVs without a workdir leave it open")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="writes comparison.txt, .csv, .md, .tex and .svg")
    arguments = parser.parse_args(argv)
    try:
        comparison = compare(load(arguments.systems, arguments.corpus, arguments.task))
        print(text(comparison), end="")
        if arguments.output:
            write(arguments.output, comparison)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {refusal(error)}; mend it and run again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
