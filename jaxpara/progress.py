"""Progress of long work: rich bars on a terminal, plain lines elsewhere."""

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
        self._bars = (
            rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(bar_width=24),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TextColumn("left"),
                rich_progress.TimeRemainingColumn(),
                rich_progress.TextColumn("{task.fields[note]}"),
                console=self.console,
            )
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> "Progress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.console.print(line, markup=False)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> "Iterator[Bar]":
        """Start a level: `with progress.task("epochs", 10) as epochs: ... epochs.advance("loss 0.5")`."""
        bar = Bar(self, name, total, done)
        try:
            yield bar
        finally:
            bar.close()


class Bar:
    """One level of progress: a bar on a terminal, lines elsewhere."""

    def __init__(self, owner: Progress, name: str, total: int, done: int):
        self._owner, self._name, self._total, self._done = owner, name, total, done
        self._began, self._done_before, self._printed = time.monotonic(), done, time.monotonic()
        self._bar = owner._bars.add_task(name, total=total, completed=done, note="") if owner._bars else None

    def advance(self, note: str = "", by: int = 1) -> None:
        self.update(self._done + by, self._total, note)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Set the progress; corpora and features get this method as their callback `progress(done, total)`."""
        self._done, self._total = done, total
        if self._bar is not None:
            assert self._owner._bars
            self._owner._bars.update(self._bar, completed=done, total=total, note=note)
        elif time.monotonic() - self._printed >= LINE_EVERY_S or (done == total and total > 0):
            self._printed = time.monotonic()
            self._owner.say(f"{self._name} {done}/{total}{self._left()}{'  ' + note if note else ''}")

    def _left(self) -> str:
        steps = self._done - self._done_before
        if steps <= 0 or self._done >= self._total:
            return ""
        seconds = (time.monotonic() - self._began) / steps * (self._total - self._done)
        return f", {seconds:.0f} s left" if seconds < 120 else f", {seconds / 60:.0f} min left"

    def close(self) -> None:
        if self._bar is not None:
            assert self._owner._bars
            self._owner._bars.remove_task(self._bar)
