"""Signals that ask a program to end."""

import signal
from collections.abc import Callable
from types import FrameType


def ending_signals(*more: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return SIGTERM, and those of SIGINT and ``more`` that were not ignored at startup.

    The parent process may have had them ignored: a shell without job control ignores SIGINT for a
    background job, and ``nohup`` ignores SIGHUP.
    """
    asked = (each for each in (signal.SIGINT, *more) if signal.getsignal(each) != signal.SIG_IGN)
    return (signal.SIGTERM, *asked)


def when_asked_to_end(call: Callable[[str], object]) -> None:
    """Call a function with the name of each signal that asks this program to end."""

    def handle(signum: int, _: FrameType | None) -> None:
        call(signal.Signals(signum).name)

    for each in ending_signals():
        signal.signal(each, handle)
