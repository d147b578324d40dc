"""Polling that includes records which arrived during the previous micro-batch."""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

Polled: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 5
"""Milliseconds; enough to fetch data that is ready on a broker."""
ROUND_BYTES = 64 * 1024 * 1024
"""Maximum record bytes of a micro-batch; far above normal micro-batches.

A compressed batch that is small on the wire may expand to any size. Each record may become a dead
letter, and Redis accepts no outbox of more than 512 MiB.
"""
_SIZES = [attrgetter(f"serialized_{part}_size") for part in ("key", "value", "header")]


def poll(consumer: KafkaConsumer, timeout_ms: int, max_records: int) -> Polled:
    """Return the available records, or wait for the first one.

    kafka-python prefetches: a poll that returns at once returns records fetched right after the
    previous poll, and only then requests those that arrived in between. Without a second poll, an
    event would be processed one micro-batch late. If more than half a full micro-batch is
    available, the second poll is skipped.

    Parameters
    ----------
    consumer
        Subscribed; its errors are raised.
    timeout_ms
        Maximum wait for the first record.
    max_records
        Maximum number of records to return; `portions` bounds their bytes.
    """
    ahead: Polled = consumer.poll(0, max_records=max_records)
    found = sum(map(len, ahead.values()))
    if 2 * found > max_records:
        return ahead
    wait_ms = min(timeout_ms, FETCH_MS) if ahead else timeout_ms
    since: Polled = consumer.poll(wait_ms, max_records=max_records - found)
    return {tp: [*ahead.get(tp, ()), *since.get(tp, ())] for tp in {**ahead, **since}}


def portions(polled: Polled, most_bytes: int = ROUND_BYTES) -> Iterator[Polled]:
    """Split polled records into parts of at most ``most_bytes``, each of at least one record.

    Normally yields a single part, which may be empty.
    """
    if sum(map(_bytes_of, polled.values())) <= most_bytes:
        yield polled
        return
    portion: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
    size = 0
    for tp, records in polled.items():
        start = 0
        for i, record in enumerate(records):
            own = _bytes_of([record])
            if size and size + own > most_bytes:
                if i > start:
                    portion[tp] = records[start:i]
                yield portion
                portion, size, start = {}, 0, i
            size += own
        portion[tp] = records[start:]
    yield portion


def _bytes_of(records: Sequence[ConsumerRecord]) -> int:
    return sum(sum(map(size, records)) for size in _SIZES)
