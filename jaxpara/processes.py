"""Several processes, on one or more hosts, that work on one run.

All processes run the same program. The main process, with index 0, writes files; the others wait for it and read.
A single process is the main one. This uses only `jax.distributed` and `jax.experimental.multihost_utils`.

The time that a process waits for another, measured with two CPU processes on jax 0.10.2 and 0.12.0:
- In a collective on CPUs (gloo): 30 minutes, which `join` raises, as the main process may extract features for hours
  while the others wait for its result. On GPUs (NCCL): without limit (github.com/jax-ml/jax/issues/38503).
- For the first collective of a set of devices: 30 seconds, which cannot be raised; `join` connects both sets in use.
- For a killed process: no time, as its connections are closed. But if each process has several devices, a device may
  wait for another device of its own process, whose collective has failed.
- In that case, and for a process that is frozen or whose host is gone: `HEARTBEAT_TIMEOUT_S`, after which JAX's
  coordination service aborts the others.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

from jaxpara.errors import UserError, reason

T = TypeVar("T")

HEARTBEAT_TIMEOUT_S = int(os.environ.get("JAXPARA_HEARTBEAT_TIMEOUT_S", "60"))
CPU_TIMEOUT_FLAG = "--xla_cpu_collective_timeout_seconds"
CPU_TIMEOUT_S = 30 * 24 * 3600

_index, _count = 0, 1


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Make this process, number `process` from 0, one of several. Call it before anything is computed.

    The main process listens at `coordinator`, `HOST:PORT`. If all three arguments are None, JAX reads them from the
    environment that SLURM or Open MPI sets.
    """
    global _index, _count
    flags = os.environ.get("XLA_FLAGS", "")
    if CPU_TIMEOUT_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_TIMEOUT_FLAG}={CPU_TIMEOUT_S}"
    import jax
    import numpy as np

    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S)
    except Exception as error:
        raise UserError(
            f"the processes of this run could not connect ({reason(error)}); give --coordinator=HOST:PORT"
            " --processes=N --process=I, with the same free port on all hosts"
        ) from error
    _index, _count = jax.process_index(), jax.process_count()
    if jax.device_count() != _count * jax.local_device_count():
        raise UserError(
            f"process {_index} has {jax.local_device_count()} of {jax.device_count()} devices, expected the same number"
            f" in each of the {_count} processes; choose them with CUDA_VISIBLE_DEVICES"
        )
    # Connect the devices that broadcast (one of each process) and those that train (all) while no process is late.
    wait_for_main()
    jax.pmap(lambda x: jax.lax.psum(x, "all"), "all")(np.ones(jax.local_device_count())).block_until_ready()


def index() -> int:
    """Return the index of this process, from 0."""
    return _index


def count() -> int:
    """Return the number of processes."""
    return _count


def is_main() -> bool:
    """Return True in the process that writes files."""
    return _index == 0


def on_main(work: Callable[[], T]) -> T:
    """Run `work` in the main process, and return its result, which can be written as JSON, in every process.

    All processes have to make these calls in the same order.
    """
    if _count == 1:
        return work()
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    text = json.dumps(work()).encode() if is_main() else b""
    size = int(broadcast_one_to_all(np.int32(len(text))))
    # Padded to a power of two, as each length of an array is compiled separately.
    message = np.zeros(1 << max(8, size.bit_length()), np.uint8)
    message[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(bytes(broadcast_one_to_all(message)[:size]))


def wait_for_main() -> None:
    """Wait until the main process has reached this call as well."""
    on_main(lambda: None)


def exit_with(line: str, status: int) -> NoReturn:
    """Print a line on standard error and end the process at once, without waiting for other processes or threads."""
    print(line, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)
