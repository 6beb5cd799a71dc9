"""A table as text, Markdown and LaTeX."""

from jaxpara.evaluation import comparison_report


def test_latex_shows_what_was_written():
    rows = [("a_b", "50 %"), ("[x]", "-0.1"), (r"\~^#{}", "a--b -3 to –")]
    assert comparison_report.latex(rows).splitlines() == [
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
    assert (
        comparison_report.markdown([("a|b", "*"), ("`x`", "1")]) == "| a\\|b | \\* |\n| --- | ---: |\n| \\`x\\` | 1 |\n"
    )


def test_plain_columns_line_up():
    rows = [("name", "x"), ("a", "10"), ("longer", "2")]
    assert comparison_report.plain(rows) == "name     x\n------  --\na       10\nlonger   2\n"
