"""Errors and warnings about a corpus, each with the file, the row and the fix."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxpara.errors import UserError

Level = Literal["error", "warning"]
MAX_LISTED = 20  # of each kind: enough to see the pattern; the others are only counted


@dataclass(frozen=True)
class Finding:
    """One problem of a corpus.

    Attributes:
      level: an `error` makes training wrong or impossible; a `warning` is for the user to judge.
      file: the file or folder.
      row: the line of the file, from 1; None if the finding is about the whole file.
      what: what was found and what was expected.
      fix: how to fix it.
    """

    level: Level
    file: str
    row: int | None
    what: str
    fix: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        line = f"{where}: {self.what}; {self.fix}"
        # File names may contain line breaks and terminal escapes.
        return "".join(character if character.isprintable() else "?" for character in line)


class Defect(UserError):
    """A problem after which nothing else can be checked: `challenge.read` raises it, `check` lists it."""

    def __init__(self, file: Path, row: int | None, what: str, fix: str):
        self.finding = Finding("error", str(file), row, what, fix)
        super().__init__(str(self.finding))


class Findings:
    """Collected findings: the first `MAX_LISTED` of each kind, and the number of the others."""

    def __init__(self):
        self._listed: dict[tuple[Level, str], list[Finding]] = defaultdict(list)
        self._counts: Counter[tuple[Level, str]] = Counter()

    def error(self, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        """Add an error; `kind` is a plural noun for the line that counts the findings that are not listed."""
        self._add("error", kind, file, row, what, fix)

    def warning(self, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        """Add a warning; see `error`."""
        self._add("warning", kind, file, row, what, fix)

    def _add(self, level: Level, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        key = (level, kind)
        self._counts[key] += 1
        if self._counts[key] <= MAX_LISTED:
            self._listed[key].append(Finding(level, str(file), row, what, fix))

    def count(self, level: Level) -> int:
        """Return the number of errors or warnings, listed or not."""
        return sum(count for (its_level, _), count in self._counts.items() if its_level == level)

    def listed(self) -> tuple[Finding, ...]:
        """Return the errors, then the warnings, ordered by kind, with a line for those that are not listed."""
        result = []
        for (level, kind), listed in sorted(self._listed.items(), key=lambda item: item[0][0]):
            result += listed
            if rest := self._counts[level, kind] - len(listed):
                what, fix = f"{rest} more {kind} are not listed", listed[-1].fix
                result.append(Finding(level, listed[-1].file, None, what, fix))
        return tuple(result)


def first_error(findings: Sequence[Finding], errors: int) -> UserError:
    """Return the first finding as an exception, with the number of further errors in its message."""
    rest = {1: "", 2: " (1 more error in this corpus)"}.get(errors, f" ({errors - 1} more errors in this corpus)")
    return UserError(f"{findings[0]}{rest}")


def quote(text: str) -> str:
    """Quote the text of a cell for a message: on one line, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
