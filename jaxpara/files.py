"""Reading and writing files; they are written whole or not at all, even if the process is killed or the power fails."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxpara import processes
from jaxpara.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; bytes of file names that are not UTF-8 are escaped."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; NaN is not JSON and raises a ValueError."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, fix: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read a JSON object that this program wrote; raise a UserError if it is damaged or lacks one of the keys.

    Args:
      fix: how to fix a damaged file, for the message.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        if missing := [key for key in keys if key not in content]:
            raise ValueError(f"{missing[0]!r} is missing")
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); {fix}") from error
    return content


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file, one per line, up to a damaged line; an empty list if the file is missing."""
    lines = []
    with contextlib.suppress(FileNotFoundError, ValueError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            content = json.loads(line)
            if not isinstance(content, dict):
                break
            lines.append(content)
    return lines


def name_in_tables(path: Path) -> str:
    """Return a relative path with slashes; bytes that are not UTF-8, from older systems, are escaped as `\\xe9`."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Lock the workdir against a second run. The lock ends with the main process, even if that is killed."""
    if not processes.is_main():
        yield
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot be written ({error.strerror}); choose another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "wait for it to end, or choose another"
            raise UserError(f"--workdir={workdir}: another run is using it; {fix}") from None
        except OSError as error:
            fix = "choose a folder on another file system"
            raise UserError(f"--workdir={workdir}: cannot be locked ({error.strerror}); {fix}") from error
        yield
