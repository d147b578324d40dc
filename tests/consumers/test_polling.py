"""A poll returns the records available now, not those of one loop iteration ago."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.polling import poll, split_by_bytes
from livesegments.contracts.topics import ERASURES, PURCHASES
from tests.consumers.harness import by_partition, record
from tests.servers import KafkaServer

PLACE = TopicPartition(PURCHASES, 0)


@pytest.fixture
def producer(fresh_kafka: KafkaServer) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap)
    yield producer
    producer.close()


@pytest.fixture
def consumer(fresh_kafka: KafkaServer, producer: KafkaProducer) -> Iterator[KafkaConsumer]:
    """Return a consumer that has read a first record, and therefore prefetches."""
    consumer = KafkaConsumer(
        bootstrap_servers=fresh_kafka.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10_000,  # the prefetch waits for the next record
    )
    consumer.assign([PLACE])
    send(producer, b"first")
    assert values(until_some(consumer)) == [b"first"]
    assert consumer.poll(0) == {}  # sends the fetch
    yield consumer
    consumer.close()


def send(producer: KafkaProducer, value: bytes) -> None:
    producer.send(PURCHASES, value=value, partition=0).get(10)
    time.sleep(0.3)  # the prefetch has arrived by then


def until_some(consumer: KafkaConsumer, max_records: int = 100) -> dict[TopicPartition, list]:  # type: ignore[type-arg]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if polled := poll(consumer, 1_000, max_records):
            return dict(polled)
    raise AssertionError("nothing came")


def values(polled: dict[TopicPartition, list]) -> list[bytes]:  # type: ignore[type-arg]
    return [record.value for record in polled.get(PLACE, [])]


@pytest.mark.servers
def test_what_came_during_a_round_is_in_the_next_poll(
    producer: KafkaProducer, consumer: KafkaConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livesegments.consumers.polling.FETCH_MS", 5_000)  # on a busy machine too
    for value in (b"second", b"third", b"fourth"):
        send(producer, value)
    assert values(until_some(consumer)) == [b"second", b"third", b"fourth"]


@pytest.mark.servers
def test_a_poll_takes_no_more_than_it_is_asked_for(
    producer: KafkaProducer, consumer: KafkaConsumer
) -> None:
    for value in (b"second", b"third", b"fourth"):
        send(producer, value)
    first, rest = values(until_some(consumer, 1)), values(until_some(consumer, 2))
    assert (first, rest) == ([b"second"], [b"third", b"fourth"])


@pytest.mark.servers
def test_nothing_is_waited_for_no_longer_than_asked(consumer: KafkaConsumer) -> None:
    assert poll(consumer, 50, 100) == {}


@pytest.mark.servers
def test_with_half_of_a_round_at_hand_nothing_is_waited_for(
    fresh_kafka: KafkaServer, producer: KafkaProducer, consumer: KafkaConsumer
) -> None:
    together = KafkaProducer(bootstrap_servers=fresh_kafka.bootstrap, linger_ms=200)
    for value in (b"second", b"third"):  # in one batch, so in the one prefetch
        together.send(PURCHASES, value=value, partition=0)
    together.close()
    send(producer, b"fourth")
    assert values(until_some(consumer, 3)) == [b"second", b"third"]
    assert values(until_some(consumer, 3)) == [b"fourth"]


def sized(topic: str, offset: int, size: int) -> ConsumerRecord:
    half = size // 2
    return record(topic, offset, None, None)._replace(
        serialized_key_size=size % 2, serialized_value_size=half, serialized_header_size=half
    )


def test_what_was_polled_is_one_portion_as_a_rule() -> None:
    polled = by_partition([sized(PURCHASES, i, 10) for i in range(10)])
    assert list(split_by_bytes(polled, 100)) == [polled]
    assert list(split_by_bytes({}, 100)) == [{}]


@given(st.lists(st.integers(0, 60), max_size=30), st.lists(st.integers(0, 60), max_size=30))
def test_portions_are_all_of_it_in_order_and_as_large_as_they_may_be(
    purchases: list[int], erasures: list[int]
) -> None:
    polled = by_partition(
        [sized(PURCHASES, i, size) for i, size in enumerate(purchases)]
        + [sized(ERASURES, i, size) for i, size in enumerate(erasures)]
    )
    found = list(split_by_bytes(polled, 50))
    for tp, records in polled.items():
        assert [each for portion in found for each in portion.get(tp, ())] == records
    for portion in found:
        sizes = [
            each.serialized_key_size + each.serialized_value_size + each.serialized_header_size
            for records in portion.values()
            for each in records
        ]
        assert sum(sizes) <= 50 or sum(size > 0 for size in sizes) == 1
        assert all(portion.values())
    assert len(found) <= 1 + 2 * (sum(purchases) + sum(erasures)) // 50
