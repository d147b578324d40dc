"""Liveness of the main loop, and a watchdog that ends the process when the loop hangs.

Some calls of kafka-python (`commit_transaction`, `abort_transaction`, `send_offsets`) block without
a timeout. A worker that hangs in one keeps its partitions and looks alive. A worker that exits
hands them to others, and the protocol makes an exit safe at any point.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from itertools import islice
from pathlib import PurePath

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_LOG_SECONDS = 2.0

Clock = Callable[[], float]


class Heartbeat:
    """Time of the main loop's last iteration; ``clock`` returns monotonic seconds."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._beaten_at = clock()

    def beat(self) -> None:
        """Record an iteration of the main loop."""
        self._beaten_at = self._clock()

    @property
    def age(self) -> float:
        """Seconds since the last beat, or since the start if there was none."""
        return self._clock() - self._beaten_at

    def within(self, limit: float) -> Callable[[], tuple[bool, str]]:
        """Return a liveness check: (age is at most `limit` seconds, description)."""

        def check() -> tuple[bool, str]:
            age = self.age
            return age <= limit, f"last round ended {age:.1f} s ago, limit {limit:g} s"

        return check


class Watchdog:
    """Ends the process when an iteration of the main loop exceeds its budget.

    Only time in which the process could run counts: a suspended process (SIGSTOP, a frozen
    machine) does not hang.

    Parameters
    ----------
    budget
        Seconds that an iteration may take. Kafka's ``max_poll_interval`` must be longer.
    log
        Receives one line with the location of the hang. It has two seconds to finish, since the
        log itself may hang.
    tick
        Seconds between checks; by default a twentieth of the budget, at most one second.
    clock
        Returns monotonic seconds.
    exit
        Ends the process with a status, without running cleanup.

    Examples
    --------
    >>> watchdog = Watchdog(30.0, log=print)
    >>> watchdog.arm()  # at the beginning of each iteration
    >>> watchdog.stop()
    """

    def __init__(
        self,
        budget: float,
        log: Callable[[str], object],
        *,
        tick: float | None = None,
        clock: Clock = time.monotonic,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        if budget <= 0:
            raise ValueError("the budget of a round must be above 0 seconds")
        self.budget = budget
        self._log = log
        self._tick = min(1.0, budget / 20) if tick is None else tick
        self._clock = clock
        self._exit = exit
        self._lock = threading.Lock()
        self._left: float | None = None
        self._looked_at = 0.0
        self._watched_thread = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def arm(self) -> None:
        """Start the budget of an iteration, or restart it if it is running."""
        with self._lock:
            self._left = self.budget
            self._looked_at = self._clock()
            self._watched_thread = threading.get_ident()
            if self._thread.ident is None:
                self._thread.start()

    def disarm(self) -> None:
        """End the iteration: nothing happens until the watchdog is armed again."""
        with self._lock:
            self._left = None

    def stop(self) -> None:
        """Disarm permanently and end the thread."""
        self.disarm()
        self._stopped.set()

    def look(self) -> bool:
        """Check once; log and exit if the budget is exceeded. Return whether it was."""
        with self._lock:
            if self._left is None:
                return False
            now = self._clock()
            self._left -= min(now - self._looked_at, 2 * self._tick)
            self._looked_at = now
            if self._left > 0:
                return False
            self._left = None
            where = _where(self._watched_thread)
        try:
            self._say(f"a round exceeded its budget of {self.budget:g} s; it is in {where}")
        finally:
            self._exit(EXIT_CODE)
        return True

    def _watch(self) -> None:
        while not self._stopped.wait(self._tick):
            if self.look():
                return

    def _say(self, line: str) -> None:
        speaker = threading.Thread(target=self._log, args=(line,), daemon=True)
        speaker.start()
        speaker.join(_LOG_SECONDS)


def _where(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "a thread that has ended"
    return " < ".join(
        f"{call.f_code.co_name} ({PurePath(call.f_code.co_filename).name}:{line})"
        for call, line in islice(traceback.walk_stack(frame), 4)
    )
