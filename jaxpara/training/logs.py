"""The log of a run: metrics.jsonl is the record; TensorBoard events are written as well."""

import json
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.summary import scalar

from jaxpara import processes
from jaxpara.files import read_json_lines, write_text


class Log(AbstractContextManager):
    """The files `<folder>/metrics.jsonl` and `<folder>/tensorboard`, written by the main process; a context manager.

    Lines: `{"kind": "train", "step", "epoch", "loss", "lr", "steps_per_s", "waiting"}` every few steps, where `waiting`
    is the fraction of the time since the line before, 0 to 1, that it took to get batches and put them on the devices;
    and `{"kind": "validation", "step", "epoch", "score", "loss"}` after every validation.
    """

    def __init__(self, folder: Path, from_step: int):
        """Open the log of a run that resumes after `from_step`, and drop later lines, written by a killed run."""
        self._writes = processes.is_main()
        if not self._writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        lines = read_json_lines(self._path)
        kept = [line for line in lines if isinstance(line.get("step"), int) and line["step"] <= from_step]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = self._path.open("a")
        (folder / "tensorboard").mkdir(exist_ok=True)
        # Not through tensorboardX's SummaryWriter: its thread dies when the disk is full or the clock is set back, and
        # then writing blocks forever.
        self._events = EventsWriter(str(folder / "tensorboard" / "events"))
        self._events.write_event(Event(step=from_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def __exit__(self, *_: object) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def write(self, kind: str, step: int, epoch: int, **values: float | None) -> None:
        """Append a line; TensorBoard gets the values that are not None."""
        if not self._writes:
            return
        self._file.write(json.dumps({"kind": kind, "step": step, "epoch": epoch, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if value is not None:
                summary = scalar(f"{kind}/{name}", value)
                self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def sync(self) -> None:
        """Flush all lines to the disk."""
        if self._writes:
            os.fsync(self._file.fileno())
            self._events.flush()
