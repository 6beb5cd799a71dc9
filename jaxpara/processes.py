"""Several processes, on one host or on many, as one run: who writes, who waits, and how they end together.

The first process writes, the others wait for it and read. A process by itself is the first of one.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from jaxpara.errors import UserError, reason

T = TypeVar("T")

LOST = "another process of this run ended"
SILENT_FOR_S = 100  # a process that was not heard of for so long has ended; JAX's default
FOREVER_MS = 30 * 24 * 3600 * 1000  # the first may be at work for days
# What JAX and its transports say when the other side is gone.
_GONE = re.compile(r"gloo|nccl|connection|socket|peer|heartbeat|coordination|barrier|UNAVAILABLE|CANCELLED", re.I)

_client: Any = None
_index, _count = 0, 1
_serial = itertools.count()
_on_abort: Any = None


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Makes this process one of several; before anything is computed.

    Args:
      coordinator: `HOST:PORT` of the first process, on which it listens. None, with the others: from the environment
        that SLURM, Open MPI and the like set.
      processes, process: how many there are, and which this is, from 0.

    Raises:
      UserError: they did not come together, or have different numbers of devices.
    """
    global _client, _index, _count
    _hold_back_libraries()
    import jax
    from jax._src.distributed import global_state  # the client has no other door

    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=SILENT_FOR_S)
    except Exception as error:
        wanted = "give --coordinator=HOST:PORT --processes=N --process=I, with the same port, free, on all hosts"
        raise UserError(f"the processes of this run did not come together ({reason(error)}); {wanted}") from error
    _client, _index, _count = global_state.client, jax.process_index(), jax.process_count()
    if jax.device_count() != _count * jax.local_device_count():
        raise UserError(
            f"process {_index} has {jax.local_device_count()} of {jax.device_count()} devices, expected as many in each"
            f" of the {_count} processes; choose them with CUDA_VISIBLE_DEVICES"
        )


def index() -> int:
    """Which process this is, from 0."""
    return _index


def count() -> int:
    """How many there are."""
    return _count


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return _index == 0


def on_main(work: Callable[[], T]) -> T:
    """What the first process's `work` returns, in all processes; the others wait for it and do nothing.

    All processes have to come by here in the same order.

    Args:
      work: returns JSON.
    """
    if _count == 1:
        return work()
    key = f"jaxpara/{next(_serial)}"
    if is_main():
        result = work()
        _client.key_value_set(key, json.dumps(result))
        return result
    return json.loads(_client.blocking_key_value_get(key, FOREVER_MS))


def wait_for_main() -> None:
    """The others wait here until the first has come by."""
    on_main(lambda: None)


def peer_error(error: BaseException) -> str:
    """The line that says so, where an error is that another process is gone; else empty."""
    if _count == 1 or type(error).__name__ not in ("JaxRuntimeError", "XlaRuntimeError"):
        return ""
    return _lost(str(error))


def _lost(told: str) -> str:
    cause = next((line.strip() for line in told.splitlines() if _GONE.search(line)), "")
    mend = "start the same command on all hosts again: it goes on from the last checkpoint"
    return cause and f"error: {LOST} ({cause[:200]}); {mend}"


def _hold_back_libraries() -> None:
    """Keeps what C++ libraries print for the case that it is wanted, and turns their abort into one line.

    The coordination service of JAX ends a process whose peers are gone with a stack trace, and cannot be asked not to.
    """
    global _on_abort
    sys.stdout, sys.stderr = (
        os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="backslashreplace") for number in (1, 2)
    )
    with tempfile.TemporaryFile() as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)

    def on_abort(_: int) -> None:
        told = os.pread(2, 1 << 20, 0).decode(errors="replace")
        exit_with(_lost(told) or told, 1)

    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(on_abort)
    ctypes.CDLL(None).signal(signal.SIGABRT, _on_abort)


def exit_with(line: str, status: int) -> NoReturn:
    """Prints one line and ends at once: libraries that are torn down after an error only add noise to it."""
    print(line, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)
