"""The comparison of systems as text, CSV, Markdown, LaTeX and a plot."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from jaxpara.evaluation import intervals, plots
from jaxpara.evaluation.formatting import Formatter
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.paired import MAX_UNITS_EXACT, SWAPS, Comparison, smallest_p
from jaxpara.evaluation.scores import BLOCK_S
from jaxpara.files import write_text

Rows = Sequence[Sequence[str]]  # of a table: the header, then names in the first column and figures in the others
PARTS = {"test": "test partition", "validation": "validation sets"}
FIGURES = {"value": "value", "interval_95": "interval", "interval_95_bootstrap": "bootstrap", "p": "p"}
BOUNDS = ["low_95", "high_95", "bootstrap_low_95", "bootstrap_high_95"]
COLUMNS = ["system", "against", "measure", "value", *BOUNDS, "p", "p_holm", "over", "simulated", "undefined"]


def notes_on(comparison: Comparison) -> list[str]:
    """Write sentences that explain the figures."""
    notes, pairs = [], len(comparison.differences)
    if comparison.simulated:
        notes.append("SIMULATED corpus: no figure here is about real recordings.")
    unit, units = comparison.over.removesuffix("s"), comparison.units
    if unit == "speaker":
        notes.append(f"{comparison.labels:,} labels of {units} {unit}{'s' if units > 1 else ''}.")
    else:
        what = f"blocks of {BLOCK_S:g} s" if comparison.sequence else "recordings"
        notes.append(
            f"{comparison.labels:,} labels. Speakers are unknown: intervals and p are over samples ({units:,} {what})."
            " They ignore that samples of one speaker are alike, so that they are too narrow for new speakers;"
            " known speakers (lab/speakers.csv, or a column of the table) fix that."
        )
    if comparison.part == "validation":
        notes.append(
            "The truth of the test partition is not available. Epochs and weights were chosen on these recordings:"
            " every score is too high, and more so for systems that choose more."
        )
    exact = units <= MAX_UNITS_EXACT
    smaller = ": where it is negative, the first is better" * MEASURE[comparison.measure].smaller_is_better
    notes.append(
        f"A difference is the first system minus the second{smaller}. Interval: paired jackknife with Student's t, the"
        f" one to quote. Bootstrap: percentiles of {intervals.RESAMPLES:,} paired resamples, too narrow with few"
        " speakers."
        f" p: {f'all {2**units:,}' if exact else f'{SWAPS:,} random'} ways to swap the two systems {unit} by {unit},"
        f" two-sided{f'; p (Holm): corrected for {pairs} pairs' if pairs > 1 else ''}."
    )
    if units > 1 and smallest_p(units) * pairs > 0.05:
        notes.append(
            f"With {units} {unit}s p cannot fall below {smallest_p(units):.4f}, so that this test cannot show a"
            f" difference at the 5 % level{f' among {pairs} pairs' if pairs > 1 else ''}."
        )
    for of in (*comparison.scores, *comparison.differences):
        for reason in dict.fromkeys(of.undefined.values()):
            figures = ", ".join(FIGURES[figure] for figure, why in of.undefined.items() if why == reason)
            notes.append(f"{of.label}: undefined ({figures}): {reason}.")
    return notes


def tables(comparison: Comparison) -> tuple[Rows, Rows]:
    """Make the table of the systems and the table of the pairs."""
    say = Formatter(comparison.measure)
    unit = " (points)" if MEASURE[comparison.measure].percent else ""
    systems = [(s.system, say.number(s.value), say.interval(s.interval_95)) for s in comparison.scores]
    pairs = []
    for d in comparison.differences:
        intervals_95 = [say.interval(bounds, say.signed) for bounds in (d.interval_95, d.interval_95_bootstrap)]
        p_values = ["–" if p is None else f"{p:.4f}" for p in (d.p, d.p_holm)]
        pairs.append((d.label, say.signed(d.value), *intervals_95, *p_values))
    return (
        [("system", comparison.measure, f"95 % interval over {comparison.over}"), *systems],
        [("pair", f"difference{unit}", "95 % interval", "bootstrap", "p", "p (Holm)"), *pairs],
    )


def title(comparison: Comparison) -> str:
    """Name the task, the part and the measure; a simulated corpus is named too."""
    simulated = ", SIMULATED corpus" * comparison.simulated
    return f"{comparison.task}{simulated}, {PARTS[comparison.part]}: {comparison.measure}"


def text(comparison: Comparison) -> str:
    """Format the comparison for a terminal."""
    return "\n".join([title(comparison), "", *map(plain, tables(comparison)), *notes_on(comparison), ""])


def write(folder: Path, comparison: Comparison) -> None:
    """Write `comparison.txt`, `.csv` (figures unrounded), `.md`, `.tex` and `.svg`.

    Raises:
      OSError: a file cannot be written.
    """
    both, notes = tables(comparison), notes_on(comparison)
    listed = [f"- {escape_markdown(note)}" for note in notes]
    commented = [f"% {line}" for line in (title(comparison), *notes)]
    contents = {
        "txt": text(comparison),
        "csv": _csv(comparison),
        "md": "\n".join([f"## {escape_markdown(title(comparison))}", "", *map(markdown, both), *listed, ""]),
        "tex": "\n".join([*commented, *map(latex, both)]),
        "svg": _plot(comparison),
    }
    for suffix, content in contents.items():
        write_text(folder / f"comparison.{suffix}", content)


def _csv(comparison: Comparison) -> str:
    rows = []
    for of in (*comparison.scores, *comparison.differences):
        bounds = [bound for pair in (of.interval_95, of.interval_95_bootstrap) for bound in pair or (None, None)]
        undefined = "; ".join(f"{figure}: {why}" for figure, why in of.undefined.items())
        figures = [comparison.measure, of.value, *bounds, of.p, of.p_holm]
        rows.append([of.system, of.against, *figures, comparison.over, comparison.simulated, undefined])
    return pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")


def _plot(comparison: Comparison) -> str:
    scale, unit = (100, " (points)") if MEASURE[comparison.measure].percent else (1, "")
    points = {
        d.label: (scale * d.value, d.interval_95 and [scale * bound for bound in d.interval_95])
        for d in comparison.differences
        if d.value is not None
    }
    return plots.dots(
        "comparison",
        {f"with 95 % interval over {comparison.over}": points},
        measure=f"difference of {comparison.measure}{unit}{', SIMULATED corpus' * comparison.simulated}",
        rows="",
        lines={"no difference": 0.0},
    )


def plain(rows: Rows) -> str:
    """Format a table in columns, names to the left and figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pattern = "  ".join(f"{{:{'>' if column else '<'}{width}}}" for column, width in enumerate(widths)) + "\n"
    return "".join(pattern.format(*cells) for cells in (rows[0], ["-" * width for width in widths], *rows[1:]))


def markdown(rows: Rows) -> str:
    """Format a table as a Markdown pipe table."""
    header, *body = [[escape_markdown(cell) for cell in cells] for cells in rows]
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, marks, *body))


def latex(rows: Rows) -> str:
    """Format a table as a LaTeX `tabular` that needs no package."""
    header, *body = (" & ".join(escape_latex(cell) for cell in cells) + r" \\" for cells in rows)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return "\n".join([begin, r"\hline", header, r"\hline", *body, r"\hline", r"\end{tabular}", ""])


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
