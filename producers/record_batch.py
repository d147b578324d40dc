"""Batched sending: one kafka-python call for all records of a batch.

kafka-python's `send` takes 25 µs per record for checks, locks and a future, more than the rest of
the processing of a change. So the first record of a batch carries the others as an attribute of its
headers, and the batch builder appends them (`python -m bench sending`). Batches are identical byte
for byte; a test compares them with kafka-python's own.

Importing this module changes the batch builder of every producer of the process; `send` of a single
record is unchanged.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from kafka import KafkaProducer
from kafka.producer import record_accumulator
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
        Whether the builder has appended them.
    """

    def __init__(self, outputs: Sequence[Output]) -> None:
        super().__init__(outputs[0].headers)
        self.later = outputs[1:]
        self.appended = False


class RecordsBuilder(MemoryRecordsBuilder):  # type: ignore[misc]
    """Builder of batches that appends single records or many at once."""

    __slots__ = ()

    def append(
        self, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Any = None
    ) -> Any:
        """Append a record, and the later ones of a `Batch`; return None if the batch is full."""
        metadata = super().append(timestamp, key, value, headers)
        if metadata is not None and isinstance(headers, Batch):
            builder, n = self._builder, len(headers.later)
            since_first = metadata.timestamp - builder._first_timestamp
            builder._buffer += encode(headers.later, self._next_offset, since_first)
            builder._num_records += n
            builder._last_offset += n
            self._next_offset += n
            headers.appended = True
        return metadata


record_accumulator.MemoryRecordsBuilder = RecordsBuilder


def send(producer: KafkaProducer, topic: str, partition: int, outputs: Sequence[Output]) -> "Sent":
    """Send records as one batch.

    Raises
    ------
    RuntimeError
        If this version of kafka-python builds batches differently.
    """
    first, headers = outputs[0], Batch(outputs)
    future = producer.send(
        topic, key=first.key, value=first.value, headers=headers, partition=partition
    )
    # If the topic is unavailable, kafka-python appends nothing and returns a failed future.
    if headers.later and not headers.appended and not future.failed():
        raise RuntimeError("this version of kafka-python does not take batches; an older one does")
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
