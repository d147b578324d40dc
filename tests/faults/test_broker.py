"""A broker that dies and comes back: workers wait, lose nothing and repeat nothing."""

import time
from collections.abc import Callable

import pytest

from tests.service import Event, Service

pytestmark = pytest.mark.servers


def test_a_killed_broker_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    service.send(make_load(6_000))
    service.wait_for(lambda: service.folded() > 500, "it folds")
    service.kafka.kill()
    time.sleep(12)
    assert worker.poll() is None
    service.kafka.start()
    service.send(make_load(3_000, first=6_000))
    service.wait(90)
    assert worker.poll() is None
    service.verified()
