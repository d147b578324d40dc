"""A broker that crashes and returns: workers retry, lose nothing and repeat nothing."""

import time
from collections.abc import Callable

import pytest

from tests.service import Event, Service

pytestmark = pytest.mark.servers


def test_a_killed_broker_is_waited_for_and_missed_without_traffic_too(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    service.send(make_load(1_000))
    service.wait()
    service.kafka.kill()
    service.wait_for(lambda: "joined" in service.missing(), "readyz says so")
    assert "micro-batch failed" in service.tail()
    service.kafka.start()
    service.wait_for(lambda: not service.missing(), "it is ready again")

    service.send(make_load(4_000, first=1_000))
    service.wait_for(lambda: service.folded() > 1_500, "it folds")
    service.kafka.kill()
    time.sleep(12)
    assert worker.poll() is None
    service.kafka.start()
    service.send(make_load(1_500, first=5_000))
    service.wait(90)
    assert worker.poll() is None
    service.verified()
