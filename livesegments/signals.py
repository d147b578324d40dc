"""The signals that ask a program to end."""

import signal


def ending_signals(*more: signal.Signals) -> tuple[signal.Signals, ...]:
    """Return SIGTERM, and those of SIGINT and ``more`` that were not ignored at the start.

    Whoever starts a program may have it ignore them: a shell without job control does so with
    Ctrl-C for a job in the background, and ``nohup`` with the hang-up of a terminal.
    """
    asked = (each for each in (signal.SIGINT, *more) if signal.getsignal(each) != signal.SIG_IGN)
    return (signal.SIGTERM, *asked)
