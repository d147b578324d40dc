"""Workers stopped between two steps of a micro-batch and resumed after others took over."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.crashing_worker import crashing
from tests.service import Event, Service

pytestmark = pytest.mark.servers

STOPPED_SECONDS = 11.0  # past the transaction timeout, the session timeout and the poll interval
POINTS = ("before the commit", "offsets sent")


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.timeout(300)
def test_workers_woken_past_every_timeout_change_nothing_and_join_again(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.environment["LIVESEGMENTS_MAX_POLL_RECORDS"] = "200"
    sent = service.send(make_load(3_000))
    sleepers = []
    for point in POINTS:
        call = 10 if "commit" in point.split() else 3
        sleeper = service.launch(crashing(point, call, "SIGSTOP"))
        deadline = time.monotonic() + 60
        while not is_stopped(sleeper.pid):
            assert time.monotonic() < deadline, f"never at {point!r}:\n{service.tail()}"
            sent += service.send(make_load(200, first=sent))
            time.sleep(0.3)
        sleepers.append(sleeper)
    stopped_at = time.monotonic()
    # Its takeover waits until the open transactions have timed out; by then the stopped workers are
    # past their session timeout and their maximum poll interval.
    service.start()
    sent += service.send(make_load(1_000, first=sent))
    service.wait(90)
    time.sleep(max(0.0, STOPPED_SECONDS - (time.monotonic() - stopped_at)))
    for sleeper in sleepers:
        os.killpg(sleeper.pid, signal.SIGCONT)
    sent += service.send(make_load(1_000, first=sent))
    service.wait_for(
        lambda: all("owns partitions" in log.read_text()[-600:] for log in service.logs),
        "all three own partitions",
    )
    service.send(make_load(1_000, first=sent))
    service.wait()
    assert [worker.poll() for worker in service.workers] == [None] * 3
    service.verified()
