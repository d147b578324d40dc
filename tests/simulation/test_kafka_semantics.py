"""The simulated Kafka against Apache Kafka with kafka-python: behaviour the service relies on."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    KafkaTimeoutError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from livesegments.consumers.polling import RebalanceListener
from livesegments.contracts.topics import CHANGES, INPUTS
from tests.servers import KafkaServer
from tests.simulation.cluster import Cluster
from tests.simulation.edges import Edge
from tests.simulation.kafka_consumer import Consumer
from tests.simulation.kafka_producer import Producer


class Brokers:
    """Creates and closes clients of one of the two, with an empty input and output."""

    def __init__(
        self,
        make_consumer: Callable[..., Any],
        make_producer: Callable[..., Any],
        inputs: Sequence[str],
        output: str,
    ) -> None:
        self._make_consumer, self._make_producer = make_consumer, make_producer
        self._inputs, self.group = inputs, f"group-{output}"
        self.input, self.output = TopicPartition(inputs[0], 0), TopicPartition(output, 0)
        self._made: list[Any] = []

    def consumer(self, level: str = "read_committed", **config: Any) -> Any:
        common = {"enable_auto_commit": False, "auto_offset_reset": "none"}
        return self._keep(self._make_consumer(isolation_level=level, **common, **config))

    def producer(self) -> Any:
        """Return a producer with the test's single transactional id."""
        producer = self._keep(self._make_producer(transactional_id=self.output.topic))
        producer.init_transactions()
        return producer

    def member(self, level: str = "read_committed") -> Any:
        consumer = self.consumer(level, group_id=self.group)
        consumer.subscribe(list(self._inputs), listener=RebalanceListener(consumer))
        while consumer.group_metadata().generation_id < 0:
            with suppress(NoOffsetForPartitionError):
                consumer.poll(100)
        return consumer

    def read(self, consumer: Any, records: int, position: int) -> list[bytes]:
        """Read a partition from its start up to that many records and that position."""
        consumer.assign([self.output])
        consumer.seek(self.output, 0)
        found: list[bytes] = []
        for _ in range(50):
            found += [record.value for record in consumer.poll(100).get(self.output, [])]
            if len(found) >= records and consumer.position(self.output) >= position:
                break
        assert consumer.position(self.output) == position
        return found

    def _keep(self, client: Any) -> Any:
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            with suppress(KafkaError):
                client.close(timeout=1) if hasattr(client, "send") else client.close()


def in_memory() -> Brokers:
    rng = Random(0)
    cluster = Cluster(rng)
    edge = Edge("test", wait=lambda _: cluster.mark_next())
    return Brokers(
        partial(Consumer, cluster, edge, rng), partial(Producer, cluster, edge), INPUTS, CHANGES
    )


def on_servers(bootstrap: str) -> Brokers:
    where = {"bootstrap_servers": bootstrap, "retry_backoff_ms": 20}
    name = secrets.token_hex(4)
    inputs, output = [f"{topic}-{name}" for topic in INPUTS], f"{CHANGES}-{name}"
    with KafkaAdminClient(**where) as admin:
        admin.create_topics({t: {"num_partitions": 1} for t in (*inputs, output)})
    return Brokers(partial(KafkaConsumer, **where), partial(KafkaProducer, **where), inputs, output)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def brokers(request: pytest.FixtureRequest) -> Iterator[Brokers]:
    if request.param == "memory":
        made = in_memory()
    else:
        server: KafkaServer = request.getfixturevalue("kafka")
        if not server.running:
            server.start()
        server.resume()
        made = on_servers(server.bootstrap)
    yield made
    made.close()


def offsets(
    brokers: Brokers, offset: int, metadata: str = "m"
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {brokers.input: OffsetAndMetadata(offset, metadata, -1)}


def send(brokers: Brokers, producer: Any, *values: bytes) -> list[Any]:
    futures = [producer.send(brokers.output.topic, value, partition=0) for value in values]
    producer.flush(10)
    return futures


def poll_on(consumer: Any) -> None:
    for _ in range(50):
        consumer.poll(200)


def test_a_transaction_leaves_a_marker_behind_its_records(brokers: Brokers) -> None:
    producer, reader = brokers.producer(), brokers.consumer()
    producer.begin_transaction()
    assert all(future.succeeded() for future in send(brokers, producer, b"a", b"b"))
    producer.commit_transaction()
    assert brokers.read(reader, 2, position=3) == [b"a", b"b"]


def test_aborted_records_are_passed_over(brokers: Brokers) -> None:
    producer, reader = brokers.producer(), brokers.consumer()
    producer.begin_transaction()
    send(brokers, producer, b"no")
    producer.abort_transaction()
    producer.begin_transaction()
    send(brokers, producer, b"yes")
    producer.commit_transaction()
    assert brokers.read(reader, 1, position=4) == [b"yes"]


def test_an_open_transaction_hides_its_records_and_its_end(brokers: Brokers) -> None:
    producer = brokers.producer()
    producer.begin_transaction()
    send(brokers, producer, b"a", b"b")
    levels = ("read_committed", "read_uncommitted")
    assert [
        brokers.consumer(level).end_offsets([brokers.output])[brokers.output] for level in levels
    ] == [0, 2]
    assert brokers.read(brokers.consumer(), 0, position=0) == []
    producer.abort_transaction()


def test_offsets_and_their_metadata_come_with_the_commit(brokers: Brokers) -> None:
    member, producer = brokers.member(), brokers.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(offsets(brokers, 7, "nonce:3"), member.group_metadata())
    producer.commit_transaction()
    found = member.committed(brokers.input, metadata=True)
    assert (found.offset, found.metadata) == (7, "nonce:3")


def test_offsets_of_an_aborted_transaction_do_not_land(brokers: Brokers) -> None:
    member, producer = brokers.member(), brokers.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(offsets(brokers, 7), member.group_metadata())
    producer.abort_transaction()
    assert member.committed(brokers.input) is None


def test_only_a_read_committed_consumer_waits_for_offsets_on_their_way(brokers: Brokers) -> None:
    member, producer = brokers.member(), brokers.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(offsets(brokers, 7), member.group_metadata())
    with pytest.raises(KafkaTimeoutError):
        member.committed(brokers.input, timeout_ms=500)
    assert (
        brokers.consumer("read_uncommitted", group_id=brokers.group).committed(brokers.input)
        is None
    )
    producer.commit_transaction()
    assert member.committed(brokers.input) == 7


def test_a_stale_generation_is_refused_and_the_transaction_can_be_aborted(brokers: Brokers) -> None:
    member, producer = brokers.member(), brokers.producer()
    now = member.group_metadata()
    stale = ConsumerGroupMetadata(brokers.group, now.generation_id - 1, now.member_id)
    producer.begin_transaction()
    with pytest.raises(CommitFailedError):
        producer.send_offsets_to_transaction(offsets(brokers, 7), stale)
    with pytest.raises(KafkaError):
        producer.commit_transaction()
    producer.abort_transaction()
    assert member.committed(brokers.input) is None


def test_a_member_without_generation_is_not_refused(brokers: Brokers) -> None:
    member, producer = brokers.member(), brokers.producer()
    producer.begin_transaction()
    producer.send_offsets_to_transaction(offsets(brokers, 7), ConsumerGroupMetadata(brokers.group))
    producer.commit_transaction()
    assert member.committed(brokers.input) == 7


def test_a_newer_producer_of_an_id_ends_the_older_ones_transaction(brokers: Brokers) -> None:
    member, older = brokers.member(), brokers.producer()
    older.begin_transaction()
    send(brokers, older, b"lost")
    older.send_offsets_to_transaction(offsets(brokers, 7), member.group_metadata())
    newer = brokers.producer()
    with pytest.raises(KafkaError):
        older.commit_transaction()
    with pytest.raises(KafkaError):
        older.abort_transaction()
    newer.begin_transaction()
    send(brokers, newer, b"kept")
    newer.commit_transaction()
    assert member.committed(brokers.input) is None
    assert brokers.read(brokers.consumer(), 1, position=4) == [b"kept"]


def test_a_fenced_producers_records_say_so(brokers: Brokers) -> None:
    older = brokers.producer()
    brokers.producer()
    older.begin_transaction()
    [future] = send(brokers, older, b"lost")
    assert isinstance(future.exception, ProducerFencedError)
    with pytest.raises(KafkaError):
        older.commit_transaction()


def test_a_member_without_committed_offsets_has_its_partitions_and_an_error(
    brokers: Brokers,
) -> None:
    member = brokers.member()
    for _ in range(2):
        with pytest.raises(NoOffsetForPartitionError):
            poll_on(member)
    assigned = member.assignment()
    assert len(assigned) % len(INPUTS) == 0 < len(assigned)
    for tp in assigned:
        member.seek(tp, 0)
    assert member.poll(200) == {}


def test_a_seek_past_the_end_is_an_error(brokers: Brokers) -> None:
    reader = brokers.consumer()
    reader.assign([brokers.output])
    reader.seek(brokers.output, 99)
    with pytest.raises(OffsetOutOfRangeError):
        poll_on(reader)


def test_a_partition_that_is_not_assigned_cannot_be_sought(brokers: Brokers) -> None:
    reader = brokers.consumer()
    reader.assign([brokers.output])
    with pytest.raises(ValueError, match="Unassigned"):
        reader.seek(brokers.input, 0)
