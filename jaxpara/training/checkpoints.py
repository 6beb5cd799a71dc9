"""Checkpoints of one run: the latest and the best few, each with the history of the run, through orbax."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from jaxpara import processes
from jaxpara.errors import UserError, reason
from jaxpara.training.state import TrainState

BestBy = Literal["score", "error", "loss"]
Restored = tuple[TrainState, dict[str, Any]]  # a state and the history of its run

# Orbax logs each failure with its whole traceback, once per thread, and raises it as well.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)


def _unraisable(found: Any, show: Any = sys.unraisablehook) -> None:
    """Hide what tensorstore reports to orbax of other arrays after one could not be read."""
    if str(found.exc_value) != "Event loop is closed":
        show(found)


sys.unraisablehook = _unraisable


class Checkpoints(AbstractContextManager):
    """The checkpoint folder of one run; a context manager.

    A save is visible only when it is complete, so a run that is killed while it saves resumes from the checkpoint
    before. A checkpoint that cannot be read was damaged later, on the disk: it is renamed `damaged_<step>` if there is
    an older one to resume from, which leads to the same bits.
    """

    def __init__(self, folder: Path, keep_best: int, best_by: BestBy):
        """Open a folder, for the latest checkpoint and those of the best validated epochs by `rank`."""
        self.folder, self._keep_best = folder.absolute(), keep_best
        self._best_by: BestBy = best_by
        processes.on_main(lambda: self.folder.mkdir(parents=True, exist_ok=True))
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                enable_async_checkpointing=False,
                # Each process for itself: the main one writes, all read.
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=processes.index(),
                    active_processes={processes.index()} if processes.count() > 1 else None,
                    barrier_sync_key_prefix=f"process_{processes.index()}",
                ),
                create=False,
                read_only=not processes.is_main(),
            ),
        )

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def save(self, state: TrainState, history: dict[str, Any]) -> None:
        """Save a state in the main process, and delete the checkpoints that are neither the latest nor among the best.

        `history` is what training needs to resume, as JSON; its `epochs` are the validated epochs so far. Raises a
        UserError if the disk is full, for instance.
        """
        if not processes.is_main():
            return
        step = int(state.step)
        best = sorted(history["epochs"], key=lambda epoch: rank(epoch, self._best_by), reverse=True)[: self._keep_best]
        # Checked first: a disk that fills up during a save makes orbax's threads fail loudly, one by one.
        needed = 2_000_000 + 1.5 * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        try:
            if free < needed:
                raise OSError(f"{free / 1e6:.0f} MB free on the disk, {needed / 1e6:.0f} MB needed")
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(jax.device_get(state)),  # pyright: ignore[reportCallIssue]
                    history=ocp.args.JsonSave(history),  # pyright: ignore[reportCallIssue]
                ),
            )
            for old in {*self._manager.all_steps()} - {step, *(epoch["step"] for epoch in best)}:
                self._manager.delete(old)
        except Exception as error:
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} cannot be written ({reason(error)});"
                " finished work is kept: make room and run the same command again"
            ) from error

    def latest(self, target: TrainState) -> Restored | None:
        """Read the newest checkpoint that can be read, as `read` does; None if there is no checkpoint."""
        found = self._newest_whole(target) if processes.is_main() else None
        step = processes.on_main(lambda: found and int(found[0].step))
        return found if processes.is_main() or step is None else self.read(step, target)

    def _newest_whole(self, target: TrainState) -> Restored | None:
        """Read the newest checkpoint that can be read, and set damaged ones after it aside."""
        damaged: dict[int, UserError] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self.read(step, target)
            except UserError as error:
                damaged[step] = error
                continue
            for other, why in damaged.items():
                aside = self.folder / f"damaged_{other}"
                shutil.rmtree(aside, ignore_errors=True)
                (self.folder / str(other)).rename(aside)
                text = "%s is damaged and was set aside; training resumes from step %s (%s)"
                logging.warning(text, aside, step, reason(why.__cause__ or why))
            self._manager.reload()
            return found
        if damaged:
            raise next(iter(damaged.values()))
        return None

    def read(self, step: int, target: TrainState) -> Restored:
        """Return the state of a checkpoint as NumPy arrays, for any number of devices, and its history.

        Raises:
          UserError: it is missing, damaged, or not of the network of `target`, a state or its shapes and types.
        """
        like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), target)
        this, fold = f"{self.folder / str(step)}: this checkpoint", self.folder.parent
        others = ", ".join(str(other) for other in sorted(self._manager.all_steps()) if other != step)
        kept = f" (it also has the checkpoints of step {others})" if others else ""
        again = f"to train this fold again, rename {fold} and keep it as a copy{kept}"
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(like),  # pyright: ignore[reportCallIssue]
                    history=ocp.args.JsonRestore(),
                ),
            )
        except Exception as error:  # orbax's errors have no common base
            fix = "make it readable or restore it from a backup and run the same command again; or else,"
            raise UserError(f"{this} cannot be read ({reason(error)}); {fix} {again}") from error
        # Orbax returns what is there, whatever shape it was asked for.
        if [x.shape for x in jax.tree.leaves(restored["state"])] != [x.shape for x in jax.tree.leaves(like)]:
            raise UserError(f"{this} belongs to another network; undo the change of config or code; or else, {again}")
        return restored["state"], restored["history"]


def rank(epoch: Mapping[str, Any], best_by: BestBy) -> float:
    """Return a number that is higher the better a validated epoch is: its score, the lowest if None, or its -loss.

    Of an `error` (RMSE), the score with the minus sign; people see the score without it.
    """
    if best_by == "loss":
        return -float(epoch["loss"])
    if epoch["score"] is None:
        return -np.inf
    return float(-epoch["score"] if best_by == "error" else epoch["score"])


def since_best(epochs: Sequence[Mapping[str, Any]], best_by: BestBy) -> int:
    """Return the number of validated epochs after the best one, the first of equals."""
    ranks = [rank(epoch, best_by) for epoch in epochs]
    return len(ranks) - 1 - ranks.index(max(ranks)) if ranks else 0


def best_epochs(
    by_run: Sequence[Sequence[Mapping[str, Any]]], best_by: BestBy, *, common: bool
) -> list[dict[str, Any]]:
    """Return the best validated epoch of each run, the first of equals.

    Args:
      by_run: validated epochs, `{"epoch", "step", "score", "loss"}` each. If they are not, as in a file that somebody
        edited, a LookupError, TypeError, ValueError or OverflowError is raised.
      common: the same epoch in every run, the best by the mean over runs.
    """
    if common:
        by_epoch = list(zip(*by_run, strict=True))
        chosen = max(by_epoch, key=lambda epochs: float(np.mean([rank(epoch, best_by) for epoch in epochs])))
    else:
        chosen = [max(epochs, key=lambda epoch: rank(epoch, best_by)) for epochs in by_run]
    return [{**epoch, "epoch": int(epoch["epoch"]), "step": int(epoch["step"])} for epoch in chosen]
