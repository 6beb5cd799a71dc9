"""Tables of text as a terminal, Markdown and LaTeX show them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Cells of text: the first column says what a row is, the others hold figures."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def plain(grid: Grid) -> str:
    """Columns under each other, names to the left and figures to the right."""
    lines = [grid.header, *grid.rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]) + "\n"
        for cells in lines
    )


def markdown(grid: Grid) -> str:
    """A pipe table."""
    marks = ["---", *["---:"] * (len(grid.header) - 1)]
    escaped = [[escape_markdown(cell) for cell in row] for row in (grid.header, *grid.rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (escaped[0], marks, *escaped[1:]))


def latex(grid: Grid) -> str:
    """A `tabular` that needs no package."""
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
    """Text for LaTeX; the hyphen before a number becomes a minus sign."""
    # Two hyphens of a name would become a dash; a dash of the text becomes two.
    pieces = (re.sub("-(?=-)", "-{}", "".join(_LATEX.get(c, c) for c in piece)) for piece in text.split("–"))
    return re.sub(r"(?<![\w}-])-(?=\d)", "$-$", "--".join(pieces))


def escape_markdown(text: str) -> str:
    """Text for Markdown, with what would be markup as itself."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text)
