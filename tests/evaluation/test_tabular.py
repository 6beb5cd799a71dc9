"""A table as text, Markdown and LaTeX."""

from jaxpara.evaluation import tabular


def test_latex_shows_what_was_written():
    grid = tabular.Grid(("a_b", "50 %"), [("[x]", "-0.1"), (r"\~^#{}", "a--b -3 to –")])
    assert tabular.latex(grid).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\hline",
        r"a\_b & 50 \% \\",
        r"\hline",
        r"{[}x] & $-$0.1 \\",
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\{\} & a-{}-b $-$3 to -- \\",
        r"\hline",
        r"\end{tabular}",
    ]


def test_markdown_keeps_its_columns():
    grid = tabular.Grid(("a|b", "*"), [("`x`", "1")])
    assert tabular.markdown(grid) == "| a\\|b | \\* |\n| --- | ---: |\n| \\`x\\` | 1 |\n"


def test_plain_columns_line_up():
    grid = tabular.Grid(("name", "x"), [("a", "10"), ("longer", "2")])
    assert tabular.plain(grid) == "name     x\n------  --\na       10\nlonger   2\n"
