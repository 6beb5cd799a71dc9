"""Errors of the operating system are reported with the file that the user knows."""

import pytest

from jaxpara.errors import refusal


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
