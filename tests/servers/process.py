"""Servers of the tests, as child processes."""

import atexit
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from livesegments.local_servers import LOOPBACK, ServerError, die_with_parent

_START_TIMEOUT = 15.0
_POLL_INTERVAL = 0.02
_LOG_TAIL_LINES = 20


class Server(ABC):
    """Server, or several, that run for the length of a ``with`` block."""

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Shut down in order."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_until(holds: Callable[[], Any], seconds: float, failure: str) -> None:
    """Wait until a condition holds; what Redis does not answer is asked again.

    Raises
    ------
    ServerError
        With the ``failure``, after that many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(RedisError, KeyError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise ServerError(f"{failure} after {seconds:.0f} s")
        time.sleep(0.05)


class SingleServer(Server):
    """Server of one process, which keeps its ports and its data over restarts."""

    _process: "ServerProcess"
    _start_timeout = _START_TIMEOUT

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether it answers."""

    @property
    def running(self) -> bool:
        """True while the process exists, also when paused."""
        return self._process.running

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process.start(self._is_ready, self._start_timeout)

    def stop(self) -> None:
        """Shut down in order (SIGTERM)."""
        self._process.stop()

    def kill(self) -> None:
        """Crash (SIGKILL); what is on disk or in the page cache survives."""
        self._process.kill()

    def restart(self) -> None:
        """Shut down in order and start again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze (SIGSTOP): connections stay open, nothing answers."""
        self._process.pause()

    def resume(self) -> None:
        """Continue after a pause (SIGCONT)."""
        self._process.resume()


class ServerProcess:
    """A server run as a child process that dies with this one.

    It gets its own process group, so that Ctrl-C at the terminal reaches only this process, which
    can then shut down in order.

    On Linux the kernel kills the child when the *thread* that started it ends, so start servers
    from a thread that lives as long as they should.

    Parameters
    ----------
    name
        Name of the server in errors.
    command
        Program and arguments.
    log_path
        File for the server's standard output and error, appended.
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
        """True while the process exists, also when paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self, is_ready: Callable[[], bool], timeout: float = _START_TIMEOUT) -> None:
        """Start the server and wait until ``is_ready`` returns true.

        Raises
        ------
        ServerError
            When the process exits, or is not ready after ``timeout`` seconds; with the log's tail.
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
                preexec_fn=die_with_parent(os.getpid()),
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
        """Send SIGTERM; kill the server if it still runs after ``timeout`` seconds."""
        if self._process is not None and self.running:
            self.resume()
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its children at once (SIGKILL), as a crash would."""
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
        # Until all its threads have stopped, one of them may still answer.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen server continue (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def answers_ping(port: int) -> bool:
    """Return whether a Redis-compatible server on a loopback port is up and has loaded its data."""
    with Redis(host=LOOPBACK, port=port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except AuthenticationError:
            return True  # it wants a password
        except RedisError:
            return False
