"""Inputs deleted below or beyond the group's offsets: the worker continues or exits."""

from collections.abc import Callable

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from livesegments.contracts.topics import PURCHASES
from tests.processes import Process
from tests.service import PARTITIONS, Event, Service, purchase

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]


@pytest.fixture
def worked(service: Service, make_load: Callable[..., list[Event]]) -> Service:
    """A deployment that has segmented some customers, and whose worker has left."""
    service.send(make_load(3_000))
    worker = service.start()
    service.wait_for(service.has_model, "customers are in segments")
    _leave(service, worker)
    return service


def _leave(service: Service, worker: Process) -> None:
    service.wait()
    service.leave(worker)


def _delete(service: Service, below: int = -1) -> None:
    """Delete purchases below an offset, or all."""
    with KafkaAdminClient(**service.config) as admin:
        admin.delete_records({TopicPartition(PURCHASES, p): below for p in range(PARTITIONS)})


def _sizes(service: Service) -> list[int]:
    return [service.client.hlen(f"livesegments:{{{p}}}:customers") for p in range(PARTITIONS)]


def test_purchases_deleted_unread_end_the_worker_until_that_is_accepted(
    worked: Service, make_load: Callable[..., list[Event]]
) -> None:
    sizes = _sizes(worked)
    worked.send(make_load(400, first=3_000))
    _delete(worked)
    refused = worked.start()
    assert refused.wait(60) == 1, worked.tail()
    said = worked.logs[-1].read_text()
    assert "was deleted unread" in said
    assert "livesegments run --accept-loss" in said
    assert _sizes(worked) == sizes

    _leave(worked, worked.start("--accept-loss"))
    assert sum(_sizes(worked)) > 0.9 * sum(sizes)  # the store is kept
    worked.start()  # and no confirmation is needed again
    worked.send(make_load(400, first=3_400))
    worked.wait()


def test_a_marker_at_the_end_that_is_deleted_is_no_loss(worked: Service) -> None:
    worker = worked.start()
    producer = KafkaProducer(**worked.config, transactional_id="upstream")
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        _, key, value = purchase(f"t{partition}", "2024-01-10T00:00:00Z")
        producer.send(PURCHASES, key=key, value=value, partition=partition)
    producer.commit_transaction()
    producer.close()
    _leave(worked, worker)
    sizes = _sizes(worked)
    _delete(worked)
    worked.start()
    worked.wait_for(lambda: not worked.missing(), "works again")
    assert _sizes(worked) == sizes


def test_a_lost_store_is_not_made_anew_from_nothing_while_somebody_is_in_a_segment(
    worked: Service,
) -> None:
    _delete(worked)
    worked.client.flushall()
    refused = worked.start()
    assert refused.wait(60) == 1, worked.tail()
    assert "no longer holds a window" in worked.logs[-1].read_text()
    worked.start("--accept-loss")
    worked.wait()
    worked.verified()
