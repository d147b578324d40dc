"""Look at a server again and again, in a thread of its own, whatever becomes of the server."""

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


class Look(Protocol[T_co]):
    """Something to look at."""

    def look(self) -> T_co:
        """Return what is there now."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing can be seen, and since when, epoch seconds."""

    since_s: float
    why: str


class Background(Generic[T]):
    """Keeps the latest of what a look gives, and what is wrong when it gives nothing.

    Parameters
    ----------
    name
        What is looked at.
    make
        Connects; called again after each failure.
    seconds
        Between two looks.
    explain
        What an error means, in a line.

    Attributes
    ----------
    latest
        What was seen last, None before the first time; it stays through an outage.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Look[T]],
        seconds: float,
        explain: Callable[[Exception], str],
    ) -> None:
        self._name = name
        self._make, self._seconds, self._explain = make, seconds, explain
        self._stopped = Event()
        # A daemon: a call that hangs in an outage must not keep the command from ending.
        self._thread = Thread(target=self._run, daemon=True)
        self.latest: T | None = None
        self._failed: Trouble | None = None
        self._busy_since_s: float | None = None

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong, an error or that no answer comes; None while all is well."""
        busy_since_s = self._busy_since_s
        if self._failed is None and busy_since_s and time.time() - busy_since_s > HANGS_SECONDS:
            return Trouble(busy_since_s, f"{self._name} does not answer")
        return self._failed

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Look no more; wait so many seconds for the connections to close."""
        self._stopped.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        look: Look[T] | None = None
        while not self._stopped.is_set():
            self._busy_since_s = time.time()
            try:
                look = look or self._make()
                self.latest = look.look()
                self._failed = None
            except (KafkaError, RedisError, OSError, RuntimeError, ValueError) as error:
                since_s = self._failed.since_s if self._failed else self._busy_since_s
                self._failed = Trouble(since_s, self._explain(error))
                if look is not None:
                    look.close()
                look = None
            self._busy_since_s = None
            self._stopped.wait(self._seconds)
        if look is not None:
            look.close()
