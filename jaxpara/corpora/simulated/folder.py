"""Writes a simulated corpus once: whole or not at all, and by one process at a time."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxpara.errors import UserError

MARKER = "SIMULATED.json"


def _finished(root: Path, parameters: dict[str, Any]) -> bool:
    """Whether `root` holds exactly this corpus.

    Raises:
      UserError: it holds something else, which is not ours to overwrite.
    """
    marker = root / MARKER
    if not marker.exists():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UserError(f"{root}: holds files but no {MARKER}; a simulated corpus needs an empty or a new folder")
        return False
    try:
        found = json.loads(marker.read_text())
    except ValueError as error:
        raise UserError(f"{marker}: not readable as JSON ({error}); delete {root} and run again") from error
    differing = [key for key in parameters if not isinstance(found, dict) or found.get(key) != parameters[key]]
    if differing:
        key = differing[0]
        was = found.get(key) if isinstance(found, dict) else found
        raise UserError(
            f"{marker}: {key} is {was!r}, expected {parameters[key]!r}; delete {root} or choose another folder"
        )
    return True


def write_once(root: Path, parameters: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Fills a folder beside `root`, marks it and renames it to `root`; does nothing where that has been done.

    A process that is killed leaves `.<name>.part`, which the next one clears; a second process that wants the same
    corpus waits for the first.

    Args:
      root: where the corpus shall lie.
      parameters: what it is made from, as JSON values; written into the marker and compared with it.
      fill: writes the files into the folder that it is given.

    Raises:
      UserError: `root` holds something else.
    """
    if _finished(root, parameters):
        return
    part = root.with_name(f".{root.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    # The lock is on the folder itself, so it goes wherever the folder goes and needs no file of its own.
    lock = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _finished(root, parameters):  # by another process, while this one waited
            shutil.rmtree(part, ignore_errors=True)
            return
        for stale in part.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        fill(part)
        (part / MARKER).write_text(json.dumps(parameters, indent=2) + "\n")
        part.replace(root)
    finally:
        os.close(lock)
