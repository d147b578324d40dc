"""Poll for what there is now, not for what there was a round ago."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

Polled: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 5
"""Enough to fetch what a broker has."""
MAX_BYTES = 64 * 1024 * 1024
"""Of a round: a small compressed batch may hold far more, and all of it can be dead letters."""


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
        Most records to return, of `MAX_BYTES` in all.
    """
    ahead: Polled = consumer.poll(0, max_records=max_records)
    found = sum(map(len, ahead.values()))
    if 2 * found > max_records:
        return _within(consumer, ahead)
    wait_ms = min(timeout_ms, FETCH_MS) if ahead else timeout_ms
    since: Polled = consumer.poll(wait_ms, max_records=max_records - found)
    both = {tp: [*ahead.get(tp, ()), *since.get(tp, ())] for tp in {**ahead, **since}}
    return _within(consumer, both)


def _within(consumer: KafkaConsumer, polled: Polled) -> Polled:
    """Return what of it has `MAX_BYTES` at most, but one record at least; go back to the rest."""
    kept: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
    room = MAX_BYTES
    for tp, records in polled.items():
        sizes = [
            each.serialized_key_size + each.serialized_value_size + each.serialized_header_size
            for each in records
        ]
        if (total := sum(sizes)) <= room:
            kept[tp] = records
            room -= total
            continue
        fitting = bisect_right(list(accumulate(sizes)), room)
        n = fitting if kept else max(1, fitting)
        # What came before a rebalance may be another's by now.
        if n < len(records) and tp in consumer.assignment():
            consumer.seek(tp, records[n].offset)
        if n:
            kept[tp] = records[:n]
        room = 0
    return kept
