"""Signals that ask a program to end."""

import signal


def ending_signals(*more: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return SIGTERM, and those of SIGINT and ``more`` that were not ignored at startup.

    The parent process may have had them ignored: a shell without job control ignores SIGINT for a
    background job, and ``nohup`` ignores SIGHUP.
    """
    asked = (each for each in (signal.SIGINT, *more) if signal.getsignal(each) != signal.SIG_IGN)
    return (signal.SIGTERM, *asked)
