"""Settings to make before JAX is imported, and the cache folder."""

import ctypes
import os
import sys
from pathlib import Path

from jaxpara.errors import UserError


def cache_folder() -> Path:
    """Return the folder of simulated corpora, features and compiled programs: `$JAXPARA_CACHE` if it is set."""
    if own := os.environ.get("JAXPARA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxpara"


def prepare() -> None:
    """Set up the allocator and the compilation cache. Call it before the first `import jax`."""
    _keep_freed_memory()
    compiled = cache_folder() / "compiled"
    try:
        compiled.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{compiled}: cannot be created ({error.strerror}); set JAXPARA_CACHE to a folder that can be written"
        ) from error
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compiled))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory: new pages are slow (3-5 GB/s, kept ones 20-35 GB/s, on 2 CPU cores)."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # a C library without it, such as musl
        return
    # A step of a large network allocates one block, larger than any threshold that mallopt accepts. So no block gets
    # its own mapping (M_MMAP_MAX), and no memory is returned to the system (M_TRIM_THRESHOLD).
    M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
    for option, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        mallopt(option, value)
