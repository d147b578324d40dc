"""Repeated polling of a server in a thread of its own, through outages."""

import time
from collections.abc import Callable, Generator
from threading import Event, Thread
from typing import Any, NamedTuple

from kafka.errors import KafkaError
from redis.exceptions import RedisError

HANGS_SECONDS = 6.0


class Outage(NamedTuple):
    """An outage of a server: its start, epoch seconds, and its cause."""

    since_s: float
    why: str


class PollingThread:
    """Keeps the latest fields that a poller yielded, and the outage while it fails.

    ``poller`` makes the generator that connects and polls, again after each failure; the fields are
    empty before the first, and stay through an outage.
    """

    def __init__(
        self,
        name: str,
        poller: Callable[[], Generator[dict[str, Any]]],
        seconds: float,
        explain: Callable[[Exception], str],
    ) -> None:
        self._name = name
        self._poller, self._seconds, self._explain = poller, seconds, explain
        self._stopped = Event()
        # A daemon: a call that hangs in an outage must not keep the command from ending.
        self._thread = Thread(target=self._run, daemon=True)
        self.latest: dict[str, Any] = {}
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
        poller = self._poller()
        while not self._stopped.is_set():
            self._busy_since_s = time.time()
            try:
                self.latest = next(poller)
                self._failed = None
            except (KafkaError, RedisError, OSError, RuntimeError, ValueError) as error:
                since_s = self._failed.since_s if self._failed else self._busy_since_s
                self._failed = Outage(since_s, self._explain(error))
                poller = self._poller()
            self._busy_since_s = None
            self._stopped.wait(self._seconds)
        poller.close()
