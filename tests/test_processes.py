"""Two processes with two devices each, on the loopback interface, come to what one process with four comes to."""

import json
import signal
import socket

import numpy as np
import pytest
from commands import ended, started, wait_for
from test_run import CONFIG, TINY

from jaxpara.processes import LOST

FEW = [*TINY, "--config.members.cnn.folds.n=2", "--config.members.cnn.learner.epochs=2"]


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Starts one process of a run."""
    cache = tmp_path_factory.mktemp("cache")

    def start(workdir, devices, *flags):
        devices = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        return started("launch.py", CONFIG, *FEW, f"--workdir={workdir}", *flags, cache=cache, **devices)

    return start


@pytest.fixture(scope="module")
def launch_two(launch):
    """Starts both processes of a run."""

    def start(workdir):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        together = (f"--coordinator=localhost:{port}", "--processes=2")
        return [launch(workdir, 2, *together, f"--process={process}") for process in range(2)]

    return start


@pytest.fixture(scope="module")
def alone(launch, tmp_path_factory):
    """What one process with four devices leaves."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    outcome = ended(launch(workdir, 4))
    assert outcome.status == 0, outcome.err
    return workdir


def assert_same_results(workdir, other):
    for fold in range(2):
        for part in ("validation", "test"):
            path = f"members/cnn/fold_{fold}_seed_0/predictions/{part}.npz"
            with np.load(workdir / path) as one, np.load(other / path) as two:
                np.testing.assert_array_equal(one["recordings"], two["recordings"])
                np.testing.assert_allclose(one["scores"], two["scores"], rtol=0, atol=1e-5)
        lines = [
            [
                json.loads(line)
                for line in (folder / f"members/cnn/fold_{fold}_seed_0/metrics.jsonl").read_text().splitlines()
            ]
            for folder in (workdir, other)
        ]
        steps, losses = (
            [[line[key] for line in lines_of] for lines_of in lines] for key in ("step", "loss")
        )  # fmt: skip
        assert steps[0] == steps[1]
        np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    for file in ("report.html", "results.json", "predictions/test.npz"):
        assert (workdir / file).exists()


def test_two_processes_come_to_what_one_does(alone, launch_two, tmp_path):
    outcomes = [ended(process) for process in launch_two(tmp_path / "run")]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert_same_results(tmp_path / "run", alone)
    assert "report:" in outcomes[0].out
    assert outcomes[1].out == ""  # the first speaks for all


def test_a_killed_process_ends_the_others_and_the_same_command_goes_on(alone, launch_two, tmp_path):
    workdir = tmp_path / "run"
    first, other = launch_two(workdir)
    try:
        checkpoints = workdir / "members/cnn/fold_0_seed_0/checkpoints"
        wait_for(lambda: any(path.name.isdigit() for path in checkpoints.glob("*")), first)  # whole ones
        first.send_signal(signal.SIGKILL)
        outcome = ended(other)
    finally:
        for process in (first, other):
            process.kill()
            process.communicate()
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {LOST} (")
    assert len(outcome.err.splitlines()) == 1
    trained = (workdir / "members/cnn/fold_0_seed_0/summary.json").exists()
    outcomes = [ended(process) for process in launch_two(workdir)]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert trained or "resumes after step" in outcomes[0].out
    assert_same_results(workdir, alone)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--processes=2"], "belong together"),
        (["--coordinator=a:1", "--processes=2", "--process=0", "--distributed"], "stands alone"),
        (["--coordinator=a:1", "--processes=2", "--process=2"], "I from 0 to N - 1"),
        (["--coordinator=a", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--distributed", "--mode=check"], "the work of one process"),
    ],
)
def test_flags_that_do_not_go_together_are_named(launch, tmp_path, flags, words):
    outcome = ended(launch(tmp_path, 1, *flags))
    assert outcome.status == 1
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
