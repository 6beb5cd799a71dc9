"""Files by their content: what is renamed or moved is known again, what is changed is not."""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxpara.errors import UserError
from jaxpara.features import lines

# A file younger than this may still change without a new time; its hash is not remembered.
SETTLED_NS = 2_000_000_000


def hashes_of(paths: Sequence[Path], memory: Path) -> list[str]:
    """The SHA-256 of each file.

    Args:
      paths: the files.
      memory: where hashes are remembered by path, size and time of change.

    Returns:
      `[path]` hexadecimal.

    Raises:
      UserError: a file is missing.
    """
    known = {(r["path"], r["size"], r["mtime_ns"]): r["audio"] for r in lines.read(memory)}
    keys = [_file_key(path) for path in paths]
    new = [key for key in keys if key not in known]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        known.update(zip(new, pool.map(hash_of, (path for path, _, _ in new)), strict=True))
    # A file that changed while it was read must not be remembered with its new time and its old content.
    new = [key for key in new if _file_key(Path(key[0])) == key]
    settled = [key for key in new if key[2] < time.time_ns() - SETTLED_NS]
    if settled:
        records = ({"path": k[0], "size": k[1], "mtime_ns": k[2], "audio": known[k]} for k in settled)
        with memory.open("ab") as file:
            file.write(lines.encode(records))
    return [known[key] for key in keys]


def _file_key(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; put the recording there or take it out of the labels") from None
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


def hash_of(path: str | Path) -> str:
    """The SHA-256 of one file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
