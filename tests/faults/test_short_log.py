"""A lost store and a log shorter than the window: refused until an operator accepts the loss."""

import time
from collections.abc import Callable

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from livesegments.contracts.topics import PURCHASES
from tests.service import PARTITIONS, Event, Service

pytestmark = pytest.mark.servers


@pytest.mark.timeout(180)
def test_a_window_that_the_log_has_lost_is_refused_at_every_start_until_accepted(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    service.send(make_load(4_000))
    worker = service.start()
    service.wait()
    service.leave(worker)
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_records({TopicPartition(PURCHASES, p): 300 for p in range(PARTITIONS)})
    time.sleep(0.5)
    service.client.flushall()

    # One attempt more than there are partitions: none may be skipped at a later start.
    for _ in range(PARTITIONS + 1):
        refused = service.start()
        assert refused.wait(60) == 1, service.tail()
        assert "no longer holds a window" in service.logs[-1].read_text()

    service.start("--accept-loss")
    service.wait()
    service.verified()
