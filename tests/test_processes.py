"""Two processes with two devices each, on the loopback interface, give the results of one process with four."""

import signal
import socket
import time

import numpy as np
import pytest
from commands import ended, serving, started, wait_for
from test_run import CONFIG, TINY

from jaxpara.files import read_json_lines

FEW = [*TINY, "--config.members.cnn.learner.epochs=2"]
HEARTBEAT = {"JAXPARA_HEARTBEAT_TIMEOUT_S": "6"}  # 60 s by default
# Both processes get the result of the main one, which then works for a minute while the other waits.
WORK = """
import json, sys, time
from jaxpara import processes
processes.join(sys.argv[1], 2, int(sys.argv[2]))
for text in ("", "ü" * 99, "long " * 9999):
    assert processes.on_main(lambda: {"text": text, "from": processes.index()}) == {"text": text, "from": 0}
print(processes.index(), processes.count(), processes.is_main(), flush=True)
processes.on_main(lambda: time.sleep(60))
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Return a function that starts one process of a run with a number of devices."""

    def launch(workdir, devices, *flags):
        flag = f"--xla_force_host_platform_device_count={devices}"
        return commands.start(CONFIG, *FEW, f"--workdir={workdir}", *flags, XLA_FLAGS=flag)

    with serving(tmp_path_factory.mktemp("cache"), **HEARTBEAT) as commands:
        yield launch


def coordinator():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def launch_two(launch):
    """Return a function that starts both processes of a run."""

    def start(workdir):
        together = (f"--coordinator={coordinator()}", "--processes=2")
        return [launch(workdir, 2, *together, f"--process={process}") for process in range(2)]

    return start


@pytest.fixture(scope="module")
def alone(launch, tmp_path_factory):
    """Return the workdir of a run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    outcome = ended(launch(workdir, 4))
    assert outcome.status == 0, outcome.err
    return workdir


def assert_same_results(workdir, other):
    for fold in range(2):
        for part in ("validation", "test"):
            path = f"members/cnn/fold_{fold}_seed_0/predictions/{part}.npz"
            with np.load(workdir / path) as one, np.load(other / path) as two:
                np.testing.assert_array_equal(one["recording"], two["recording"])
                np.testing.assert_allclose(one["score_0"], two["score_0"], rtol=0, atol=1e-5)
        logs = [
            read_json_lines(folder / f"members/cnn/fold_{fold}_seed_0/metrics.jsonl") for folder in (workdir, other)
        ]
        steps, losses = ([[line[key] for line in log] for log in logs] for key in ("step", "loss"))
        assert steps[0] == steps[1]
        np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
    for file in ("report.html", "results.json", "predictions/test.npz"):
        assert (workdir / file).exists()


def survivor_of(number, processes, victim, timeout_s=20):
    """Send a signal to one of two processes, and return how the other ends."""
    try:
        processes[victim].send_signal(number)
        return ended(processes[1 - victim], timeout_s=timeout_s)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_two_processes_give_the_results_of_one(alone, launch_two, tmp_path):
    outcomes = [ended(process) for process in launch_two(tmp_path / "run")]
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert_same_results(tmp_path / "run", alone)
    assert "report:" in outcomes[0].out
    assert "report:" not in outcomes[1].out + outcomes[1].err  # the main process prints for all


def test_a_killed_process_ends_the_other_and_two_or_one_resume(alone, launch, launch_two, tmp_path):
    workdir = tmp_path / "run"
    for fold, victim in enumerate([0, 1]):
        processes = launch_two(workdir)
        checkpoints = workdir / f"members/cnn/fold_{fold}_seed_0/checkpoints"
        wait_for(lambda at=checkpoints: any(path.name.isdigit() for path in at.glob("*")), processes[0])  # a whole one
        outcome = survivor_of(signal.SIGKILL, processes, victim)
        assert outcome.status in (1, -signal.SIGABRT), outcome
        assert "to resume" in outcome.err or "another task died" in outcome.err, outcome  # JAX's, where it is faster
    outcome = ended(launch(workdir, 4))
    assert outcome.status == 0, outcome
    assert (workdir / "members/cnn/fold_1_seed_0/summary.json").exists()
    assert_same_results(workdir, alone)


@pytest.mark.parametrize(("number", "victim"), [(signal.SIGKILL, 0), (signal.SIGSTOP, 0), (signal.SIGSTOP, 1)])
def test_a_killed_or_frozen_process_ends_the_other(tmp_path, number, victim):
    """A frozen process is noticed when its heartbeat is overdue."""
    where = coordinator()
    processes = [started("-c", WORK, where, process, cache=tmp_path, **HEARTBEAT) for process in range(2)]
    lines = [process.stdout.readline() for process in processes]
    while not all(line.strip().endswith((b"True", b"False")) for line in lines):  # libraries may print lines before
        lines = [process.stdout.readline() for process in processes]
    assert [line.strip() for line in lines] == [b"0 2 True", b"1 2 False"]
    began = time.monotonic()
    outcome = survivor_of(number, processes, victim)
    assert outcome.status not in (0, None), outcome
    assert time.monotonic() - began < (5 if number == signal.SIGKILL else 15)
    assert outcome.err
