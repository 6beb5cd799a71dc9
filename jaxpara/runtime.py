"""Settings of the process, most of them to make before JAX is imported, and the cache folder."""

import contextlib
import ctypes
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from jaxpara.errors import UserError

MAX_CORES_OF_ONE_HEAP = 4  # measured with 2 only
NVIDIA_DRIVER = Path("/dev/nvidiactl")


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
    # On a GPU, programs reuse what the autotuner found for others. This is JAX's default, but we rely on it. The cache
    # of single kernels, which "all" would add, is written once and never extended.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "xla_gpu_per_fusion_autotune_cache_dir")


def use_utf8() -> None:
    """Start Python again in UTF-8 mode if file names have another encoding, as with LC_ALL=C, and print any name.

    Libraries in C++ such as orbax need paths in UTF-8, and label files have names in UTF-8.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory: new pages are slow (3-5 GB/s, kept ones 20-35 GB/s, on 2 CPU cores).

    The settings only help together, and threads wait for each other at their one heap: not with many cores, nor next to
    a GPU, whose compiler has many threads.
    """
    if not sys.platform.startswith("linux"):
        return
    if len(os.sched_getaffinity(0)) > MAX_CORES_OF_ONE_HEAP or NVIDIA_DRIVER.exists():
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


_lock, _in_quiet = threading.Lock(), 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discard what C libraries print: mpg123 comments on odd MP3 files, and libsndfile has no switch for it.

    While any thread is in here, the variable `stderr` of the C library is another stream. Redirecting the file
    descriptor instead would also discard what Python prints in other threads. Without glibc it does nothing.
    """
    global _in_quiet
    if _STDERR is None:
        yield
        return
    with _lock:
        _in_quiet += 1
        _STDERR.value = _DISCARDED
    try:
        yield
    finally:
        with _lock:
            _in_quiet -= 1
            if not _in_quiet:
                _STDERR.value = _PRINTED


def _c_stderr() -> tuple[ctypes.c_void_p | None, int | None, int | None]:
    """Return the variable `stderr` of glibc, its value, and a stream that discards what is written to it."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # in musl the variable is constant, on macOS it has another name
        return None, None, None
    libc.fopen.restype = ctypes.c_void_p
    variable = ctypes.c_void_p.in_dll(libc, "stderr")
    return variable, variable.value, libc.fopen(os.devnull.encode(), b"w")


_STDERR, _PRINTED, _DISCARDED = _c_stderr()
