"""Repeated polling of a server in a thread of its own, through outages."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Generic, Protocol, TypeVar

from kafka.errors import KafkaError
from redis.exceptions import RedisError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

HANGS_SECONDS = 6.0


class Poller(Protocol[T_co]):
    """Reads the status of a server."""

    def poll(self) -> T_co:
        """Return the current status."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of a server: its start, epoch seconds, and its cause."""

    since_s: float
    why: str


class PollingThread(Generic[T]):
    """Keeps the latest status that a poller returned, and the outage while it fails.

    Parameters
    ----------
    name
        Of the server.
    make
        Connects, and returns the poller; called again after each failure.
    seconds
        Between two polls.
    explain
        Returns the meaning of an error, in a line.

    Attributes
    ----------
    latest
        The last status, None before the first; it stays through an outage.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Poller[T]],
        seconds: float,
        explain: Callable[[Exception], str],
    ) -> None:
        self._name = name
        self._make, self._seconds, self._explain = make, seconds, explain
        self._stopped = Event()
        # A daemon: a call that hangs in an outage must not keep the command from ending.
        self._thread = Thread(target=self._run, daemon=True)
        self.latest: T | None = None
        self._failed: Outage | None = None
        self._busy_since_s: float | None = None

    @property
    def trouble(self) -> Outage | None:
        """The current outage, an error or no answer; None without one."""
        busy_since_s = self._busy_since_s
        if self._failed is None and busy_since_s and time.time() - busy_since_s > HANGS_SECONDS:
            return Outage(busy_since_s, f"{self._name} does not answer")
        return self._failed

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Stop polling; wait up to ``timeout`` seconds for the connections to close."""
        self._stopped.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        poller: Poller[T] | None = None
        while not self._stopped.is_set():
            self._busy_since_s = time.time()
            try:
                poller = poller or self._make()
                self.latest = poller.poll()
                self._failed = None
            except (KafkaError, RedisError, OSError, RuntimeError, ValueError) as error:
                since_s = self._failed.since_s if self._failed else self._busy_since_s
                self._failed = Outage(since_s, self._explain(error))
                if poller is not None:
                    poller.close()
                poller = None
            self._busy_since_s = None
            self._stopped.wait(self._seconds)
        if poller is not None:
            poller.close()
