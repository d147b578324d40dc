"""A broker that crashes and returns: workers retry, lose nothing and repeat nothing."""

import time
from collections.abc import Callable

import pytest

from tests.service import Event, Service

pytestmark = pytest.mark.servers


def test_a_killed_broker_is_waited_for(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    worker = service.start()
    service.send(make_load(5_000))
    service.wait_for(lambda: service.folded() > 500, "it folds")
    service.kafka.kill()
    time.sleep(12)
    assert worker.poll() is None
    service.kafka.start()
    service.send(make_load(1_500, first=5_000))
    service.wait(90)
    assert worker.poll() is None
    service.verified()


def test_a_broker_that_dies_in_silence_is_missed(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.start()
    service.send(make_load(1_000))
    service.wait()
    service.kafka.kill()
    try:
        service.wait_for(lambda: "joined" in service.missing(), "readyz says so")
        assert "micro-batch failed" in service.tail()
    finally:
        service.kafka.start()
    service.wait_for(lambda: not service.missing(), "it is ready again")
