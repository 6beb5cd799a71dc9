"""Start-up: settings that have to stand before JAX is imported, and where caches lie."""

import ctypes
import os
import sys
from pathlib import Path

from jaxpara.errors import UserError


def cache_folder() -> Path:
    """Where simulated corpora, features and compiled programs are kept: `$JAXPARA_CACHE`, else the user's cache."""
    if own := os.environ.get("JAXPARA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxpara"


def prepare() -> None:
    """Sets up the allocator and the compilation cache; call it before the first `import jax`.

    Raises:
      UserError: the cache folder cannot be written.
    """
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
    """Tells glibc to keep freed memory: on a CPU, fresh pages cost more than the arithmetic done in them.

    Measured on a 2-core virtual machine: fresh pages stream at 3-5 GB/s, kept ones at 20-35 GB/s.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # a C library without it, such as musl
        return
    # A step of a large network takes its memory in one piece, which no threshold of mallopt is high enough for: so no
    # piece is mapped by itself, and none is given back.
    M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
    for option, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        mallopt(option, value)
