"""Errors and warnings about a corpus, each with the file, the row and the fix."""

from collections import Counter
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any, Literal

from jaxpara.errors import UserError

Level = Literal["error", "warning"]
MAX_LISTED = 20  # of each kind: enough to see the pattern; the others are only counted
FATAL: tuple[Level, str] = ("error", "")  # level and kind of an error after which nothing else can be checked


@dataclass(frozen=True)
class Finding:
    """One problem of a corpus: an `error` makes training wrong or impossible, a `warning` is for the user to judge."""

    level: Level
    file: str
    row: int | None  # the line of the file, from 1; None if the finding is about the whole file
    what: str  # what was found and what was expected
    fix: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        line = f"{where}: {self.what}; {self.fix}"
        # File names may contain line breaks and terminal escapes.
        return "".join(character if character.isprintable() else "?" for character in line)


class Findings:
    """Collected findings: the first `MAX_LISTED` of each kind, and the number of the others."""

    def __init__(self):
        self._listed: dict[tuple[str, str], list[Finding]] = {FATAL: []}  # which is listed first
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, level: Level, kind: str, file: Path, what: str, fix: str, row: int | None = None) -> None:
        """Add a finding; `kind` is a plural noun for the line that counts the findings that are not listed."""
        self._counts[level, kind] += 1
        listed = self._listed.setdefault((level, kind), [])
        if len(listed) < MAX_LISTED:
            listed.append(Finding(level, str(file), row, what, fix))

    error = partialmethod(add, "error")
    warning = partialmethod(add, "warning")

    def add_rows(self, level: Level, kind: str, rows: Any, what: str, fix: str) -> None:
        """Add a finding for each row of a table; `what` is a format string of its columns, in which `!r` is `quote`."""
        for row in rows.head(MAX_LISTED).to_dict("records"):
            cells = {name: _Cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
            self.add(level, kind, row["path"], what.format(**cells), fix, row["row"])
        self._counts[level, kind] += max(0, len(rows) - MAX_LISTED)

    def fatal(self, file: Path, what: str, fix: str, row: int | None = None) -> UserError:
        """Add an error after which nothing else can be checked, and return it for `raise`."""
        self.add(*FATAL, file, what, fix, row)
        return self.first_error()

    def count(self, level: Level) -> int:
        """Return the number of errors or warnings, listed or not."""
        return sum(count for (its_level, _), count in self._counts.items() if its_level == level)

    def listed(self) -> tuple[Finding, ...]:
        """Return the errors, then the warnings, ordered by kind, with a line for those that are not listed."""
        result = []
        for (level, kind), listed in sorted(self._listed.items(), key=lambda item: item[0][0]):
            result += listed
            if rest := self._counts[level, kind] - len(listed):
                what = f"{rest} more {kind} are not listed"
                result.append(Finding(listed[-1].level, listed[-1].file, None, what, listed[-1].fix))
        return tuple(result)

    def first_error(self) -> UserError:
        """Return the first error as an exception, with the number of further ones in its message."""
        more = self.count("error") - 1
        rest = f" ({more} more error{'s' * (more > 1)} in this corpus)" if more else ""
        return UserError(f"{self.listed()[0]}{rest}")

    def require_no_error(self) -> None:
        if self.count("error"):
            raise self.first_error()


def quote(text: str, length: int = 60) -> str:
    """Quote the text of a cell for a message: on one line, cut to a length."""
    return repr(text if len(text) <= length else text[: length - 3] + "...")


class _Cell(str):
    def __repr__(self) -> str:
        return quote(str(self))
