"""Losses that are no numbers end a fit with a line, and leave no checkpoint to go on from."""

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.learning.checkpoints import Checkpoints
from jaxpara.learning.logs import Log
from jaxpara.learning.loop import train
from jaxpara.learning.state import TrainState
from jaxpara.progress import Progress


@pytest.mark.parametrize(
    ("loss", "tune_loss", "what"), [(np.nan, 0.5, "the loss is nan"), (0.5, np.nan, "the validation loss is nan")]
)
def test_a_loss_that_is_no_number_ends_the_fit(loss, tune_loss, what, tmp_path):
    state = TrainState(np.int32(0), {"w": np.zeros(2, np.float32)}, {}, (), np.float32(1), np.uint32(0))
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1)
    with Progress() as progress, checkpoints, pytest.raises(UserError, match=rf"net: {what} at step 2 \(epoch 1\)"):
        train(
            state,
            step=lambda state, batch: (state, batch),
            batches=lambda first: iter([0.5, loss]),
            steps_per_epoch=2,
            epochs=1,
            validate=lambda state: (None, tune_loss),
            validate_every=1,
            best_by="loss",
            lr=lambda step: 0.1,
            lr_scale=lambda losses: 1.0,
            checkpoints=checkpoints,
            log=lambda done: Log(tmp_path, done),
            progress=progress,
            name="net",
        )
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
