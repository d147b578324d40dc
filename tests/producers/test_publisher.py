"""The publisher on Apache Kafka."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Timer
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import NoOffsetForPartitionError
from kafka.structs import ConsumerGroupMetadata

from livesegments.consumers.polling import RebalanceListener
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, INPUTS, PURCHASES
from livesegments.operations.verify.kafka_log import Log
from livesegments.producers import record_batch
from livesegments.producers.publisher import Publisher, PublishError, Timeouts
from livesegments.producers.record_batch import BatchProducer, Sent
from livesegments.store.checkpoint import Offsets
from livesegments.store.outbox import Output, Publication, serialize
from tests.servers import KafkaServer
from tests.service import PARTITIONS

pytestmark = pytest.mark.servers

GROUP = "publishers"
EVERYTHING = 3 * PARTITIONS
OFFSETS = Offsets(3, 2, 1)
METADATA = "00000000000000aa:7"


def output(text: str) -> Output:
    return Output(CHANGES, b"key", text.encode(), [("name", b"value")])


def publication(partition: int, outputs: Iterable[Output]) -> Publication:
    return Publication(partition, [serialize(list(outputs))], OFFSETS, METADATA)


@pytest.fixture
def config(fresh_kafka: KafkaServer) -> dict[str, Any]:
    return {"bootstrap_servers": fresh_kafka.bootstrap}


@pytest.fixture
def member(config: dict[str, Any]) -> Iterator[KafkaConsumer]:
    """A consumer that has joined the group."""
    consumer = KafkaConsumer(
        **config,
        group_id=GROUP,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        session_timeout_ms=3_000,
        heartbeat_interval_ms=500,
    )
    consumer.subscribe(list(INPUTS), listener=RebalanceListener(consumer))
    while consumer.group_metadata().generation_id < 0 or len(consumer.assignment()) < EVERYTHING:
        with suppress(NoOffsetForPartitionError):
            consumer.poll(100)
    yield consumer
    consumer.close(autocommit=False)


def published(config: dict[str, Any]) -> list[bytes]:
    log = Log(config)
    try:
        return [record.value for p in range(4) for record in log.read(CHANGES, p)]
    finally:
        log.close()


def test_outputs_and_offsets_arrive_together_with_the_version_as_metadata(
    config: dict[str, Any], member: KafkaConsumer
) -> None:
    publisher = Publisher(config, "one")
    told = publication(2, [output("a"), output("b")])
    publisher.publish([told], member.group_metadata())
    publisher.close()
    assert published(config) == [b"a", b"b"]
    for topic, offset in zip(INPUTS, OFFSETS, strict=True):
        found = member.committed(TopicPartition(topic, 2), metadata=True)
        assert (found.offset, found.metadata) == (offset, METADATA)


def test_more_than_a_batch_arrives_in_order(config: dict[str, Any], member: KafkaConsumer) -> None:
    texts = [f"{i:06d}" + "x" * 1_000 for i in range(2_000)]
    publisher = Publisher(config, "one")
    publisher.publish([publication(1, [output(text) for text in texts])], member.group_metadata())
    publisher.close()
    assert [value.decode() for value in published(config)] == texts


def test_more_than_a_topic_takes_at_once_arrives_in_parts_and_in_order(
    config: dict[str, Any], member: KafkaConsumer
) -> None:
    with KafkaAdminClient(**config) as admin:
        admin.alter_configs([ConfigResource("topic", CHANGES, {"max.message.bytes": "5000"})])
    texts = [f"{i:06d}" + "x" * 1_000 for i in range(50)]
    publisher = Publisher(config, "one")
    told = publication(1, [output(text) for text in texts])
    # After a success batches are tried again, ever less often while they keep failing.
    for times in (1, 2):
        with pytest.raises(PublishError, match="singly"):
            publisher.publish([told], member.group_metadata())
        for _ in range(times):
            publisher.publish([told], member.group_metadata())
    assert [value.decode() for value in published(config)] == texts * 3
    with KafkaAdminClient(**config) as admin:
        admin.alter_configs([ConfigResource("topic", CHANGES, {"max.message.bytes": "1048588"})])
    publisher.publish([told], member.group_metadata())
    publisher.close()
    assert [value.decode() for value in published(config)] == texts * 4


@pytest.mark.parametrize("where", ["key", "header"])
def test_dead_letters_with_large_keys_or_headers_go_out(
    config: dict[str, Any], member: KafkaConsumer, where: str
) -> None:
    """As one batch they would exceed the largest request of a broker (socket.request.max.bytes)."""
    large = b"x" * 1_000_000
    key, headers = (large, []) if where == "key" else (b"key", [("name", large)])
    letters = [Output(DEAD_LETTERS, key, b"%d" % i, headers) for i in range(110)]
    publisher = Publisher(config, "one")
    publisher.publish([publication(1, letters)], member.group_metadata())
    publisher.close()
    log = Log(config)
    assert [record.value for record in log.read(DEAD_LETTERS, 1)] == [b"%d" % i for i in range(110)]
    log.close()


def test_a_fenced_publisher_publishes_nothing_and_works_again_when_reopened(
    config: dict[str, Any], member: KafkaConsumer
) -> None:
    first, second = Publisher(config, "same"), Publisher(config, "same")
    first.open()
    second.open()
    with pytest.raises(PublishError):
        first.publish([publication(0, [output("lost")])], member.group_metadata())
    assert published(config) == []
    first.publish([publication(0, [output("again")])], member.group_metadata())
    assert published(config) == [b"again"]
    second.abandon()
    first.close()


def test_a_stale_membership_publishes_nothing(
    config: dict[str, Any], member: KafkaConsumer
) -> None:
    now = member.group_metadata()
    stale = ConsumerGroupMetadata(
        now.group_id, now.generation_id - 1, now.member_id, now.group_instance_id
    )
    publisher = Publisher(config, "one")
    with pytest.raises(PublishError):
        publisher.publish([publication(0, [output("lost")])], stale)
    publisher.close()
    assert published(config) == []
    assert member.committed(TopicPartition(PURCHASES, 0)) is None


@pytest.fixture
def transaction_timeouts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The transaction timeout, in milliseconds, of every producer that was created."""
    made: list[int] = []

    def make(**config: Any) -> BatchProducer:
        made.append(config["transaction_timeout_ms"])
        return BatchProducer(**config)

    monkeypatch.setattr("livesegments.producers.publisher.BatchProducer", make)
    return made


def test_transactions_refused_after_a_rebalance_leave_the_transaction_timeout_as_it_was(
    config: dict[str, Any], member: KafkaConsumer, transaction_timeouts: list[int]
) -> None:
    """Otherwise others would have to wait for it if the worker were killed then."""
    now = member.group_metadata()
    stale = ConsumerGroupMetadata(
        now.group_id, now.generation_id - 1, now.member_id, now.group_instance_id
    )
    publisher = Publisher(config, "one")
    for _ in range(2):
        with pytest.raises(PublishError):
            publisher.publish([publication(0, [output("lost")])], stale)
    publisher.publish([publication(0, [output("a")])], member.group_metadata())
    publisher.close()
    assert published(config) == [b"a"]
    assert transaction_timeouts == [Timeouts().transaction_ms] * 3


def test_a_transaction_that_a_slow_broker_did_not_take_in_time_is_given_more_until_one_is_quick(
    config: dict[str, Any],
    member: KafkaConsumer,
    fresh_kafka: KafkaServer,
    monkeypatch: pytest.MonkeyPatch,
    transaction_timeouts: list[int],
) -> None:
    publisher = Publisher(config, "one", Timeouts(request_ms=500, delivery_ms=1_600))
    publisher._singly[CHANGES] = 99
    times, at_once = 0, record_batch.send

    def send(*what: Any) -> Sent:
        nonlocal times
        times += 1
        if times == 2:
            time.sleep(0.5)  # longer than the publisher holds records back
        if times == 3:
            fresh_kafka.pause()
            Timer(2.2, fresh_kafka.resume).start()
        return at_once(*what)

    monkeypatch.setattr(record_batch, "send", send)
    told = publication(0, [output("a"), output("b"), output("c")])
    with pytest.raises(PublishError):
        publisher.publish([told], member.group_metadata())
    assert published(config) == []
    with suppress(PublishError):  # on a busy machine even twice the time may be too short
        publisher.publish([told], member.group_metadata())
    if not published(config):
        publisher.publish([told], member.group_metadata())
    assert published(config) == [b"a", b"b", b"c"]
    usual = Timeouts().transaction_ms
    assert transaction_timeouts[:2] == [usual, 2 * usual]
    for _ in range(20):
        if transaction_timeouts[-1] == usual:
            break
        publisher.publish([publication(0, [output("d")])], member.group_metadata())
    publisher.close()
    assert transaction_timeouts[-1] == usual


def test_a_record_that_the_broker_refuses_publishes_nothing(
    config: dict[str, Any], member: KafkaConsumer
) -> None:
    huge = Output(CHANGES, b"key", b"x" * 3_000_000, [])
    publisher = Publisher(config, "one")
    with pytest.raises(PublishError):
        publisher.publish([publication(0, [output("ok"), huge])], member.group_metadata())
    publisher.close()
    assert published(config) == []
