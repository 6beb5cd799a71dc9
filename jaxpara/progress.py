"""Progress of long work: rich bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console

from jaxpara import processes

LINE_EVERY_S = 10.0


class Progress:
    """The progress output of a run; a context manager.

    On a terminal each level (folds, epochs, steps) has a bar with the time left. Elsewhere a line is printed when a
    level is done, and otherwise at most every ten seconds. Only the main process prints.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console(highlight=False, soft_wrap=True, quiet=not processes.is_main())
        self.bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=24),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("left"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> "Progress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.bars.disable:  # older versions of rich print an empty line even if disabled
            self.bars.stop()

    def say(self, line: str, *, error: bool = False) -> None:
        """Print a line above the bars, or an error on standard error."""
        if not error:
            self.console.print(line, markup=False)
        elif not self.console.quiet:
            print(line, file=sys.stderr, flush=True)  # above the bars too: rich captures it on a terminal

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> "Iterator[Bar]":
        """Start a level: `with progress.task("epochs", 10) as epochs: ... epochs.advance("loss 0.5")`."""
        number = self.bars.add_task(name, total=total, completed=done, note="")
        try:
            yield Bar(self, self.bars.tasks[-1], total, done)
        finally:
            self.bars.remove_task(number)


class Bar:
    """One level of progress: a bar on a terminal, lines elsewhere."""

    def __init__(self, owner: Progress, task: rich_progress.Task, total: int, done: int):
        self._owner, self._task, self._total, self._done, self._done_before = owner, task, total, done, done
        self._printed = time.monotonic()

    def advance(self, note: str = "", by: int = 1) -> None:
        self.update(self._done + by, self._total, note)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Set the progress; corpora and features get this method as their callback `progress(done, total)`."""
        self._done, self._total = done, total
        self._owner.bars.update(self._task.id, completed=done, total=total, note=note)
        late = time.monotonic() - self._printed >= LINE_EVERY_S
        if self._owner.bars.disable and (late or done == total > 0):
            self._printed = time.monotonic()
            self._owner.say(f"{self._task.description} {done}/{total}{self._left()}{'  ' + note if note else ''}")

    def _left(self) -> str:
        steps = self._done - self._done_before
        if steps <= 0 or self._done >= self._total:
            return ""
        # Of all steps: rich knows only the last 30 seconds, in which a slow step may not have ended.
        seconds = (self._task.elapsed or 0) / steps * (self._total - self._done)
        return f", {seconds:.0f} s left" if seconds < 120 else f", {seconds / 60:.0f} min left"
