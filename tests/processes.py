"""Processes of ``python -m ...``, forked from a parent that has imported everything.

Imports take a worker two to three seconds of CPU time, and tests start hundreds of workers and
commands. The forked processes run the same code and can be killed and stopped like any other. The
publisher, which a worker spawns, is also forked. Tests of how a process starts (its interpreter,
terminal, pipes and packages) use `subprocess`.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

import livesegments
from livesegments.local_servers import die_with_parent

ROOT = Path(__file__).parents[1]
ADDRESS = "TESTS_PARENT"
"""Environment variable with the parent's address, a socket."""
LATE = ("pandas", "pyarrow.parquet", "river.drift", "scipy.optimize", "scipy.special")
"""Modules that the code imports lazily."""


class Process(Protocol):
    """A process with the interface of `subprocess`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """A process forked from the parent, in its own session."""

    def __init__(self, status: int) -> None:
        self._status = os.fdopen(status, "rb", 0)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs; negative for the signal that ended it."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""
        if (status := self._wait(timeout)) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return status

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            # It may end, and be waited for by its parent, before its status arrives here.
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start_parent() -> None:
    """Start the parent of this process's children, and of those of every process started by it."""
    folder = tempfile.mkdtemp(prefix="livesegments-tests-")
    address = str(Path(folder) / "parent")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as requests:
        requests.bind(address)
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.processes", str(requests.fileno())],
            pass_fds=[requests.fileno()],
            cwd=ROOT,
            preexec_fn=die_with_parent(os.getpid()),
        )
    os.environ[ADDRESS] = address
    owner = os.getpid()

    def close() -> None:
        if os.getpid() == owner:
            parent.terminate()
            parent.wait()
            shutil.rmtree(folder)

    atexit.register(close)


@cache
def _requests() -> socket.socket:
    """Return a socket to the parent, and start it if needed."""
    if ADDRESS not in os.environ:
        start_parent()
    requests = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    requests.connect(os.environ[ADDRESS])
    return requests


def _fork(
    arguments: Sequence[str], environment: Mapping[str, str], output: IO[bytes], errors: IO[bytes]
) -> Forked:
    """Start a child of the parent that runs ``python -m`` with arguments."""
    ours, theirs = os.pipe()
    request = json.dumps([list(arguments), dict(environment), str(Path.cwd())]).encode()
    socket.send_fds(_requests(), [request], [output.fileno(), errors.fileno(), theirs])
    os.close(theirs)
    return Forked(ours)


def start(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Process:
    """Start a process in its own session, with its output in a log."""
    if list(command[:2]) == [sys.executable, "-m"]:
        return _fork(command[2:], environment, log, log)
    return subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m ...`` to its end and capture its output, as `subprocess.run` does."""
    words = [str(each) for each in command]
    assert words[:2] == [sys.executable, "-m"], command
    environment = os.environ if env is None else env
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = _fork(words[2:], environment, output, errors)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
    done = subprocess.CompletedProcess(words, status, *texts)
    if check:
        done.check_returncode()
    return done


def _serve(requests: socket.socket) -> list[str]:
    """Fork a child for each request; return in the child, with its arguments."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it is meant for pytest
    while True:
        request, files, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            requests.close()
            arguments, environment, folder = json.loads(request)
            _fork_and_report(files.pop())
            _settle(environment, folder, *files)
            return list(arguments)
        for each in files:
            os.close(each)


def _fork_and_report(status: int) -> None:
    """Fork, write the child's id and later its exit status; return in the child."""
    if (pid := os.fork()) == 0:
        os.close(status)
        return
    os.write(status, b"%d\n" % pid)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, b"%d\n" % ended)
    os._exit(0)


def _settle(environment: Mapping[str, str], folder: str, output: int, errors: int) -> None:
    """Make this process look like one that was started by itself."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for source, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (errors, 2)):
        os.dup2(source, stream)
        os.close(source)
    # The interpreter's own were opened for the files of the parent.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


def _prepare_child() -> str | None:
    """Fork the first process that `multiprocessing` will spawn here, while there are no threads.

    Spawned, it would import everything again. Returns None, and in the child, once it is wanted,
    the program that it runs.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if (pid := os.fork()) == 0:
        ours.close()
        return _await_program(theirs)
    theirs.close()
    spawn = util.spawnv_passfds

    def take(path: bytes, arguments: Sequence[Any], files: Sequence[int]) -> int:
        if "--multiprocessing-fork" not in arguments:
            return spawn(path, arguments, files)
        util.spawnv_passfds = spawn
        request = json.dumps([arguments[arguments.index("-c") + 1], list(files)]).encode()
        with ours:
            socket.send_fds(ours, [request], files)
        return pid

    util.spawnv_passfds = take  # type: ignore[assignment]
    return None


def _await_program(link: socket.socket) -> str:
    request, files, _, _ = socket.recv_fds(link, 1 << 16, 16)
    if not request:
        os._exit(0)  # the parent has ended and spawned nothing
    link.close()
    program, numbers = json.loads(request)
    # Out of the way of the numbers by which the program knows them.
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, max(numbers) + 1) for each in files]
    for source, number in zip(moved, numbers, strict=True):
        os.dup2(source, number)
    for each in (*moved, *(file for file in files if file not in numbers)):
        os.close(each)
    sys.argv = ["-c", "--multiprocessing-fork"]
    return str(program)


def _main(requests: socket.socket) -> None:
    ours = pkgutil.walk_packages(livesegments.__path__, "livesegments.")
    names = [each.name for each in ours if not each.name.endswith(".__main__")]
    for name in (*LATE, *names):
        import_module(name)
    gc.freeze()
    # Libraries keep idle threads; Python 3.12 and newer warn about them.
    warnings.filterwarnings("ignore", "This process .* multi-threaded", DeprecationWarning)
    module, *arguments = _serve(requests)
    if (program := _prepare_child()) is not None:
        _run(lambda: exec(program))  # noqa: S102 - it calls `multiprocessing`
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # imported again as the main module
    _run(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))


def _run(program: Callable[[], object]) -> NoReturn:
    """Run a program to its end, without taking all modules apart as the interpreter would."""
    status = 0
    try:
        program()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        status = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # closed, at either end
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _main(socket.socket(fileno=int(sys.argv[1])))
