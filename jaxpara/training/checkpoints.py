"""Checkpoints of one run: the latest and the best few, each with the history of the run, through orbax."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from jaxpara import processes
from jaxpara.errors import UserError, reason
from jaxpara.training.state import TrainState

_policies = ocp.checkpoint_managers

# Orbax logs each failure with its whole traceback, once per thread, and raises it as well.
logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)
_show_unraisable = sys.unraisablehook


def _unraisable(found: Any) -> None:
    """Hide what tensorstore reports to orbax of other arrays after one could not be read."""
    if str(found.exc_value) != "Event loop is closed":
        _show_unraisable(found)


sys.unraisablehook = _unraisable


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """Higher is better; of equal ones the earlier."""
    return (metrics["rank"], -metrics["step"])


class Checkpoints:
    """The checkpoint folder of one run; a context manager.

    A save is visible only when it is complete, so a run that is killed while it saves resumes from the checkpoint
    before. A checkpoint that cannot be read was damaged later, on the disk: it is renamed `damaged_<step>` if there is
    an older one to resume from, which leads to the same bits. One whose rank cannot be read is always renamed, because
    orbax opens no folder that contains it.
    """

    def __init__(self, folder: Path, keep_best: int):
        """Open a folder, and create it if needed.

        Args:
          folder: of the checkpoints.
          keep_best: how many of the best ranks are kept, beside the latest.
        """
        self.folder = folder.absolute()
        self._aside: list[Path] = []
        processes.on_main(self._make_ready)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_policies.AnyPreservationPolicy(
                    [
                        _policies.LatestN(1),
                        _policies.BestN(
                            get_metric_fn=_rank,  # pyright: ignore[reportArgumentType]
                            n=keep_best,
                            keep_checkpoints_without_metrics=False,
                        ),
                    ]
                ),
                best_fn=_rank,  # pyright: ignore[reportArgumentType]
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

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def steps(self) -> list[int]:
        """The steps of the checkpoints that are kept, in order."""
        return processes.on_main(lambda: sorted(self._manager.all_steps()))

    def save(self, state: TrainState, history: dict[str, Any], rank: float | None) -> None:
        """Save a state; of several processes the main one does.

        Args:
          history: what training needs to resume; JSON.
          rank: how good the state is, higher is better; None without a validation.

        Raises:
          UserError: it cannot be written, because the disk is full for instance.
        """
        if not processes.is_main():
            return
        step = int(state.step)
        # Checked first: a disk that fills up during a save makes orbax's threads fail loudly, one by one.
        needed = 2_000_000 + 1.5 * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        try:
            if free < needed:
                raise OSError(f"{free / 1e6:.0f} MB free on the disk, {needed / 1e6:.0f} MB needed")
            self._save(step, state, history, rank)
        except Exception as error:
            raise UserError(
                f"{self.folder}: the checkpoint of step {step} cannot be written ({reason(error)});"
                " nothing finished is lost: make room and start the same command again"
            ) from error

    def _save(self, step: int, state: TrainState, history: dict[str, Any], rank: float | None) -> None:
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.device_get(state)),  # pyright: ignore[reportCallIssue]
                history=ocp.args.JsonSave(history),  # pyright: ignore[reportCallIssue]
            ),
            metrics=None if rank is None else {"rank": rank, "step": float(step)},
        )

    def latest(self, target: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Read the newest checkpoint that can be read, as `read` does; None where there is no checkpoint.

        Raises:
          UserError: every one is damaged or belongs to another network.
        """
        newest, found = self._newest_whole(target) if processes.is_main() else (None, None)
        step = processes.on_main(lambda: newest)
        # The main process has read it already.
        return found if processes.is_main() or step is None else self.read(step, target)

    def _make_ready(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for step in self.folder.glob("[0-9]*"):
            if _rank_is_damaged(step):
                self._set_aside(step)

    def _newest_whole(self, target: TrainState) -> tuple[int | None, tuple[TrainState, dict[str, Any]] | None]:
        """Return the newest step that can be read, with its content; set damaged ones after it aside."""
        damaged, whole, found = [], None, None
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                whole, found = step, self.read(step, target)
                break
            except UserError as error:
                damaged.append((step, error))
        if damaged and whole is None:
            raise damaged[0][1]
        for step, _ in damaged:
            self._set_aside(self.folder / str(step))
        self._manager.reload()
        for aside in self._aside:
            then = "starts again" if whole is None else f"resumes from step {whole}"
            logging.warning("%s is damaged and was set aside; training %s", aside, then)
        return whole, found

    def read(self, step: int, target: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Read a checkpoint as NumPy arrays, for any number of devices.

        Args:
          target: a state of the same shapes, or only shapes and types (`jax.eval_shape`).

        Returns:
          The state and its history.

        Raises:
          UserError: the checkpoint is missing, damaged or belongs to another network.
        """
        like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), target)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(like),  # pyright: ignore[reportCallIssue]
                    history=ocp.args.JsonRestore(),
                ),
            )
        except Exception as error:  # orbax's errors have no common base
            raise UserError(
                f"{self.folder / str(step)}: this checkpoint cannot be read ({reason(error)}); delete"
                f" {self.folder.parent} and start again, which trains this fold again"
            ) from error
        # Orbax returns what is there, whatever shape it was asked for.
        if [x.shape for x in jax.tree.leaves(restored["state"])] != [x.shape for x in jax.tree.leaves(like)]:
            raise UserError(
                f"{self.folder / str(step)}: this checkpoint belongs to another network; delete {self.folder.parent}"
                " and start again, which trains this fold again"
            )
        return restored["state"], restored["history"]

    def _set_aside(self, step: Path) -> None:
        aside = step.with_name(f"damaged_{step.name}")
        shutil.rmtree(aside, ignore_errors=True)
        step.rename(aside)
        self._aside.append(step)


def _rank_is_damaged(step: Path) -> bool:
    try:
        _rank({name: float(value) for name, value in json.loads((step / "metrics" / "metrics").read_bytes()).items()})
    except (FileNotFoundError, NotADirectoryError):  # no checkpoint, or one without a rank
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
    return False


def best_epochs(
    by_run: Sequence[Sequence[Mapping[str, Any]]], best_by: Literal["score", "loss"], *, common: bool
) -> list[dict[str, Any]]:
    """Return the best validated epoch of each run, the first of equals.

    Args:
      by_run: validated epochs, `{"epoch", "step", "score", "loss"}` each.
      best_by: the highest score (None is the lowest of all), or the lowest loss.
      common: the same epoch in every run, the best by the mean over runs.

    Raises:
      LookupError, TypeError, ValueError, OverflowError: these are no epochs, as in a file that somebody edited.
    """

    def rank(epoch: Mapping[str, Any]) -> float:
        if best_by == "loss":
            return -float(epoch["loss"])
        return -np.inf if epoch["score"] is None else float(epoch["score"])

    if common:
        by_epoch = list(zip(*by_run, strict=True))
        chosen = max(by_epoch, key=lambda epochs: float(np.mean([rank(epoch) for epoch in epochs])))
    else:
        chosen = [max(epochs, key=rank) for epochs in by_run]
    return [{**epoch, "epoch": int(epoch["epoch"]), "step": int(epoch["step"])} for epoch in chosen]
