"""What a fit writes down while it trains: metrics.jsonl is the truth, TensorBoard events lie beside it."""

import json
import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.summary import scalar

from jaxpara import processes
from jaxpara.files import read_json_lines, write_text


class Log:
    """Appends to `<folder>/metrics.jsonl` and to the TensorBoard events in `<folder>/tensorboard`; a context manager.

    Of several processes the first writes.

    Lines: `{"kind": "train", "step", "epoch", "loss", "lr", "steps_per_s", "waiting"}` every few steps, where `waiting`
    is the share of the time since the line before, 0 to 1, in which the next batch was not there yet; and
    `{"kind": "validation", "step", "epoch", "score", "loss"}` after every validation.
    """

    def __init__(self, folder: Path, from_step: int):
        """Opens the log of a fit that goes on after `from_step`: later lines, of a run that was killed, are dropped."""
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
        # Not through tensorboardX's SummaryWriter: its thread dies of a full disk or of a clock that is set back, and
        # then whoever writes waits for it without end.
        self._events = EventsWriter(str(folder / "tensorboard" / "events"))
        self._events.write_event(Event(step=from_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def write(self, kind: str, step: int, epoch: int, **values: float | None) -> None:
        """Appends a line; TensorBoard gets the values that are not None.

        Args:
          kind: `train` or `tune`.
          step, epoch: steps done so far, and the epoch that the last of them belongs to, from 0.
          **values: what the line says beside that.
        """
        if not self._writes:
            return
        self._file.write(json.dumps({"kind": kind, "step": step, "epoch": epoch, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            if value is not None:
                summary = scalar(f"{kind}/{name}", value)
                self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def sync(self) -> None:
        """Puts all lines on the disk; before a checkpoint, so that it never knows more than the log."""
        if self._writes:
            os.fsync(self._file.fileno())
            self._events.flush()
