"""Start and end offsets of any number of partitions.

If kafka-python knows the leaders of only some requested partitions, it omits the others from its
response and then raises KeyError. For a partition requested alone it waits for the leader.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from kafka import KafkaConsumer, TopicPartition

Offsets: TypeAlias = dict[TopicPartition, int]


def starts_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the first offset still in each partition.

    Raises
    ------
    KafkaTimeoutError
        If an offset is not known in time.
    """
    return _all(consumer.beginning_offsets, partitions, timeout_ms)


def ends_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the end of each partition: the last stable offset for a read_committed consumer.

    Raises
    ------
    KafkaTimeoutError
        If an offset is not known in time.
    """
    return _all(consumer.end_offsets, partitions, timeout_ms)


def _all(
    ask: Callable[..., Offsets], partitions: Sequence[TopicPartition], timeout_ms: int | None
) -> Offsets:
    try:
        return dict(ask(partitions, timeout_ms=timeout_ms))
    except KeyError:
        return {tp: ask([tp], timeout_ms=timeout_ms)[tp] for tp in partitions}
