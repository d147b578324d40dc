"""All committed records of a topic partition, as a subscriber reads them."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.operations.verify.tolerant_reader import TolerantConsumer
from livesegments.topic_prefix import open_consumer

PATIENCE_SECONDS = 60.0


class Log:
    """Read_committed reader of partitions."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        common = {**config, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
        self._consumer = open_consumer(TolerantConsumer, **common, isolation_level="read_committed")
        self._ends = open_consumer(KafkaConsumer, **common, isolation_level="read_uncommitted")
        self._starts: dict[TopicPartition, int] = {}
        self._read_before: set[str] = set()
        self._ended_before: set[str] = set()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._ends.close()

    def starts(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return the first offset still retained of each topic."""
        ask = self._consumer.beginning_offsets
        found = _offsets(ask, topics, partition, self._read_before)
        self._starts |= {TopicPartition(topic, partition): at for topic, at in found.items()}
        return found

    def stable_ends(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return each topic's last stable offset: the start of the first open transaction."""
        return _offsets(self._consumer.end_offsets, topics, partition, self._read_before)

    def ends(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return the end of each topic, open transactions included."""
        return _offsets(self._ends.end_offsets, topics, partition, self._ended_before)

    def read(
        self, topic: str, partition: int, end: int | None = None, *, start: int = 0
    ) -> list[ConsumerRecord]:
        """Return the records from ``start`` to below ``end``, by default to the current end.

        Raises `TimeoutError` if a transaction stays open for longer than the timeout.
        """
        tp = TopicPartition(topic, partition)
        if end is None:
            end = self.ends([topic], partition)[topic]
        if tp not in self._starts:
            self.starts([topic], partition)
        self._consumer.assign([tp])
        self._consumer.seek(tp, max(start, self._starts[tp]))
        records: list[ConsumerRecord] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        before = -1
        while (position := self._consumer.position(tp)) < end:
            if position != before:
                before, deadline = position, time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > deadline:
                raise TimeoutError(
                    f"{topic}-{partition} cannot be read past offset {position} (its end is {end})"
                    f" for {PATIENCE_SECONDS:.0f} s: a transaction hangs open, or the broker"
                    " is away"
                )
            records += self._consumer.poll(200, max_records=10_000).get(tp, [])
        return [record for record in records if record.offset < end]


def _offsets(
    ask: Callable[[list[TopicPartition]], Mapping[TopicPartition, int]],
    topics: Iterable[str],
    partition: int,
    asked: set[str],
) -> dict[str, int]:
    """Ask for the offsets of several topics: in one request those that were ``asked`` for before.

    kafka-python leaves out a topic that it does not know beside others that it does, and of several
    that may not be read it names none. So a new topic is asked for alone, and added.
    """
    tps = [TopicPartition(topic, partition) for topic in topics]
    found: dict[TopicPartition, int] = {}
    with suppress(KeyError):  # its metadata has become that of the topic that it reads
        found |= ask([tp for tp in tps if tp.topic in asked])
    for tp in tps:
        if tp not in found:
            found |= ask([tp])
            asked.add(tp.topic)
    return {tp.topic: int(found[tp]) for tp in tps}
