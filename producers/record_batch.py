"""Batched sending: one kafka-python call for all records of a batch.

kafka-python's `send` takes 25 µs per record for checks, locks and a future, more than the rest of
the processing of a change. So the first record of a batch carries the others as an attribute of its
headers, and the accumulator of a `BatchProducer` appends them (`python -m bench sending`). Batches
are identical byte for byte; a test compares them with kafka-python's own.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from threading import RLock
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

from livesegments.store.outbox import Header, Output


class Batch(list[tuple[str, bytes]]):
    """Headers of a batch's first record.

    Attributes
    ----------
    later
        The other records of the batch.
    appended
        Whether the accumulator has appended them.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        super().__init__(outputs[0].headers)
        self.later = outputs[1:]
        self.appended = False


class Accumulator(RecordAccumulator):  # type: ignore[misc]
    """Accumulator that appends single records, or all of a `Batch` at once."""

    def append(
        self,
        tp: TopicPartition,
        timestamp_ms: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Any,
        **options: Any,
    ) -> Any:
        """Append a record, and the later ones of a `Batch`; return kafka-python's result."""
        if not isinstance(headers, Batch):
            return super().append(tp, timestamp_ms, key, value, headers, **options)
        if timestamp_ms is None:
            timestamp_ms = time.time_ns() // 1_000_000
        # The sender must not take the first record without the others.
        with self._tp_lock(tp):
            future, is_full, *more = super().append(
                tp, timestamp_ms, key, value, headers, **options
            )
            if future is not None:
                records = self._batches[tp][-1].records
                append_all(records, headers.later, timestamp_ms)
                headers.appended = True
                is_full = is_full or records.is_full()
        return future, is_full, *more

    def _tp_lock(self, tp: TopicPartition) -> Any:
        """Return the lock of a partition, which its holder may acquire again."""
        lock = self._tp_locks.get(tp)
        if lock is None:
            with self._tp_locks[None]:
                lock = self._tp_locks.setdefault(tp, RLock())
        return lock


def append_all(records: MemoryRecordsBuilder, outputs: Sequence[Output], timestamp_ms: int) -> None:
    """Append records to a batch that has at least one."""
    builder, n = records._builder, len(outputs)
    since_first = timestamp_ms - builder._first_timestamp
    builder._buffer += encode(outputs, records._next_offset, since_first)
    builder._num_records += n
    builder._last_offset += n
    records._next_offset += n


class BatchProducer(KafkaProducer):  # type: ignore[misc]
    """kafka-python's producer, which also takes whole batches by `send`; same arguments."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._accumulator.__class__ = Accumulator  # still empty


def send(producer: KafkaProducer, topic: str, partition: int, outputs: Sequence[Output]) -> "Sent":
    """Send records as one batch.

    Raises
    ------
    RuntimeError
        If the producer does not take batches.
    """
    first, headers = outputs[0], Batch(outputs)
    future = producer.send(
        topic, key=first.key, value=first.value, headers=headers, partition=partition
    )
    # If the topic is unavailable, kafka-python appends nothing and returns a failed future.
    if headers.later and not headers.appended and not future.failed():
        raise RuntimeError(
            "the producer takes no batches: it is no BatchProducer, or this version of kafka-python"
            " is too new for it"
        )
    return Sent(topic, len(outputs), future)


class Sent:
    """Batch in flight.

    Attributes
    ----------
    topic, records
        Its topic and number of records.
    future
        Future of its first record, and thus of all, unless the batch was split.
    """

    def __init__(self, topic: str, records: int, future: Any) -> None:
        self.topic, self.records, self.future = topic, records, future
        self._result = getattr(future, "_produce_future", None)

    @property
    def was_split(self) -> bool:
        """True if the batch was too large for its topic; results of later records are unknown."""
        return getattr(self.future, "_produce_future", None) is not self._result


def cut(
    outputs: Iterable[Output], most_bytes: Callable[[str], int]
) -> Iterator[tuple[int, list[Output]]]:
    """Split records into batches, each of one topic, in its order, and of at least one record.

    Parameters
    ----------
    outputs
        Consumed one by one: at most one batch of each topic is held.
    most_bytes
        Approximate maximum bytes of a batch of a topic.

    Yields
    ------
    Its approximate size, and the batch.
    """
    batches: dict[str, list[Output]] = defaultdict(list)
    sizes: dict[str, int] = defaultdict(int)
    most = {}
    for output in outputs:
        topic, own = output.topic, output.size
        batch, size = batches[topic], sizes[topic] + own
        if not batch:
            most[topic] = most_bytes(topic)
        elif size > most[topic]:
            yield sizes[topic], batch
            batches[topic], size = batch, own = [], own
        batch.append(output)
        sizes[topic] = size
    for topic, batch in batches.items():
        yield sizes[topic], batch


def encode(outputs: Sequence[Output], first_offset: int, since_first_ms: int) -> bytes:
    """Encode records in format 2 (https://kafka.apache.org/documentation/#record).

    Parameters
    ----------
    outputs
        Records to encode.
    first_offset
        Position of the first of them in their batch.
    since_first_ms
        Their timestamp, relative to the first record of the batch.
    """
    stamp = b"\0" + _varint(since_first_ms)  # no attributes
    parts: list[bytes] = []
    encoded: tuple[Header, ...] = ()
    shared = b""
    for offset, (_, key, value, own, others) in enumerate(outputs, first_offset):
        if others is not encoded:
            encoded, shared = others, b"".join(map(_header, others))
        record = b"".join(
            (
                stamp,
                _varint(offset),
                _sized(key),
                _sized(value),
                _varint(len(own) + len(others)),
                *map(_header, own),
                shared,
            )
        )
        parts += (_varint(len(record)), record)
    return b"".join(parts)


def _header(header: Header) -> bytes:
    name, value = header
    return _name(name) + _sized(value)


@lru_cache(maxsize=64)
def _name(name: str) -> bytes:
    return _sized(name.encode())


def _sized(data: bytes | None) -> bytes:
    return _NULL if data is None else _varint(len(data)) + data


@lru_cache(maxsize=1 << 16)
def _varint(number: int) -> bytes:
    data = bytearray()
    encode_varint(number, data.append)
    return bytes(data)


_NULL = _varint(-1)
