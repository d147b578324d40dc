"""Calls between the service and the world: each may be interrupted, fail or never return.

A worker runs in a thread of its own, but only one thread runs at a time: a worker runs for a given
number of *points* and then stops. There is a point before and after every call to Kafka or Redis,
so a worker can be abandoned or paused between any two of them.
"""

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Crashed(BaseException):
    """Ends a worker's thread, past every handler that retries outages."""


class Fate(StrEnum):
    """Fate of a call."""

    FINE = "fine"
    LOST = "lost"
    """The call fails without effect."""
    UNKNOWN = "unknown"
    """The call takes effect, but its answer is lost."""
    LATE = "late"
    """The call fails and takes effect later, if it still can."""


class Edge:
    """Connections of one process.

    Parameters
    ----------
    name
        Name of the process in the schedule.
    fate
        Decides the fate of each call, by name.
    later
        Receives the effects of late calls.
    pause
        Called at every point.
    wait
        Called with seconds to wait.
    """

    def __init__(
        self,
        name: str,
        fate: Callable[["Edge", str], Fate] = lambda _edge, _call: Fate.FINE,
        later: Callable[[Callable[[], object]], None] = lambda _: None,
        pause: Callable[[str], None] = lambda _: None,
        wait: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.name = name
        self.fate_of, self.later, self.pause, self.wait = fate, later, pause, wait

    def call(
        self,
        name: str,
        effect: Callable[[], T],
        error: Callable[[], Exception],
        *,
        writes: bool = False,
    ) -> T:
        """Make a call: a point, its effect if its fate allows it, another point."""
        self.pause(f"before {name}")
        fate = self.fate_of(self, name)
        if fate is Fate.LATE and writes:
            self.later(effect)
        if fate is Fate.LOST or fate is Fate.LATE:
            raise error()
        result = effect()
        if fate is Fate.UNKNOWN:
            raise error()
        self.pause(f"after {name}")
        return result


class Process:
    """A thread that runs only when resumed, for a given number of points.

    Parameters
    ----------
    name
        Name in the schedule.
    main
        The function to run; its argument must be called at every point.
    """

    def __init__(self, name: str, main: Callable[[], None]) -> None:
        self.name, self._main = name, main
        self.point = "start"
        self.passed = 0
        """Points it has come to."""
        self.ended = False
        self.error: BaseException | None = None
        self._points = 0
        self._killed = False
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def resume(self, points: int = 1) -> None:
        """Run past that many points; return when it has stopped."""
        if self.ended:
            return
        self._points = points
        self._go.release()
        self._stopped.acquire()

    def kill(self) -> None:
        """End it where it is, without further effects."""
        self._killed = True
        while not self.ended:
            self.resume()

    def pause(self, point: str) -> None:
        """Stop here when the allowed points are used up."""
        if self._killed:
            raise Crashed
        self.point = point
        self.passed += 1
        self._points -= 1
        if self._points <= 0:
            self._stopped.release()
            self._go.acquire()
            if self._killed:
                raise Crashed

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._main()
        except Crashed:
            pass
        except BaseException as error:  # noqa: BLE001 - any error is reported by the invariants
            self.error = error
        self.ended = True
        self._stopped.release()
