"""Runs command lines as a user would, each in a process of its own, without importing JAX for each of them.

A server imports the program once and forks for every command; no JAX backend runs in the server, so a fork is as good
as a new process: exit status, signals, output and environment are those of `python -m MODULE`.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST_S = 120


@dataclass(frozen=True)
class Outcome:
    """What a command line came to; a negative `status` is the signal that ended it."""

    status: int
    out: str
    err: str


class Commands:
    """Talks to the server."""

    def __init__(self, server: subprocess.Popen, folder: Path):
        self._server, self._folder = server, folder

    def __call__(self, *flags: object, module: str = "jaxpara", **environment: str) -> Outcome:
        """`python -m MODULE FLAGS...`, in the root of the repository."""
        out, err = self._folder / "out", self._folder / "err"
        request = {
            "flags": [str(f) for f in flags],
            "module": module,
            "env": environment,
            "files": [str(out), str(err)],
        }
        print(json.dumps(request), file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        return Outcome(status, out.read_text(errors="replace"), err.read_text(errors="replace"))


@contextlib.contextmanager
def serving(cache: Path) -> Iterator[Commands]:
    """A server whose commands keep their caches in one folder, unless they are told otherwise."""
    environment = os.environ | {"JAXPARA_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache / "compiled")}
    environment |= {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with server:
            yield Commands(server, Path(folder))
            server.stdin.close()


def _serve() -> None:
    for module in ("jaxpara.run", "jaxpara.evaluation.compare"):
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _run(request)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


def _run(request: dict) -> None:
    for number, path in zip((1, 2), request["files"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    signal.alarm(LONGEST_S)
    sys.argv = [request["module"], *request["flags"]]
    status = 99
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
