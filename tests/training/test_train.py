"""The training loop with made-up losses: NaN, stop requests, the lines of the log."""

import itertools
import json
import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest

from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.training import parallel
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.logs import Log
from jaxpara.training.state import TrainState
from jaxpara.training.train import ActiveRun, Interrupted, stop_requests, train

OPTIMIZER = SimpleNamespace(schedule="constant", lr_at=lambda update, losses, updates: update / 100)


def trained(folder, losses, validation_loss=0.5, stop_requested=lambda: False, seconds=0.0, signalled=0):
    """Run the loop for an epoch of made-up losses. Batches and steps take `seconds` each; one batch sends SIGTERM."""
    state = TrainState(np.int32(0), {"w": np.zeros(2, np.float32)}, {}, (), np.uint32(0))

    def batches():
        for number, loss in enumerate(losses, 1):
            time.sleep(seconds)
            if number == signalled:
                os.kill(os.getpid(), signal.SIGTERM)
            yield np.full(len(parallel.devices()), loss)

    def step(state, batch):
        time.sleep(seconds)
        return state.replace(step=state.step + 1), batch[0, 0]

    with (
        Progress() as progress,
        Checkpoints(folder / "checkpoints", 1, "loss") as checkpoints,
        Log(folder, 0) as log,
    ):
        run = ActiveRun(
            name="net",
            folder=folder,
            slot=0,
            steps_per_epoch=len(losses),
            epochs=1,
            history={"losses": [], "epochs": [], "seconds": 0.0},
            state=state,
            batches=batches(),
            score_and_loss=lambda state: (None, validation_loss),
            checkpoints=checkpoints,
            log=log,
        )
        train(
            [run],
            step,
            parallel.Placement(),
            validate_every=1,
            optimizer=OPTIMIZER,
            stop_requested=stop_requested,
            progress=progress,
        )


def training_lines(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


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
    """The message names the step although losses are read only every 20 steps; no checkpoint is saved."""
    with pytest.raises(UserError, match=rf"net: {what} \(epoch 1\)"):
        trained(tmp_path, losses, validation_loss)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))
    assert not (tmp_path / "summary.json").exists()


def test_lines_of_the_log_are_means_of_the_steps_since_the_last_one(tmp_path):
    losses = [float(n) for n in range(45)]
    trained(tmp_path, losses)
    # Schedules count updates from 0.
    assert [(line["step"], line["loss"], line["lr"]) for line in training_lines(tmp_path)] == [
        (last, np.mean(losses[first:last]), (last - 1) / 100) for first, last in itertools.pairwise((0, 20, 40, 45))
    ]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["kind"] == "validation"


def test_the_log_has_the_fraction_of_time_spent_waiting_for_batches(tmp_path):
    trained(tmp_path, [0.5] * 20, seconds=0.03)
    (line,) = training_lines(tmp_path)
    passed_s = 20 / line["steps_per_s"]
    assert 0.59 < line["waiting"] * passed_s < passed_s - 0.59  # 0.6 s for batches, and 0.6 s for steps


@pytest.mark.parametrize(("count", "signalled", "saved"), [(1, 4, 3), (2, 4, 20), (2, 21, 20), (2, 22, 40)])
def test_a_signal_is_not_lost_before_the_processes_agree(count, signalled, saved, tmp_path, monkeypatch):
    """Several processes agree only at steps with a line of the log; a signal between them counts at the next one.

    A batch is fetched during the step before.
    """
    asked = []

    def any_process(value):
        asked.append(value)
        return value

    monkeypatch.setattr("jaxpara.training.train.any_process", any_process)
    monkeypatch.setattr("jaxpara.training.train.processes.count", lambda: count)
    with pytest.raises(Interrupted, match=rf"^net: stopped after step {saved} of 45; saved$"), stop_requests() as stop:
        trained(tmp_path, [0.5] * 45, stop_requested=stop, signalled=signalled)
    assert asked == [False] * (len(asked) - 1) + [True]
    assert len(asked) == (saved if count == 1 else saved // 20)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"{saved}"]


def test_a_signal_after_the_loop_last_asked_interrupts():
    def work():
        with stop_requests() as stop_requested:
            assert not stop_requested()
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background of a shell
    with pytest.raises(KeyboardInterrupt):
        work()
    assert signal.getsignal(signal.SIGINT) is before
