"""Checkpoints of one fit: the latest and the best few, each with the fit's history, through orbax."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

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
    """Where one array cannot be read, tensorstore tells orbax of the others when it has stopped listening."""
    if str(found.exc_value) != "Event loop is closed":
        _show_unraisable(found)


sys.unraisablehook = _unraisable


def _rank(metrics: dict[str, float]) -> tuple[float, float]:
    """Higher is better; of two equal ones the earlier."""
    return (metrics["rank"], -metrics["step"])


class Checkpoints:
    """The checkpoint folder of one fit; a context manager.

    A save is visible only when it is whole: killed in the middle, the one before it is the latest. So one that cannot
    be read was spoiled later, on the disk: it is set aside where there is an older one to go on from, which ends in the
    same bits. One whose rank cannot be read is set aside always, as orbax opens no folder with it.
    """

    def __init__(self, folder: Path, keep_best: int):
        """Opens a folder.

        Args:
          folder: where the checkpoints lie; made when it is not there.
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
                # Each process by itself: the first writes, all read.
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
        """Of the checkpoints that are kept, in order."""
        return processes.on_main(lambda: sorted(self._manager.all_steps()))

    def save(self, state: TrainState, history: dict[str, Any], rank: float | None) -> None:
        """Saves a state; of several processes the first does.

        Args:
          history: what the loop has to know to go on; JSON.
          rank: how good the state is, higher is better; None where nothing was validated.

        Raises:
          UserError: it cannot be written; the disk is full, say.
        """
        if not processes.is_main():
            return
        step = int(state.step)
        # Asked for first: a disk that fills up in the middle of a save makes orbax's threads fail loudly, one by one.
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
        """Reads the newest checkpoint that is whole, as `read` does; None where there is no checkpoint.

        Raises:
          UserError: every one is damaged or belongs to another network.
        """
        newest, found = self._newest_whole(target) if processes.is_main() else (None, None)
        step = processes.on_main(lambda: newest)
        # The first process has read it already.
        return found if processes.is_main() or step is None else self.read(step, target)

    def _make_ready(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for step in self.folder.glob("[0-9]*"):
            if _has_torn_rank(step):  # over which orbax cannot open the folder
                self._set_aside(step)

    def _newest_whole(self, target: TrainState) -> tuple[int | None, tuple[TrainState, dict[str, Any]] | None]:
        """The newest step that can be read, and what it holds; damaged ones after it are set aside."""
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
            goes = "begins anew" if whole is None else f"goes on from step {whole}"
            logging.warning("%s is damaged and was set aside; training %s", aside, goes)
        return whole, found

    def read(self, step: int, target: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Reads a checkpoint as NumPy arrays, for any number of devices.

        Args:
          target: a state of the same shapes, or only shapes and types (`jax.eval_shape`).

        Returns:
          The state and its history.

        Raises:
          UserError: the checkpoint is missing, damaged or of another network.
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
        except Exception as error:  # orbax's have no common root
            raise UserError(
                f"{self.folder / str(step)}: this checkpoint cannot be read ({reason(error)}); delete"
                f" {self.folder.parent} and start again: the fold is then trained anew"
            ) from error
        # Orbax gives what is there, whatever shape it was asked for.
        if [x.shape for x in jax.tree.leaves(restored["state"])] != [x.shape for x in jax.tree.leaves(like)]:
            raise UserError(
                f"{self.folder / str(step)}: this checkpoint is of another network; delete {self.folder.parent} and"
                " start again: the fold is then trained anew"
            )
        return restored["state"], restored["history"]

    def _set_aside(self, step: Path) -> None:
        aside = step.with_name(f"damaged_{step.name}")
        shutil.rmtree(aside, ignore_errors=True)
        step.rename(aside)
        self._aside.append(step)


def _has_torn_rank(step: Path) -> bool:
    try:
        _rank({name: float(value) for name, value in json.loads((step / "metrics" / "metrics").read_bytes()).items()})
    except (FileNotFoundError, NotADirectoryError):  # no checkpoint, or one without a rank
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True
    return False
