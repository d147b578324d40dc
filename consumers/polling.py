"""Poll for what there is now, not for what there was a round ago."""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

Polled: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 5
"""Enough to fetch what a broker has."""
ROUND_BYTES = 64 * 1024 * 1024
"""Of the records of a round: far more than any round has that goes well.

Small on the wire, a compressed batch may hold any amount; each record may become a dead letter, and
Redis takes no outbox of more than 512 MiB.
"""
_SIZES = [attrgetter(f"serialized_{part}_size") for part in ("key", "value", "header")]


def poll(consumer: KafkaConsumer, timeout_ms: int, max_records: int) -> Polled:
    """Return the records there are, waiting for some when there are none.

    kafka-python fetches ahead, so what a poll finds at once was fetched right after the poll
    before; what came during the round between the two is asked for only now. Without waiting for
    that, an event is decided one round later than it could be. With half of a full round at hand
    there is enough to do meanwhile.

    Parameters
    ----------
    consumer
        Subscribed; its errors are raised.
    timeout_ms
        Longest wait for a first record.
    max_records
        Most records to return; `portions` bounds their bytes.
    """
    ahead: Polled = consumer.poll(0, max_records=max_records)
    found = sum(map(len, ahead.values()))
    if 2 * found > max_records:
        return ahead
    wait_ms = min(timeout_ms, FETCH_MS) if ahead else timeout_ms
    since: Polled = consumer.poll(wait_ms, max_records=max_records - found)
    return {tp: [*ahead.get(tp, ()), *since.get(tp, ())] for tp in {**ahead, **since}}


def portions(polled: Polled, most_bytes: int = ROUND_BYTES) -> Iterator[Polled]:
    """Cut what was polled into parts of so many bytes, of at least one record each.

    All in one as a rule, also where there is nothing.
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
