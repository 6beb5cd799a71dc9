"""What simulated corpora have in common: their sizes, and that each is written once, whole or not at all."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxpara.corpora.layout import MARKER
from jaxpara.errors import UserError
from jaxpara.registry import suggest

Preset = TypeVar("Preset")


def preset_of(presets: Mapping[str, Preset], name: str, what: str) -> Preset:
    """The preset of a name; `what` is simulated is for the message of the UserError that there is none."""
    if name not in presets:
        known = sorted(presets)
        raise UserError(f"simulated {what} corpus: no preset {name!r}, expected one of {known}{suggest(name, known)}")
    return presets[name]


def counts_of(given: Sequence[int] | None, preset: tuple[int, int, int], what: str) -> tuple[int, ...]:
    """How many speakers are in train, devel and test: the given ones, or the preset's.

    Raises:
      UserError: not three counts from 1 to 100; `what` is simulated is for its message.
    """
    counts = preset if given is None else tuple(given)
    if len(counts) != 3 or not all(isinstance(count, int) and 1 <= count <= 100 for count in counts):
        raise UserError(f"simulated {what} corpus: speakers is {counts}, expected three counts from 1 to 100")
    return counts


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
      fill: writes the files into the folder that it is given, which has an empty `wav/` and `lab/`.

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
        for name in ("wav", "lab"):
            (part / name).mkdir()
        fill(part)
        (part / MARKER).write_text(json.dumps(parameters, indent=2) + "\n")
        part.replace(root)
    finally:
        os.close(lock)
