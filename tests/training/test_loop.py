"""Losses that are no numbers end a fit with a line, and leave no checkpoint to go on from."""

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.training import lockstep, parallel
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.logs import Log
from jaxpara.training.loop import new_history, train
from jaxpara.training.state import TrainState


@pytest.mark.parametrize(
    ("loss", "tune_loss", "what"), [(np.nan, 0.5, "the loss is nan"), (0.5, np.nan, "the validation loss is nan")]
)
def test_a_loss_that_is_no_number_ends_the_fit(loss, tune_loss, what, tmp_path):
    state = TrainState(np.int32(0), {"w": np.zeros(2, np.float32)}, {}, (), np.float32(1), np.uint32(0))
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1)
    with Progress() as progress, checkpoints:
        loop = train(
            new_history(),
            0,
            batches=iter([np.full(parallel.device_count(), value) for value in (0.5, loss)]),
            steps_per_epoch=2,
            epochs=1,
            validate=lambda state: (None, tune_loss),
            validate_every=1,
            best_by="loss",
            lr=lambda step: 0.1,
            lr_scale=lambda losses: 1.0,
            checkpoints=checkpoints,
            log=Log(tmp_path, 0),
            progress=progress,
            name="net",
            asked_to_stop=lambda: False,
        )
        with pytest.raises(UserError, match=rf"net: {what} at step 2 \(epoch 1\)"):
            lockstep.run({0: loop}, {0: state}, lambda state, batch: (state, batch[0, 0]), parallel.Shared(), 1)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
