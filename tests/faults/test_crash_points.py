"""A worker killed between any two steps of a micro-batch loses and repeats nothing.

Once a day the workflow kills several times at each step.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.faults.crashing_worker import POINTS, crashing
from tests.service import Event, Service

pytestmark = pytest.mark.servers

KILLS = int(os.environ.get("LIVESEGMENTS_KILLS", "1"))
"""At each point."""


@pytest.mark.timeout(300)
def test_workers_killed_between_any_two_steps_lose_and_repeat_nothing(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    # The same instance each time, so that the next start ends a transaction left open.
    service.environment |= {
        "LIVESEGMENTS_INSTANCE_ID": "one",
        "LIVESEGMENTS_MAX_POLL_RECORDS": "200",
    }
    sent = 0
    for kill in range(KILLS):
        for number, point in enumerate(POINTS):
            call = 2 + 2 * ((kill + number) % 2)
            sent += service.send(make_load(800, first=sent))
            victim = service.launch(crashing(point, call))
            # A lagging worker publishes several micro-batches together, so there may be fewer than
            # needed.
            for _ in range(60):
                with suppress(subprocess.TimeoutExpired):
                    victim.wait(2)
                    break
                sent += service.send(make_load(50, first=sent))
            assert victim.returncode == -signal.SIGKILL, f"{point}:\n{service.tail()}"
    service.start()
    service.wait(90)
    service.verified()
