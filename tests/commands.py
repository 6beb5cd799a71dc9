"""Run command lines as a user would, each in its own process.

For many commands, a server imports jaxpara once and forks for each command. No JAX backend runs in the server, so that
a fork behaves like a new process: exit status, signals, output and environment are those of `python -m jaxpara`.
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST_S = 120
# For commands that compile the same programs in both workers. JAX locks a cache whose size is limited.
SHARED_PROGRAMS = {
    "JAX_COMPILATION_CACHE_DIR": os.environ.get("TEST_PROGRAMS", ""),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(10**10),
}
MODULES = ("jaxpara.run", "jaxpara.inference.export", "jaxpara.evaluation.compare_systems")  # imported by the server


@dataclass(frozen=True)
class Outcome:
    """The result of a command line; a negative `status` is the signal that ended it."""

    status: int
    out: str
    err: str


def started(*words: object, cache: Path, cwd: Path = ROOT, **environment: str) -> subprocess.Popen[bytes]:
    """Start `python WORDS` on one device, with its caches in a folder."""
    surroundings = os.environ | {"JAXPARA_CACHE": str(cache), "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)} | environment
    pipes: dict = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=cwd, env=surroundings, **pipes)


def ended(process: "subprocess.Popen[bytes] | Running", data: bytes = b"", timeout_s: float = 240) -> Outcome:
    """Wait for a process to end; `data` goes to its standard input."""
    out, err = process.communicate(data, timeout_s)
    return Outcome(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def wait_for(condition: Callable[[], object], process: "subprocess.Popen | Running", timeout_s: float = 120) -> None:
    """Wait until a condition is true; fail if the process ends before."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "timeout"
        time.sleep(0.02)


class Running:
    """A command that the server runs, with the methods of a `Popen` that the tests use."""

    def __init__(self, commands: "Commands", pid: int, files: list[Path]):
        self._commands, self.pid, self._files = commands, pid, files
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._commands.ask(poll=self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, data: bytes = b"", timeout_s: float = 240) -> list[bytes]:
        until = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("jaxpara", timeout_s)
            time.sleep(0.005)
        return [path.read_bytes() for path in self._files]


class Commands:
    """A client of the server."""

    def __init__(self, server: subprocess.Popen, folder: Path, where: Path):
        self._server, self._folder, self._where = server, folder, where

    def at(self, where: Path) -> "Commands":
        """Return a client of the same server whose commands run in another folder."""
        return Commands(self._server, self._folder, where)

    def ask(self, **request: object) -> int | None:
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return json.loads(self._server.stdout.readline())

    def start(self, *flags: object, **environment: str) -> Running:
        """Start `python -m jaxpara FLAGS...`"""
        files = [Path(tempfile.mkstemp(dir=self._folder)[1]) for _ in range(2)]
        request = {"flags": [str(f) for f in flags], "env": environment, "cwd": str(self._where)}
        pid = self.ask(files=[str(file) for file in files], **request)
        return Running(self, pid, files)

    def __call__(self, *flags: object, **environment: str) -> Outcome:
        """Run `python -m jaxpara FLAGS...` to its end."""
        return ended(self.start(*flags, **environment))


@contextlib.contextmanager
def serving(cache: Path, where: Path = ROOT, modules: Sequence[str] = MODULES, **more: str) -> Iterator[Commands]:
    """Start a server whose commands run in the folder `where` and keep their caches in another."""
    environment = os.environ | {"JAXPARA_CACHE": str(cache), "JAX_COMPILATION_CACHE_DIR": str(cache / "compiled")}
    # Small programs are kept too: many commands compile the same ones.
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)} | more
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, __file__, *modules],
            cwd=where,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with server:
            yield Commands(server, Path(folder), where)
            server.stdin.close()


def _serve() -> None:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if pid := request.get("poll"):
            ended, status = os.waitpid(pid, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif not (answer := os.fork()):
            _run(request)
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)


def _run(request: dict) -> None:
    for number, path in zip((1, 2), request["files"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    signal.alarm(LONGEST_S)
    sys.argv = ["jaxpara", *request["flags"]]
    status = 99
    try:
        runpy.run_module("jaxpara", run_name="__main__", alter_sys=True)
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
