"""Announcements from a thread to any number of coroutines."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


class Announcer:
    """Wakes all coroutines that wait; any thread may announce."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def announce(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for loop, woken in waiting:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(woken.set)

    async def wait(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait for the next announcement unless something holds already, up to some seconds."""
        woken = asyncio.Event()
        entry = asyncio.get_running_loop(), woken
        with self._lock:
            self._waiting.add(entry)
        try:
            # Only now, or an announcement between the two would be missed.
            if not holds():
                async with asyncio.timeout(seconds):
                    await woken.wait()
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(entry)
