"""What is wrong with a corpus, in words that name the file, the row and the mend."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxpara.errors import UserError

Level = Literal["error", "warning"]
# So many of a kind are enough to see what it is; the rest are counted.
MOST_OF_A_KIND = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
      level: an `error` makes training wrong or impossible; a `warning` is for the user to judge.
      file: the file or folder.
      row: its line, counted from 1 as an editor shows it; None where no line is meant.
      what: what was found, and what was expected.
      mend: how to mend it.
    """

    level: Level
    file: str
    row: int | None
    what: str
    mend: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        line = f"{where}: {self.what}; {self.mend}"
        # File names may hold line breaks and terminal escapes.
        return "".join(character if character.isprintable() else "?" for character in line)


class Defect(UserError):
    """A finding that leaves nothing to go on with: `read` raises it and `check` lists it."""

    def __init__(self, file: Path, row: int | None, what: str, mend: str):
        self.finding = Finding("error", str(file), row, what, mend)
        super().__init__(str(self.finding))


class Findings:
    """Collects findings by kind, and of each kind no more than anybody reads."""

    def __init__(self):
        self._kinds: dict[tuple[Level, str], list[Finding]] = {}
        self._counts: dict[tuple[Level, str], int] = {}

    def error(self, kind: str, file: Path, row: int | None, what: str, mend: str) -> None:
        """Adds an error; `kind` names its like in the plural, for the line that counts the rest."""
        self._add("error", kind, file, row, what, mend)

    def warning(self, kind: str, file: Path, row: int | None, what: str, mend: str) -> None:
        """Adds a warning."""
        self._add("warning", kind, file, row, what, mend)

    def _add(self, level: Level, kind: str, file: Path, row: int | None, what: str, mend: str) -> None:
        key = (level, kind)
        listed = self._kinds.setdefault(key, [])
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(listed) < MOST_OF_A_KIND:
            listed.append(Finding(level, str(file), row, what, mend))

    def count(self, level: Level) -> int:
        """How many there are of a level, listed or not."""
        return sum(count for (its_level, _), count in self._counts.items() if its_level == level)

    def listed(self) -> tuple[Finding, ...]:
        """The errors, then the warnings; each kind together, with a line for those that are not listed."""
        result = []
        for key in sorted(self._kinds, key=lambda key: key[0]):
            result += self._kinds[key]
            if rest := self._counts[key] - len(self._kinds[key]):
                last = self._kinds[key][-1]
                what = f"{rest} more {key[1]} are not listed"
                result.append(Finding(key[0], last.file, None, what, last.mend))
        return tuple(result)


def refusal(findings: Sequence[Finding], errors: int) -> UserError:
    """The first of some findings, which is an error, and how many more errors there are."""
    rest = errors - 1
    return UserError(str(findings[0]) + (f" ({rest} more errors in this corpus)" if rest else ""))


def quote(text: str) -> str:
    """The text of a cell for a message: in quotation marks, on one line, and not too long."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
