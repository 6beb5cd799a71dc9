"""The training loop: steps, logging, validation, checkpoints; for one run, or for several stacked ones."""

import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import jax
import numpy as np

from jaxpara import processes
from jaxpara.errors import UserError
from jaxpara.files import write_json
from jaxpara.progress import Progress
from jaxpara.training.checkpoints import BestBy, Checkpoints, since_best
from jaxpara.training.examples import Arrays
from jaxpara.training.fold_run import SUMMARY
from jaxpara.training.logs import Log
from jaxpara.training.optimizers import Optimizer, with_lr_scale
from jaxpara.training.parallel import Placement, Step, any_process
from jaxpara.training.state import TrainState

LOG_EVERY = 20  # steps
CHECKPOINT_EVERY_S = 300.0
# Steps by which the devices may be behind the loop: enough to keep them busy, few enough to bound the memory of queued
# batches and to keep `waiting` in the log meaningful.
MAX_IN_FLIGHT = 2


class Interrupted(Exception):
    """Training stopped at a clean point on request; the message says where."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True as soon as a stop was requested.

    The first SIGINT or SIGTERM requests a clean stop; the second raises KeyboardInterrupt.
    """
    requests: list[int] = []

    def on_signal(number: int, _: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requests)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if requests:  # it came after the block last asked
        raise KeyboardInterrupt


@dataclass(kw_only=True, eq=False)
class ActiveRun:
    """A run that is being trained.

    Its history is the part of a checkpoint besides the state: `losses` of the steps of the current epoch; `epochs`, a
    dict per validated epoch with `epoch`, `step`, `score` and `loss`; and the `seconds` of training so far.
    """

    name: str
    folder: Path
    slot: int  # its index among the stacked runs; 0 for a single one
    steps_per_epoch: int
    epochs: int  # at most
    patience: int = 0  # validated epochs without a better one after which it ends; 0: never
    best_by: BestBy = "score"
    history: dict[str, Any]
    state: TrainState | None  # the start of training; None as soon as it is on the devices
    batches: Iterator[Arrays]  # those after the state's step, to the end of training
    score_and_loss: Callable[[TrainState], tuple[float | None, float]]  # of the validation set; None if undefined
    checkpoints: Checkpoints
    log: Log

    def __post_init__(self):
        assert self.state
        self.step, self.total_steps = int(self.state.step), self.epochs * self.steps_per_epoch
        self.together = 1  # runs that are trained at once and divide the time among them
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self.state.variables))  # as Keras counts them
        self.batch: Any = None
        self.unread: list[Any] = []  # losses of the last steps, still on the devices
        self.waited_s = 0.0  # for batches, since the last line of the log
        self.note = ""  # next to the progress bar
        self.seconds_before, self.logged_step = self.history["seconds"], self.step
        self.began = self.saved_at = self.logged_at = time.monotonic()

    @property
    def epoch(self) -> int:
        """The epoch of the last step, from 0."""
        return (self.step - 1) // self.steps_per_epoch

    @property
    def ends_epoch(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    @property
    def finished(self) -> bool:
        """True after the last epoch, or as soon as `patience` is over.

        It follows from the step and the history alone, so that a run that was killed ends at the same step.
        """
        impatient = 0 < self.patience <= since_best(self.history["epochs"], self.best_by)
        return self.step == self.total_steps or (self.ends_epoch and impatient)

    @property
    def waiting(self) -> str:
        """The validations without a better one, for lines of progress; empty without `patience`."""
        waited = since_best(self.history["epochs"], self.best_by) if self.patience else 0
        return f", {waited} of {self.patience} validations without a better {self.best_by}" if waited else ""

    @property
    def logs(self) -> bool:
        """True if a line of the log is due."""
        return self.ends_epoch or self.step % self.steps_per_epoch % LOG_EVERY == 0

    @property
    def seconds(self) -> float:
        """The time of training so far: an equal part of that of the runs that are trained at once."""
        return self.seconds_before + (time.monotonic() - self.began) / self.together

    @property
    def validation_losses(self) -> list[float]:
        return [entry["loss"] for entry in self.history["epochs"]]

    def read_losses(self, placement: Placement) -> None:
        """Move the losses of the last steps to the history; waits for the devices."""
        first = self.step - len(self.unread) + 1
        for step, losses in enumerate(jax.device_get(self.unread), first):
            loss = float(placement.split(losses)[self.slot])
            self.require_finite("loss", loss, step)
            self.history["losses"].append(loss)
        self.unread.clear()

    def log_training(self, lr: float) -> None:
        """Write a line with the mean loss and the speed since the line before."""
        losses, passed_s = self.history["losses"], time.monotonic() - self.logged_at
        recent = losses[-((len(losses) - 1) % LOG_EVERY + 1) :]
        speed, waiting = round((self.step - self.logged_step) / passed_s, 3), round(self.waited_s / passed_s, 4)
        mean = sum(recent) / len(recent)
        self.log.write("train", self.step, self.epoch, loss=mean, lr=lr, steps_per_s=speed, waiting=waiting)
        self.note = f"loss {losses[-1]:.3f}"
        self.logged_at, self.logged_step, self.waited_s = time.monotonic(), self.step, 0.0

    def validate(self, state: TrainState) -> float | None:
        """Add the epoch to the history and the log; return its score."""
        score, loss = self.score_and_loss(state)
        self.require_finite("validation loss", loss, self.step)
        self.history["epochs"].append({"epoch": self.epoch, "step": self.step, "score": score, "loss": loss})
        self.log.write("validation", self.step, self.epoch, score=score, loss=loss)
        return score

    def save(self, state: TrainState) -> None:
        """Save a checkpoint, after the log, so that the log is never behind a checkpoint."""
        self.history["seconds"] = self.seconds
        self.log.sync()
        self.checkpoints.save(state, self.history)
        self.saved_at = time.monotonic()
        if self.logged_step == self.step:  # the time of steps includes neither validation nor saving
            self.logged_at = self.saved_at

    def divide_time_among(self, runs: int) -> None:
        """Count an equal part of the time from now on: so many runs are trained at once."""
        self.seconds_before, self.began, self.together = self.seconds, time.monotonic(), runs

    def write_summary(self) -> None:
        seconds = round(self.history["seconds"], 1)
        summary = {"parameters": self.parameters, "seconds": seconds, "epochs": self.history["epochs"]}
        processes.on_main(lambda: write_json(self.folder / SUMMARY, summary))

    def require_finite(self, what: str, value: float, step: int) -> None:
        """Raise a UserError unless a loss is finite: no later step would fix it."""
        if not math.isfinite(value):
            raise UserError(
                f"{self.name}: the {what} is {value} at step {step} (epoch {(step - 1) // self.steps_per_epoch + 1});"
                " lower config...learner.optimizer.lr, set its clip_norm, or the eps of the loss where it has one, and"
                " train in another --workdir"
            )


def _next_batch(active: Sequence[ActiveRun], slots: Sequence[ActiveRun], placement: Placement) -> Any:
    """Put the next batches of the active runs on the devices."""
    began = time.monotonic()
    for run in active:
        if run.step < run.total_steps:  # a finished run repeats its last batch until the others are finished
            run.batch = next(run.batches)
    batch = placement.batch([run.batch for run in slots])
    for run in active:
        run.waited_s += time.monotonic() - began
    return batch


def train(
    runs: Sequence[ActiveRun],
    step: Step,
    placement: Placement,
    *,
    validate_every: int,
    optimizer: Optimizer,
    stop_requested: Callable[[], bool],
    progress: Progress,
) -> None:
    """Train runs from their current step to the end; write checkpoints, logs and summaries.

    Every `validate_every`-th epoch, counted from the first, and the last one are validated. A run ends early where its
    `patience` is over.

    Raises:
      Interrupted: a stop was requested; checkpoints were saved.
      UserError: a loss is not finite.
    """
    for run in runs:
        if run.finished:  # stopped between its last checkpoint and its summary, or it has no epochs
            run.write_summary()
    active = [run for run in runs if not run.finished]
    if not active:
        return
    # Unused slots hold a copy of an active run; its results are discarded. A program for fewer runs would have to be
    # compiled, and might round differently.
    by_slot = {run.slot: run for run in active}
    slots = [by_slot.get(slot, active[0]) for slot in range(placement.runs)]
    states = placement.put([run.state for run in slots])
    for run in runs:
        run.state = None  # frees the memory
    in_flight: deque[Any] = deque()
    with ExitStack() as stack:
        epoch_bars, step_bars = {}, {}
        for run in active:
            run.divide_time_among(len(active))
            if run.step:
                progress.say(f"{run.name}: resumes after step {run.step} of {run.total_steps}")
            bars = progress.task(f"{run.name}: epochs", run.epochs, run.step // run.steps_per_epoch)
            epoch_bars[run] = stack.enter_context(bars)
            step_bars[run] = stack.enter_context(progress.task(f"{run.name}: steps", run.total_steps, run.step))

        batch = _next_batch(active, slots, placement)
        while active:
            states, losses = step(states, batch)
            in_flight.append(losses)
            for run in active:
                run.step += 1
                run.unread.append(losses)
            batch = _next_batch(active, slots, placement)  # put on the devices while they compute this step
            if len(in_flight) > MAX_IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())

            for run in active:
                if run.logs:
                    run.read_losses(placement)
                    lr = optimizer.lr_at(run.step - 1, run.validation_losses, run.total_steps)
                    run.log_training(lr)
                step_bars[run].advance(run.note)

            if ended := [run for run in active if run.ends_epoch]:
                state_of = placement.split(states)
                for run in ended:
                    loss, score = fmean(run.history["losses"]), None
                    if run.epoch % validate_every == 0 or run.epoch == run.epochs - 1:
                        score = run.validate(state_of[run.slot])
                    run.history["losses"] = []
                    validation = "" if score is None else f", validation {score:.3f}"
                    epoch_bars[run].advance(f"loss {loss:.3f}{validation}{run.waiting}")
                if optimizer.schedule == "plateau":
                    scales = [np.float32(optimizer.lr_scale(run.validation_losses)) for run in slots]
                    states = replace(states, opt_state=with_lr_scale(states.opt_state, placement.put(scales)))

            # Several processes have to agree, which waits for their devices: only where the loop waits anyway.
            # Until then, a request is kept.
            may_stop = processes.count() == 1 or any(run.logs for run in active)
            stop = may_stop and any_process(stop_requested())
            overdue = time.monotonic() - CHECKPOINT_EVERY_S
            if to_save := [run for run in active if stop or run.ends_epoch or run.saved_at < overdue]:
                state_of = placement.split(states)
                for run in to_save:
                    run.read_losses(placement)
                    run.save(state_of[run.slot])

            for run in active:
                if run.finished:
                    run.write_summary()
                if run.finished and run.step < run.total_steps:
                    progress.say(f"{run.name}: ends after epoch {run.epoch + 1} of {run.epochs}{run.waiting}")
            if len(left := [run for run in active if not run.finished]) < len(active):
                for run in left:
                    run.divide_time_among(len(left))
            active = left
            if stop and active:
                lines = [f"{run.name}: stopped after step {run.step} of {run.total_steps}; saved" for run in active]
                raise Interrupted("\n".join(lines))
