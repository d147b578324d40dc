"""Where partitions begin and end, of as many as are asked for.

kafka-python leaves out of its answer a partition whose leader it does not know, where it knows that
of another, and then raises KeyError. It waits for the leader of one that is asked for alone.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition

Offsets: TypeAlias = dict[TopicPartition, int]


def starts_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the first offset that each partition still holds.

    Raises
    ------
    KafkaTimeoutError
        If that of a partition is not known in time.
    """
    return _all(consumer.beginning_offsets, partitions, timeout_ms)


def ends_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the end of each partition: below any open transaction if the consumer reads so.

    Raises
    ------
    KafkaTimeoutError
        If that of a partition is not known in time.
    """
    return _all(consumer.end_offsets, partitions, timeout_ms)


def _all(
    ask: Callable[..., Offsets], partitions: Sequence[TopicPartition], timeout_ms: int | None
) -> Offsets:
    try:
        return dict(ask(partitions, timeout_ms=timeout_ms))
    except KeyError:
        return {tp: ask([tp], timeout_ms=timeout_ms)[tp] for tp in partitions}
