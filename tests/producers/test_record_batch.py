"""Batches handed over in one call equal those built by kafka-python record by record."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import TopicAuthorizationFailedError
from kafka.future import Future
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder

from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, STATES
from livesegments.operations.verify.kafka_log import Log
from livesegments.producers.record_batch import (
    Accumulator,
    Batch,
    BatchProducer,
    cut,
    encode,
    send,
)
from livesegments.store.outbox import Output
from tests.servers import KafkaServer

some_bytes = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=80), st.binary(max_size=80)), max_size=70)
outputs = st.lists(
    st.builds(
        Output,
        st.just(CHANGES),
        st.binary(max_size=300),
        some_bytes,
        headers | st.just([]),
        headers.map(tuple) | st.sampled_from([(), (("a", b"1"), ("b", b"2"))]),
    ),
    min_size=1,
    max_size=200,
)


SMALL = Output(CHANGES, b"key", b"x" * 99, [])
TP = TopicPartition(CHANGES, 0)


def accumulator(batch_size: int, compression: int = 0) -> Accumulator:
    return Accumulator(batch_size=batch_size, compression_attrs=compression)


def built(builder: Any) -> bytes:
    builder.set_producer_state(7, 1, 40, is_transactional=True)
    builder.close()
    return bytes(builder.buffer())


@given(outputs, outputs, st.sampled_from([0, 1]), st.integers(0, 2**41), st.integers(0, 2**20))
def test_a_batch_is_what_kafka_python_builds(
    first: list[Output], second: list[Output], compression: int, at: int, later: int
) -> None:
    collected = accumulator(10_000_000, compression)
    theirs = MemoryRecordsBuilder(2, compression, 10_000_000)
    for batch, timestamp in ((first, at), (second, at + later)):
        carrier = Batch(batch)
        future, *_ = collected.append(TP, timestamp, batch[0].key, batch[0].value, carrier)
        assert future is not None
        assert carrier.appended
        for each in batch:
            theirs.append(timestamp, each.key, each.value, each.headers)
    [ours] = [each.records for each in collected._batches[TP]]
    assert ours.next_offset() == theirs.next_offset() == len(first) + len(second)
    if compression:
        read = [
            [
                (each.offset, each.timestamp, each.key, each.value, each.headers)
                for each in MemoryRecords(data).next_batch()
            ]
            for data in (built(ours), built(theirs))
        ]
        assert read[0] == read[1]
    else:
        assert built(ours) == built(theirs)


def test_without_room_nothing_is_appended() -> None:
    collected = accumulator(500)
    assert collected.append(TP, 1, b"key", b"x" * 400, [])[0] is not None
    carrier = Batch([Output(CHANGES, b"key", b"x" * 400, [])] * 2)
    future, *_ = collected.append(TP, 1, b"key", b"x" * 400, carrier, abort_on_new_batch=True)
    assert future is None
    assert not carrier.appended
    assert [each.record_count for each in collected._batches[TP]] == [1]


def test_the_later_records_of_a_batch_have_the_time_of_its_first() -> None:
    collected = accumulator(10_000)
    collected.append(TP, None, b"key", None, Batch([Output(CHANGES, b"key", None, [])] * 9))
    [ours] = [each.records for each in collected._batches[TP]]
    times = {each.timestamp for each in MemoryRecords(built(ours)).next_batch()}
    assert len(times) == 1
    assert abs(time.time() * 1_000 - times.pop()) < 600_000


def test_a_batch_that_became_full_by_its_later_records_is_told_so() -> None:
    collected = accumulator(500)
    _, is_full, *_ = collected.append(TP, 1, b"key", b"x" * 99, Batch([SMALL] * 2))
    assert not is_full
    _, is_full, *_ = collected.append(TP, 1, b"key", b"x" * 99, Batch([SMALL] * 4))
    assert is_full


def test_batches_are_about_as_large_as_asked_and_keep_the_order() -> None:
    records = [Output(CHANGES, b"%d" % i, b"x" * (i * 37 % 3_000), []) for i in range(500)]
    sizes, batches = zip(*cut(records, lambda _: 20_000), strict=True)
    assert [each for batch in batches for each in batch] == records
    assert list(sizes) == [sum(output.size for output in batch) for batch in batches]
    assert max(sizes) <= 20_000
    assert min(sizes[:-1]) > 20_000 - 3_600


def test_what_is_larger_than_a_batch_is_one_by_itself() -> None:
    large, small = Output(CHANGES, b"k", b"x" * 9_000, []), Output(CHANGES, b"k", b"", [])
    batches = [batch for _, batch in cut([small, large, large, small], lambda _: 5_000)]
    assert batches == [[small], [large], [large], [small]]
    assert list(cut([], lambda _: 5_000)) == []


@given(
    st.lists(st.tuples(st.sampled_from([CHANGES, STATES, DEAD_LETTERS]), st.integers(0, 3_000))),
    st.integers(1, 9_000),
)
def test_topics_that_interleave_each_keep_their_order_and_their_size(
    records: list[tuple[str, int]], most_of_changes: int
) -> None:
    outputs = [Output(topic, b"%d" % i, b"x" * size, []) for i, (topic, size) in enumerate(records)]
    most = {CHANGES: most_of_changes, STATES: 5_000, DEAD_LETTERS: 1}
    batches = list(cut(iter(outputs), most.__getitem__))
    for topic in most:
        ours = [(size, batch) for size, batch in batches if batch[0].topic == topic]
        assert [each for _, batch in ours for each in batch] == [
            each for each in outputs if each.topic == topic
        ]
        assert all(size <= most[topic] or len(batch) == 1 for size, batch in ours)
    assert sum(len(batch) for _, batch in batches) == len(outputs)


def test_no_more_than_a_batch_of_a_topic_is_taken_ahead() -> None:
    taken = 0

    def outputs() -> Iterator[Output]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield Output(CHANGES, b"key", b"x" * 1_000, [])

    for i, (_, batch) in enumerate(cut(outputs(), lambda _: 8_000)):
        assert taken <= (i + 2) * len(batch) + 1


def test_keys_and_headers_count_in_a_batch_of_dead_letters() -> None:
    by_key = Output(DEAD_LETTERS, b"k" * 9_000, b"", [])
    by_header = Output(DEAD_LETTERS, None, b"", [("name", b"x" * 9_000)])
    by_headers = Output(DEAD_LETTERS, None, b"", [("", b"")] * 4_500)
    letters = [by_key, by_header, by_headers] * 2
    assert [batch for _, batch in cut(letters, lambda _: 10_000)] == [[each] for each in letters]


def test_a_producer_that_takes_no_batches_is_told() -> None:
    class Producer:
        def send(self, *_: Any, **__: Any) -> Future:
            return Future()

    with pytest.raises(RuntimeError, match="takes no batches"):
        send(Producer(), CHANGES, 0, [Output(CHANGES, b"k", b"v", [])] * 2)


def test_a_topic_that_is_not_there_is_not_taken_for_another_kafka_python() -> None:
    class Producer:
        def send(self, *_: Any, **__: Any) -> Future:
            return Future().failure(TopicAuthorizationFailedError({CHANGES}))

    sent = send(Producer(), CHANGES, 0, [Output(CHANGES, b"k", b"v", [])] * 2)
    assert isinstance(sent.future.exception, TopicAuthorizationFailedError)


@given(outputs)
def test_keys_and_headers_of_a_record_count(records: list[Output]) -> None:
    own = [each._replace(shared_headers=()) for each in records]
    assert len(encode(own, 0, 0)) <= sum(output.size for output in own)


@pytest.mark.servers
def test_all_of_a_batch_arrives_in_order(fresh_kafka: KafkaServer) -> None:
    records = [
        Output(CHANGES, b"key %d" % i, None if i % 5 == 0 else b"value %d" % i, [("n", b"%d" % i)])
        for i in range(3_000)
    ]
    producer = BatchProducer(bootstrap_servers=fresh_kafka.bootstrap, batch_size=1_000_000)
    sent = send(producer, CHANGES, 0, records)
    again = send(producer, CHANGES, 1, records[:1])
    producer.flush(10)
    assert sent.future.succeeded()
    assert again.future.succeeded()
    assert not sent.was_split
    producer.close()
    log = Log({"bootstrap_servers": fresh_kafka.bootstrap})
    found = [(each.key, each.value, each.headers) for each in log.read(CHANGES, 0)]
    log.close()
    assert found == [(each.key, each.value, each.headers) for each in records]


@pytest.mark.servers
def test_a_batch_that_its_topic_finds_too_large_tells_that_it_was_split(
    fresh_kafka: KafkaServer,
) -> None:
    records = [Output(CHANGES, b"k", b"x" * 90_000, [])] * 20
    producer = BatchProducer(
        bootstrap_servers=fresh_kafka.bootstrap, batch_size=4_000_000, max_request_size=4_000_000
    )
    sent = send(producer, CHANGES, 0, records)
    sent.future.get(10)
    assert sent.was_split
    producer.close()
