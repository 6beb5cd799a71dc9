"""Measurements in processes of their own, each by the script that asks for them."""

import json
import resource
import subprocess
import sys
from typing import Any


def measured(module: str, *flags: object) -> Any:
    """What `python -m benchmarks.MODULE FLAGS` answers.

    Raises:
      subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, flags)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def answer(found: Any) -> None:
    """Prints what `measured` returns."""
    print(json.dumps(found))


def peak_gib() -> float:
    """The largest resident memory of this process so far, libraries and all, or of one that it waited for."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20
