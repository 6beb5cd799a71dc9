"""The training loop of one fit: epochs, validation, checkpoints; goes on where it was stopped.

It asks for its steps instead of taking them: `jaxpara.training.lockstep` can then take those of several fits at once.
"""

import dataclasses
import math
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.input import Timed
from jaxpara.training.logs import Log
from jaxpara.training.parallel import any_process
from jaxpara.training.state import TrainState

LOG_EVERY_STEPS = 20
CHECKPOINT_EVERY_S = 300.0

History = dict[str, Any]
# Asks for a step on a batch with `lr_scale`, is told how the state after it can be had and the loss; ends in a history.
Loop = Generator[tuple[Any, float], tuple[Callable[[], TrainState], float], History]


class Interrupted(Exception):
    """Training stopped at a clean point because somebody asked for it; the message says where."""


def new_history() -> History:
    """What a checkpoint knows beside the state.

    Keys: `losses`, of the steps of the epoch that is under way; `epochs`, one dict per validated epoch with `epoch`,
    `step`, `score` and `loss`; `seconds`, of training so far.
    """
    return {"losses": [], "epochs": [], "seconds": 0.0}


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a wish, and the second into an end."""
    asked: list[int] = []

    def on_signal(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    history: History,
    done: int,
    *,
    batches: Iterator[Any],
    steps_per_epoch: int,
    epochs: int,
    validate: Callable[[TrainState], tuple[float | None, float]],
    validate_every: int,
    best_by: Literal["score", "loss"],
    lr: Callable[[int], float],
    lr_scale: Callable[[list[float]], float],
    checkpoints: Checkpoints,
    log: Log,
    progress: Progress,
    name: str,
    asked_to_stop: Callable[[], bool],
    together: int = 1,
) -> Loop:
    """Trains until the last epoch is done and its checkpoint saved.

    Args:
      history: from the latest checkpoint; `new_history` where there is none.
      done: steps done so far.
      batches: those after them, to the end of training.
      validate: score (higher is better; None where it is not defined) and loss of a state.
      validate_every: epochs between validations, counted from the first; the last epoch is always validated.
      best_by: what checkpoints are kept for.
      lr: the schedule, for the log.
      lr_scale: what becomes of the learning rate, given the validation losses so far.
      log: of the steps after them.
      name: of this fit, in messages.
      asked_to_stop: from `stop_requests`.
      together: fits that are trained at once and share the time.

    Raises:
      Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
      UserError: the loss is not a number.
    """
    began, seconds_before = time.monotonic(), history["seconds"]
    saved = time.monotonic()

    def save(state: TrainState, rank: float | None) -> None:
        nonlocal saved
        saved = time.monotonic()
        history["seconds"] = seconds_before + (time.monotonic() - began) / together
        out.sync()
        checkpoints.save(dataclasses.replace(state, lr_scale=np.float32(scale)), history, rank)

    with (
        log as out,
        progress.task(f"{name}: epochs", epochs, done // steps_per_epoch) as epoch_bar,
        progress.task(f"{name}: steps", epochs * steps_per_epoch, done) as step_bar,
    ):
        if done:
            progress.say(f"{name}: goes on after step {done} of {epochs * steps_per_epoch}")
        scale = lr_scale([entry["loss"] for entry in history["epochs"]])
        tick, tick_step = time.monotonic(), done
        timed = Timed(batches)
        for batch in timed:
            state_now, value = yield batch, scale
            done += 1
            epoch, in_epoch = (done - 1) // steps_per_epoch, (done - 1) % steps_per_epoch
            _require_number(name, "loss", value, done, epoch)
            history["losses"].append(value)
            step_bar.advance(f"loss {value:.3f}")
            ends, stop = in_epoch == steps_per_epoch - 1, any_process(asked_to_stop())
            if ends or len(history["losses"]) % LOG_EVERY_STEPS == 0:
                recent = history["losses"][-((len(history["losses"]) - 1) % LOG_EVERY_STEPS + 1) :]
                passed_s = time.monotonic() - tick
                out.write(
                    "train",
                    done,
                    epoch,
                    loss=sum(recent) / len(recent),
                    lr=lr(done) * scale,
                    steps_per_s=round((done - tick_step) / passed_s, 3),
                    waiting=round(timed.waited_s / passed_s, 4),
                )
                tick, tick_step, timed.waited_s = time.monotonic(), done, 0.0
            if ends:
                mean_loss = sum(history["losses"]) / len(history["losses"])
                history["losses"] = []
                score, rank = None, None
                if epoch % validate_every == 0 or epoch == epochs - 1:
                    score, tune_loss = validate(state_now())
                    _require_number(name, "validation loss", tune_loss, done, epoch)
                    rank = -tune_loss if best_by == "loss" else -math.inf if score is None else score
                    history["epochs"].append({"epoch": epoch, "step": done, "score": score, "loss": tune_loss})
                    out.write("validation", done, epoch, score=score, loss=tune_loss)
                    scale = lr_scale([entry["loss"] for entry in history["epochs"]])
                epoch_bar.advance(f"loss {mean_loss:.3f}" + ("" if score is None else f", validation {score:.3f}"))
                save(state_now(), rank)
                tick, tick_step = time.monotonic(), done  # validation is no step
            elif stop or time.monotonic() - saved > CHECKPOINT_EVERY_S:
                save(state_now(), None)
            if stop and done < epochs * steps_per_epoch:
                raise Interrupted(f"{name}: stopped after step {done} of {epochs * steps_per_epoch}; saved")
    return history


def _require_number(name: str, what: str, value: float, step: int, epoch: int) -> None:
    """Raises a UserError where a loss is not a number, which no later step mends."""
    if not math.isfinite(value):
        raise UserError(
            f"{name}: the {what} is {value} at step {step} (epoch {epoch + 1}); lower config...learner.optimizer.lr,"
            " set its clip_norm, or the eps of the loss where it has one, and train in another --workdir"
        )
