"""The watchdog ends a worker that hangs, and no other."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from livesegments.monitoring.watchdog import EXIT_CODE, Heartbeat, Watchdog


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    """Messages and actions of the watchdog, in order."""

    events: list[str | int] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.events.append(line)

    def exit(self, status: int) -> None:
        self.events.append(status)

    @property
    def status(self) -> int | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, int) else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def watchdog(clock: Clock, process: Process) -> Iterator[Watchdog]:
    watchdog = Watchdog(60.0, process.log, tick=5.0, clock=clock, exit=process.exit)
    yield watchdog
    watchdog.stop()


def pass_time(seconds: float, clock: Clock, watchdog: Watchdog) -> None:
    """Let time pass, with a watchdog check every second."""
    for _ in range(int(seconds)):
        clock.now += 1.0
        watchdog.look()


@contextmanager
def a_round(watchdog: Watchdog) -> Iterator[None]:
    watchdog.arm()
    yield
    watchdog.disarm()


def test_the_age_of_a_heartbeat_counts_from_the_last_beat(clock: Clock) -> None:
    clock.now = 100.0
    heartbeat = Heartbeat(clock)
    assert heartbeat.age == 0
    clock.now = 107.5
    assert heartbeat.age == 7.5
    heartbeat.beat()
    assert heartbeat.age == 0


def test_liveness_is_a_bound_on_the_age_and_tells_the_age(clock: Clock) -> None:
    alive = Heartbeat(clock).within(30)
    clock.now = 30.0
    assert alive()[0]
    clock.now = 31.0
    assert alive() == (False, "last round ended 31.0 s ago, limit 30 s")


def test_a_round_within_its_budget_is_left_alone(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    for _ in range(5):
        with a_round(watchdog):
            pass_time(59, clock, watchdog)
    assert process.events == []


def test_a_round_over_its_budget_ends_the_process_after_one_line(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    with a_round(watchdog):
        pass_time(59, clock, watchdog)
        assert process.events == []
        pass_time(100, clock, watchdog)
    line, status = process.events
    assert "exceeded its budget of 60 s; it is in " in str(line)
    assert " < pass_time (test_watchdog.py:" in str(line)
    assert "/" not in str(line)
    assert status == EXIT_CODE == 70


def test_between_rounds_time_does_not_count(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    with a_round(watchdog):
        pass_time(50, clock, watchdog)
    pass_time(500, clock, watchdog)
    with a_round(watchdog):
        pass_time(50, clock, watchdog)
    assert process.events == []


def test_arming_again_starts_the_budget_anew(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    for _ in range(5):
        watchdog.arm()
        pass_time(50, clock, watchdog)
    assert process.events == []


def test_time_in_which_the_process_was_stopped_does_not_count(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    with a_round(watchdog):
        pass_time(30, clock, watchdog)
        clock.now += 3600.0
        watchdog.look()
        assert process.events == []
        pass_time(30, clock, watchdog)
    assert process.status == EXIT_CODE


def test_a_stopped_watchdog_does_nothing(
    watchdog: Watchdog, clock: Clock, process: Process
) -> None:
    watchdog.arm()
    watchdog.stop()
    pass_time(500, clock, watchdog)
    assert process.events == []


def test_a_budget_must_be_positive(process: Process) -> None:
    with pytest.raises(ValueError, match="budget"):
        Watchdog(0.0, process.log)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param("lambda line: print(line, flush=True)", id="log works"),
        pytest.param("lambda line: threading.Event().wait()", id="log hangs"),
        pytest.param("lambda line: 1 / 0", id="log fails"),
    ],
)
def test_a_process_whose_main_thread_hangs_ends_whatever_the_log_does(log: str) -> None:
    program = f"""
import threading
from livesegments.monitoring.watchdog import Watchdog

def commit_transaction():
    lock.acquire()

lock = threading.Lock()
lock.acquire()
Watchdog(0.2, {log}).arm()
commit_transaction()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert ended.returncode == EXIT_CODE
    if "print" in log:
        assert b"commit_transaction" in ended.stdout
