"""The comparison of systems as text, CSV, Markdown, LaTeX and a plot."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from jaxpara.evaluation import intervals, plots
from jaxpara.evaluation.conclusions import interval, number
from jaxpara.evaluation.paired import MAX_UNITS_EXACT, SWAPS, Difference, smallest_p
from jaxpara.evaluation.scores import BLOCK_S
from jaxpara.files import write_text

PARTS = {"test": "test partition", "validation": "validation sets"}
FIGURES = {"value": "value", "interval_95": "interval", "interval_95_bootstrap": "bootstrap", "p": "p"}


@dataclass(frozen=True)
class SystemScore:
    """The score of one system; None where it is undefined, with the reason in `undefined`.

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
    """Scores of some systems and their differences.

    Attributes:
      task, measure: names.
      simulated: True if the corpus is; every output states it.
      part: `test` or `validation`.
      labels, speakers, samples: their numbers; speakers is None where they are unknown.
      differences: of every pair, in the order of the systems.
    """

    task: str
    measure: str
    simulated: bool
    part: str
    labels: int
    speakers: int | None
    samples: int
    scores: list[SystemScore]
    differences: list[Difference]

    @property
    def title(self) -> str:
        return f"{self.task}{', SIMULATED corpus' * self.simulated}, {PARTS[self.part]}: {self.measure}"

    @property
    def over(self) -> str:
        """The units that are left out, drawn and swapped."""
        return "samples" if self.speakers is None else "speakers"


@dataclass(frozen=True)
class TextTable:
    """A table of text: names in the first column, figures in the others."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def notes_on(comparison: Comparison) -> list[str]:
    """Write sentences that explain the figures."""
    notes, pairs = [], len(comparison.differences)
    if comparison.simulated:
        notes.append("SIMULATED corpus: no figure here is about real recordings.")
    if comparison.speakers is not None:
        units, unit = comparison.speakers, "speaker"
        notes.append(f"{comparison.labels:,} labels of {units} {unit}{'s' if units > 1 else ''}.")
    else:
        units, unit = comparison.samples, "sample"
        what = "recordings" if comparison.measure == "UAR" else f"blocks of {BLOCK_S:g} s"
        notes.append(
            f"{comparison.labels:,} labels. Speakers are unknown: intervals and p are over samples ({units:,} {what})."
            " They ignore that samples of one speaker are alike, so that they are too narrow for new speakers;"
            " lab/speakers.csv fixes that."
        )
    if comparison.part == "validation":
        notes.append(
            "The truth of the test partition is not available. Epochs and weights were chosen on these recordings:"
            " every score is too high, and more so for systems that choose more."
        )
    exact = units <= MAX_UNITS_EXACT
    notes.append(
        "A difference is the first system minus the second. Interval: paired jackknife with Student's t, the one to"
        f" quote. Bootstrap: percentiles of {intervals.RESAMPLES:,} paired resamples, too narrow with few speakers."
        f" p: {f'all {2**units:,}' if exact else f'{SWAPS:,} random'} ways to swap the two systems {unit} by {unit},"
        f" two-sided{f'; p (Holm): corrected for {pairs} pairs' if pairs > 1 else ''}."
    )
    if units > 1 and smallest_p(units) * pairs > 0.05:
        notes.append(
            f"With {units} {unit}s p cannot fall below {smallest_p(units):.4f}, so that this test cannot show a"
            f" difference at the 5 % level{f' among {pairs} pairs' if pairs > 1 else ''}."
        )
    undefined = [(score.name, score.undefined) for score in comparison.scores]
    undefined += [(_label(pair), pair.undefined) for pair in comparison.differences]
    for name, reasons in undefined:
        for reason in dict.fromkeys(reasons.values()):
            figures = ", ".join(FIGURES[figure] for figure in reasons if reasons[figure] == reason)
            notes.append(f"{name}: undefined ({figures}): {reason}.")
    return notes


def _label(pair: Difference) -> str:
    return f"{pair.first} - {pair.second}"


def grids(comparison: Comparison) -> list[TextTable]:
    """Make the table of the systems and the table of the pairs."""
    measure = comparison.measure
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
        TextTable(
            ("system", measure, f"95 % interval over {comparison.over}"),
            [(s.name, number(measure, s.value), interval(measure, s.interval_95)) for s in comparison.scores],
        ),
        TextTable(
            ("pair", f"difference{unit}", "95 % interval", "bootstrap", "p", "p (Holm)"),
            [row_of(pair) for pair in comparison.differences],
        ),
    ]


def text(comparison: Comparison) -> str:
    """Format the comparison for a terminal."""
    tables = "\n".join(plain(grid) for grid in grids(comparison))
    return "\n".join([comparison.title, "", tables, *notes_on(comparison), ""])


def write(folder: Path, comparison: Comparison) -> None:
    """Write `comparison.txt`, `.csv` (figures unrounded), `.md`, `.tex` and `.svg`.

    Raises:
      OSError: a file cannot be written.
    """
    tables, notes = grids(comparison), notes_on(comparison)
    listed = [f"- {escape_markdown(note)}" for note in notes]
    commented = [f"% {line}" for line in (comparison.title, *notes)]
    contents = {
        "txt": text(comparison),
        "csv": _csv(comparison),
        "md": "\n".join([f"## {escape_markdown(comparison.title)}", "", *map(markdown, tables), *listed, ""]),
        "tex": "\n".join([*commented, *map(latex, tables)]),
        "svg": _plot(comparison),
    }
    for suffix, content in contents.items():
        write_text(folder / f"comparison.{suffix}", content)


def _csv(comparison: Comparison) -> str:
    nothing = [None, None]
    rows = [
        [s.name, None, s.value, *(s.interval_95 or nothing), *nothing, None, None, s.undefined]
        for s in comparison.scores
    ]
    for d in comparison.differences:
        bounds = [*(d.interval_95 or nothing), *(d.interval_95_bootstrap or nothing)]
        rows.append([d.first, d.second, d.value, *bounds, d.p, d.p_holm, d.undefined])
    columns = ["system", "against", "value", "low_95", "high_95", "bootstrap_low_95", "bootstrap_high_95"]
    table = pd.DataFrame(rows, columns=[*columns, "p", "p_holm", "undefined"])
    table.insert(2, "measure", comparison.measure)
    table.insert(10, "over", comparison.over)
    table.insert(11, "simulated", comparison.simulated)
    table["undefined"] = [
        "; ".join(f"{name}: {why}" for name, why in reasons.items()) for reasons in table["undefined"]
    ]
    return table.to_csv(index=False, lineterminator="\n")


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


def plain(grid: TextTable) -> str:
    """Format a table in columns, names to the left and figures to the right."""
    lines = [grid.header, *grid.rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]) + "\n"
        for cells in lines
    )


def markdown(grid: TextTable) -> str:
    """Format a table as a Markdown pipe table."""
    marks = ["---", *["---:"] * (len(grid.header) - 1)]
    escaped = [[escape_markdown(cell) for cell in row] for row in (grid.header, *grid.rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (escaped[0], marks, *escaped[1:]))


def latex(grid: TextTable) -> str:
    """Format a table as a LaTeX `tabular` that needs no package."""
    first, *rest = (" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in (grid.header, *grid.rows))
    columns = "l" + "r" * (len(grid.header) - 1)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", first, r"\hline", *rest, r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{NO-BREAK SPACE}": "~",
    "[": "{[}",  # after the end of a row it would be read as an argument, and so would a star
    "*": "{*}",
}


def escape_latex(text: str) -> str:
    """Escape text for LaTeX; the hyphen before a number becomes a minus sign."""
    # Two hyphens of a name would become a dash; a dash of the text becomes two.
    pieces = (re.sub("-(?=-)", "-{}", "".join(_LATEX.get(c, c) for c in piece)) for piece in text.split("–"))
    return re.sub(r"(?<![\w}-])-(?=\d)", "$-$", "--".join(pieces))


def escape_markdown(text: str) -> str:
    """Escape text for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)
