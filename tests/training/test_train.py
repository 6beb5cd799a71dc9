"""Losses that are not finite end a run with a line that names the step, and leave no checkpoint to resume from."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.training import parallel
from jaxpara.training.batches import Timed
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.logs import Log
from jaxpara.training.state import TrainState
from jaxpara.training.train import ActiveRun, new_history, train

OPTIMIZER = SimpleNamespace(has_lr_scale=False, lr_at=lambda step, losses: 0.1)


def trained(folder, losses, validation_loss, steps_per_epoch):
    """Runs the loop for an epoch of made-up losses."""
    state = TrainState(np.int32(0), {"w": np.zeros(2, np.float32)}, {}, (), np.uint32(0))
    with Progress() as progress, Checkpoints(folder / "checkpoints", 1) as checkpoints, Log(folder, 0) as log:
        run = ActiveRun(
            name="net",
            folder=folder,
            slot=0,
            step=0,
            steps_per_epoch=steps_per_epoch,
            total_steps=steps_per_epoch,
            history=new_history(),
            state=state,
            batches=Timed(np.full(parallel.device_count(), value) for value in losses),
            validate=lambda state: (None, validation_loss),
            checkpoints=checkpoints,
            log=log,
            parameters=2,
        )
        train(
            [run],
            lambda state, batch: (state, batch[0, 0]),
            parallel.Placement(),
            epochs=1,
            validate_every=1,
            best_by="loss",
            optimizer=OPTIMIZER,
            stop_requested=lambda: False,
            progress=progress,
        )


@pytest.mark.parametrize(
    ("losses", "validation_loss", "what"),
    [
        ([0.5, np.nan], 0.5, "the loss is nan at step 2"),
        ([0.5] * 12 + [np.inf] + [np.nan] * 17, 0.5, "the loss is inf at step 13"),
        ([0.5] * 22 + [np.nan] * 8, 0.5, "the loss is nan at step 23"),
        ([0.5, 0.5], np.nan, "the validation loss is nan at step 2"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run(losses, validation_loss, what, tmp_path):
    """The step is named although losses are fetched only now and then."""
    with pytest.raises(UserError, match=rf"net: {what} \(epoch 1\)"):
        trained(tmp_path, losses, validation_loss, len(losses))
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
    assert not (tmp_path / "summary.json").exists()


def test_lines_of_the_log_are_means_of_the_steps_since_the_last_one(tmp_path):
    losses = [float(n) for n in range(45)]
    trained(tmp_path, losses, 0.5, len(losses))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"] == [
        (last, np.mean(losses[first:last])) for first, last in itertools.pairwise((0, 20, 40, 45))
    ]
    assert lines[-1]["kind"] == "validation"
