"""Errors of the operating system are reported with the file that the user knows."""

import pytest

from jaxpara.errors import reason, refusal


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(13, "Permission denied", "a.csv"), "a.csv: Permission denied"),
        (OSError(28, "No space left", ".a.csv.part", None, "a.csv"), "a.csv: No space left"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("the power went"), "the power went"),
    ],
)
def test_an_error_of_the_system_in_one_line(error, line):
    assert refusal(error) == line


def test_the_reason_is_a_line_of_at_most_200_characters():
    assert reason(ValueError("\n  of two lines\nthe first")) == "of two lines"
    assert reason(KeyError()) == "KeyError"
    assert reason(ValueError("x" * 300)) == "x" * 200
