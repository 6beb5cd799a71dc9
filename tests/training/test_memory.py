"""The part of a batch that fits into the memory of an accelerator, with made-up figures of memory."""

import json
import os
from types import SimpleNamespace

import jax
import pytest
from test_net import CONFIG, RESNET, folds_in, net, trained  # noqa: F401 (a fixture)

from jaxpara.errors import UserError
from jaxpara.training import memory, parallel
from jaxpara.training.parallel import Placement, Stacked

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "rows", "trials"),
    [
        (100, 45, [45]),
        (45 / memory.USABLE, 45, [45]),
        (44 / memory.USABLE, 23, [45, 23]),
        (16 / memory.USABLE, 15, [45, 15]),
        (1 / memory.USABLE, 1, [45]),
        (0.1, 1, [45]),  # nothing fits; the step will raise the error
    ],
)
def test_the_largest_part_that_fits(free, rows, trials):
    tried = []

    def needed(rows):
        tried.append(rows)
        return rows

    assert memory.largest_part(45, needed, free) == rows
    assert tried == trials


def test_a_trial_follows_where_the_memory_does_not_fall_with_the_examples():
    assert memory.largest_part(8, lambda rows: 50 + rows, 54 / memory.USABLE) == 4


def device(platform="cuda", **stats):
    return SimpleNamespace(platform=platform, memory_stats=lambda: stats or None)


def test_the_free_memory_is_that_of_the_fullest_device():
    fuller = device(bytes_limit=60 * GIB, bytes_in_use=50 * GIB)
    assert memory.free_bytes([device(bytes_limit=60 * GIB, bytes_in_use=GIB), fuller]) == 10 * GIB
    assert memory.free_bytes([fuller, device()]) is None
    assert memory.free_bytes([device("cpu", bytes_limit=GIB)]) is None
    assert memory.free_bytes(jax.local_devices()) is None


@pytest.fixture
def fits(monkeypatch):
    """Make memory for so many examples of the networks of `CONFIG`, a step of which needs a byte for each."""

    def make(rows):
        monkeypatch.setattr(memory, "free_bytes", lambda devices: round(rows / memory.USABLE))
        monkeypatch.setattr(memory, "step_bytes", lambda compiled: compiled.in_avals[0][1]["inputs"].shape[-3])

    monkeypatch.setattr(parallel, "devices", lambda: jax.local_devices()[:1])
    return make


SMALL = CONFIG | {"model": {"name": "sequence_lstm", "lstm": (3,), "dropout": 0.0}}


def test_auto_takes_what_fits_and_later_runs_the_same(folds_in, fits, tmp_path):  # noqa: F811
    first, second = list(folds_in(tmp_path))[:2]
    for rows, run in ((5, first), (8, second)):
        fits(rows)
        network = net(SMALL)
        network._settle_at_once(run, Placement())
        assert network._parts(devices=1) == (2, 4)
    assert json.loads((tmp_path / memory.FILE).read_text()) == {"microbatch": 4}


def test_all_folds_at_once_share_one_number(folds_in, fits, tmp_path):  # noqa: F811
    fits(8)
    network = net(SMALL)
    network._settle_at_once(next(folds_in(tmp_path)), Stacked(2))
    assert network._at_once == 8


def test_training_records_the_number(folds_in, tmp_path):  # noqa: F811
    trained(net(SMALL, epochs=0), [next(folds_in(tmp_path))])
    assert json.loads((tmp_path / memory.FILE).read_text()) == {"microbatch": 0}


@pytest.mark.parametrize("case", [RESNET, CONFIG | {"loss": {"name": "batch_pcc"}}], ids=["BatchNorm", "batch_pcc"])
def test_batch_statistics_and_losses_of_the_batch_need_the_whole_batch(case, folds_in, fits, tmp_path):  # noqa: F811
    fits(1)
    network = net(case, waves=case is RESNET)
    network._settle_at_once(next(folds_in(tmp_path, waves=case is RESNET)), Placement())
    assert network._at_once == 0


def test_the_memory_of_a_step_is_known_on_a_cpu_too():
    compiled = jax.jit(lambda x: (x @ x).sum()).lower(jax.ShapeDtypeStruct((64, 64), "float32")).compile()
    assert memory.step_bytes(compiled) >= 64 * 64 * 4


def test_a_cpu_computes_240_s_of_a_waveform_at_once(folds_in, tmp_path):  # noqa: F811
    model = {"name": "cnn1d_lstm", "filters": (2,) * 4, "kernels": (2,) * 4, "pools": (2, 2, 2, 1), "lstm": (2,)}
    network = net(CONFIG | {"model": model}, waves=True)
    network._settle_at_once(next(folds_in(tmp_path, waves=True)))
    assert network._at_once == 240 * 16_000 // 400
    assert not (tmp_path / memory.FILE).exists()


@pytest.mark.parametrize("value", [-3, "-3", "some", 1.5])
def test_other_values_are_refused(value):
    with pytest.raises(UserError, match=f"net.microbatch is {value}, expected a whole number.*or auto"):
        net(microbatch=value)


def test_the_advice_names_who_uses_the_device(monkeypatch, tmp_path):
    assert memory.advice() == ""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '4711, python, 30000 MiB'\necho '4712, Xorg, 90 MiB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert memory.advice() == (
        "; XLA_PYTHON_CLIENT_MEM_FRACTION sets JAX's part of the device's memory (now 0.5);"
        " in use by 4711, python, 30000 MiB; 4712, Xorg, 90 MiB"
    )
    program.write_text("#!/bin/sh\nexit 9\n")
    assert memory.users() == ""
