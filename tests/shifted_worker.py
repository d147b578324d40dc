"""A worker whose wall clock is ahead by the days in a file: ``python -m ... FILE [alone]``.

The worker sees Redis' clock ahead by as much, as if time itself had passed; with ``alone`` only its
own clock is shifted, and therefore wrong. Only tests run this.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from livesegments import app
from livesegments.config import logs
from livesegments.config.clients import redis_client
from livesegments.config.settings import load
from livesegments.store.cluster_pipeline import Client

DAY_US = 86_400_000_000


def days(file: Path) -> Callable[[], int]:
    """Return a function that reads a file's days, in microseconds."""
    return lambda: round(float(file.read_text()) * DAY_US)


def shift_redis(client: Client, ahead_us: Callable[[], int]) -> Client:
    """Shift Redis' clock as seen by a client."""

    def shown(reply: Any, **_: object) -> tuple[int, int]:
        seconds, micros = (int(part) for part in reply)
        return divmod(seconds * 1_000_000 + micros + ahead_us(), 1_000_000)

    client.set_response_callback("TIME", shown)
    return client


def shift(ahead_us: Callable[[], int], *, alone: bool) -> None:
    """Shift the clock at which the worker ends its windows."""
    real, connect = time.time_ns, redis_client
    shifted = SimpleNamespace(time_ns=lambda: real() + ahead_us() * 1_000)
    setattr(app, "time", shifted)  # noqa: B010 - not exported by the module
    if not alone:
        connected = lambda *given: shift_redis(connect(*given), ahead_us)  # noqa: E731
        setattr(app, "redis_client", connected)  # noqa: B010


if __name__ == "__main__":
    shift(days(Path(sys.argv[1])), alone=sys.argv[2:] == ["alone"])
    settings = load()
    logs.configure(settings)
    app.run(settings)
