"""Signals that ask a program to end."""

import os
import signal
from collections.abc import Callable
from threading import Thread


def ending_signals(*more: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return SIGTERM, and those of SIGINT and ``more`` that were not ignored at startup.

    The parent process may have had them ignored: a shell without job control ignores SIGINT for a
    background job, and ``nohup`` ignores SIGHUP.
    """
    asked = (each for each in (signal.SIGINT, *more) if signal.getsignal(each) != signal.SIG_IGN)
    return (signal.SIGTERM, *asked)


def when_asked_to_end(call: Callable[[str], object]) -> None:
    """Call a function with the name of each signal that asks this program to end.

    It is called in a thread of its own. A handler interrupts the main thread anywhere, also where
    that holds a lock: one that logged while a line is being logged would wait forever.
    """
    asked, ask = os.pipe()

    def answer() -> None:
        while signum := os.read(asked, 1):
            call(signal.Signals(signum[0]).name)

    Thread(target=answer, daemon=True, name="signals").start()
    for each in ending_signals():
        signal.signal(each, lambda signum, _: os.write(ask, bytes([signum])))
