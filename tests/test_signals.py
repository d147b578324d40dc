"""Signals reach the processes that tests start, however pytest itself was started."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from threading import Event, Lock

import pytest

from livesegments.signals import ending_signals, when_asked_to_end

IGNORED = "import signal as s; print(*[x.name for x in s.Signals if s.getsignal(x) == s.SIG_IGN])"


def test_a_process_started_by_a_test_ignores_no_signal_that_ends_it() -> None:
    done = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, text=True)
    assert not {"SIGINT", "SIGTERM", "SIGCHLD"} & set(done.stdout.split())


def test_a_process_of_tests_in_the_background_does_not_either() -> None:
    test = f"{__file__}::{test_a_process_started_by_a_test_ignores_no_signal_that_ends_it.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    subprocess.run(
        ["sh", "-c", 'trap "" INT TERM CHLD; exec "$@"', "sh", *command],
        env=environment,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def handlers() -> Iterator[None]:
    """Default handlers, whatever the parent of pytest ignores; restored afterwards."""
    changed = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {each: signal.signal(each, signal.SIG_DFL) for each in changed}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("handlers")
def test_a_program_in_the_background_is_not_ended_by_ctrl_c() -> None:
    assert ending_signals() == (signal.SIGTERM, signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert ending_signals(signal.SIGHUP) == (signal.SIGTERM, signal.SIGHUP)


@pytest.mark.usefixtures("handlers")
def test_what_a_signal_calls_may_take_a_lock_that_the_main_thread_holds() -> None:
    """A worker that was asked to end while it wrote a line of its log never ended."""
    logger, logged = Lock(), Event()

    def log(name: str) -> None:
        if name == "SIGTERM" and logger.acquire(timeout=5):
            logged.set()

    when_asked_to_end(log)
    with logger:
        signal.raise_signal(signal.SIGTERM)
    assert logged.wait(5)
