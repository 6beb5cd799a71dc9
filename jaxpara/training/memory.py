"""The memory of accelerators: how many examples of a batch one can compute at once, and who else uses it."""

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxpara import processes
from jaxpara.errors import UserError
from jaxpara.files import read_json, write_json
from jaxpara.training import parallel
from jaxpara.training.batches import example_of_batch, parts_of
from jaxpara.training.fold_run import FoldRun

FILE = "microbatch.json"  # in the folder of a member

# Of the free memory, for a step: the rest is for batches in flight and the workspaces of kernels. Not measured.
USABLE = 0.8


def free_bytes(devices: Sequence[Any]) -> int | None:
    """Return the free memory of the fullest device; None for CPUs and where it is unknown."""
    if devices[0].platform == "cpu":
        return None
    stats = [device.memory_stats() or {} for device in devices]
    if not all("bytes_limit" in each for each in stats):
        return None
    return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in stats)


def step_bytes(compiled: jax.stages.Compiled) -> int:
    """Return the memory that a compiled step needs on each device, with its arguments and results."""
    sizes: Any = compiled.memory_analysis()
    arguments, results = sizes.argument_size_in_bytes, sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return arguments + results + sizes.temp_size_in_bytes


def at_once_of(microbatch: int | str, where: str) -> int | None:
    """Return the number of `learner.microbatch`, None if it is `auto`; a UserError if it is neither."""
    if microbatch == "auto":
        return None
    if not str(microbatch).isdecimal():
        raise UserError(
            f"config.{where}.microbatch is {microbatch}, expected a whole number, at least 0, with 0 for the whole"
            " batch, or auto"
        )
    return int(microbatch)


def settled(net: Any, run: FoldRun, placement: parallel.Placement | None) -> int:
    """Return what `choose` chose in the first training of a member; choose it there, and record it in its folder.

    Dropout differs by part, so a resumed run needs the same. All processes call it together.
    """
    path, fix = run.folder.parent / FILE, "delete it, and train this member in another --workdir"
    found = processes.on_main(lambda: read_json(path, fix, ("microbatch",)) if path.exists() else None)
    if found is not None:
        return int(found["microbatch"])
    at_once = choose(net, run, placement)
    if placement:
        processes.on_main(lambda: write_json(path, {"microbatch": at_once}))
    return at_once


def choose(net: Any, run: FoldRun, placement: parallel.Placement | None) -> int:
    """Return how many examples a device computes at once, 0 for all.

    On accelerators as many as fit into the free memory, on a CPU `samples_at_once` of the network or all; all for
    networks with BatchNorm and losses over the batch.

    Args:
      net: a `jaxpara.training.net.Net`.
      placement: of the training; None for prediction, which is not measured.
    """
    state = jax.eval_shape(lambda: net.init(run))
    whole = net.loss.whole_batch or bool(state.batch_stats)
    samples = 0 if whole else getattr(net.model, "samples_at_once", 0)
    at_once = max(1, samples // jax.eval_shape(lambda: net.example(run)).shape[1]) if samples else 0
    free = parallel.smallest(free_bytes(parallel.own_devices())) if placement else None
    if not (placement and free) or whole or not net.learns:
        return at_once
    one = example_of_batch(net.examples_of(run, run.fold.train_names, training=True))
    step, devices = net.train_step(placement), placement.devices

    def needed(rows: int) -> int:
        parts = parts_of(net.batch, devices, rows)
        batch = {name: jax.ShapeDtypeStruct((*parts, *np.shape(v)), v.dtype) for name, v in one.items()}
        return step_bytes(step.lower(*placement.shapes(state, batch)).compile())

    return largest_part(-(-net.batch // devices), needed, free)


def largest_part(batch: int, needed: Callable[[int], int], free: int) -> int:
    """Return the most examples, of a batch in equal parts, whose step fits into `USABLE` of the free memory.

    Each trial compiles a program, which takes long: after the first one, with the whole batch, the number of parts is
    estimated from the memory that it needs.

    Args:
      batch: examples of the batch on each device.
      needed: maps a number of examples to the bytes of their step.
      free: bytes.
    """
    rows, parts = batch, 1
    while rows > 1 and (excess := needed(rows) / (USABLE * free)) > 1:
        parts = min(batch, max(parts + 1, math.ceil(parts * excess)))
        rows = min(rows - 1, -(-batch // parts))
    return rows


def advice() -> str:
    """Return what else helps where the memory of a GPU is full, for an error message; empty on a CPU."""
    if jax.default_backend() == "cpu":
        return ""
    now = os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75, the default")
    fix = f"; XLA_PYTHON_CLIENT_MEM_FRACTION sets JAX's part of the device's memory (now {now})"
    return f"{fix}; in use by {found}" if (found := users()) else fix


def users() -> str:
    """Return the processes that use NVIDIA GPUs, as `nvidia-smi` lists them; empty where it cannot be known."""
    if not (program := shutil.which("nvidia-smi")):
        return ""
    query = [program, "--query-compute-apps=pid,name,used_memory", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(line.strip() for line in listed.splitlines() if line.strip())
