"""Errors and warnings about a corpus; each names the file, the row and the fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxpara.errors import UserError

Level = Literal["error", "warning"]
MAX_LISTED = 20  # per kind: enough to see the pattern; the others are only counted


@dataclass(frozen=True)
class Finding:
    """One problem of a corpus.

    Attributes:
      level: an `error` makes training wrong or impossible; a `warning` is for the user to judge.
      file: the file or folder.
      row: the line of the file as an editor shows it, counted from 1; None where no line is meant.
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
        # File names may hold line breaks and terminal escapes.
        return "".join(character if character.isprintable() else "?" for character in line)


class Defect(UserError):
    """A problem that leaves nothing to check: `challenge.read` raises it, `check` lists it."""

    def __init__(self, file: Path, row: int | None, what: str, fix: str):
        self.finding = Finding("error", str(file), row, what, fix)
        super().__init__(str(self.finding))


class Findings:
    """A collection of findings by kind, of which it keeps the first 20 each and counts the rest."""

    def __init__(self):
        self._kinds: dict[tuple[Level, str], list[Finding]] = {}
        self._counts: dict[tuple[Level, str], int] = {}

    def error(self, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        """Add an error; `kind` is a plural noun, for the line that counts the findings that are not listed."""
        self._add("error", kind, file, row, what, fix)

    def warning(self, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        """Add a warning; see `error`."""
        self._add("warning", kind, file, row, what, fix)

    def _add(self, level: Level, kind: str, file: Path, row: int | None, what: str, fix: str) -> None:
        key = (level, kind)
        listed = self._kinds.setdefault(key, [])
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(listed) < MAX_LISTED:
            listed.append(Finding(level, str(file), row, what, fix))

    def count(self, level: Level) -> int:
        """Return the number of errors or warnings, listed or not."""
        return sum(count for (its_level, _), count in self._counts.items() if its_level == level)

    def listed(self) -> tuple[Finding, ...]:
        """Return the errors, then the warnings, ordered by kind, with a line that counts those not listed."""
        result = []
        for key in sorted(self._kinds, key=lambda key: key[0]):
            result += self._kinds[key]
            if rest := self._counts[key] - len(self._kinds[key]):
                last = self._kinds[key][-1]
                result.append(Finding(key[0], last.file, None, f"{rest} more {key[1]} are not listed", last.fix))
        return tuple(result)


def first_error(findings: Sequence[Finding], errors: int) -> UserError:
    """Return the first of some findings as an exception that also says how many more errors there are."""
    rest = {1: "", 2: " (1 more error in this corpus)"}.get(errors, f" ({errors - 1} more errors in this corpus)")
    return UserError(f"{findings[0]}{rest}")


def quote(text: str) -> str:
    """Return the text of a cell for a message: in quotation marks, on one line, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
