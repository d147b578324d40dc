"""Poll for what there is now, not for what there was a round ago."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

Polled: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 5
"""Enough to fetch what a broker has."""


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
        Most records to return.
    """
    ahead: Polled = consumer.poll(0, max_records=max_records)
    found = sum(map(len, ahead.values()))
    if 2 * found > max_records:
        return ahead
    wait_ms = min(timeout_ms, FETCH_MS) if ahead else timeout_ms
    since: Polled = consumer.poll(wait_ms, max_records=max_records - found)
    return {tp: [*ahead.get(tp, ()), *since.get(tp, ())] for tp in {**ahead, **since}}
