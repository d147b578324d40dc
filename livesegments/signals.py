"""Signals that ask a program to end."""

import signal
from collections.abc import Callable
from queue import SimpleQueue
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
    asked = SimpleQueue[str]()  # a handler may put into it at any time

    def answer() -> None:
        while True:
            call(asked.get())

    Thread(target=answer, daemon=True, name="signals").start()
    for each in ending_signals():
        signal.signal(each, lambda signum, _: asked.put(signal.Signals(signum).name))
