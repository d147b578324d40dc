"""All committed records of a topic partition, as a subscriber reads them."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.contracts.topics import INPUTS, OUTPUTS
from livesegments.operations.verify.tolerant_reader import TolerantConsumer
from livesegments.topic_prefix import open_consumer

PATIENCE_SECONDS = 60.0
FETCH_MS = 10


class Log:
    """Read_committed reader of partitions."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        # At the end of one partition a fetch would hold up the next one for half a second.
        common = {**config, "enable_auto_commit": False, "fetch_max_wait_ms": FETCH_MS}
        common["auto_offset_reset"] = "earliest"
        self._consumer = open_consumer(TolerantConsumer, **common, isolation_level="read_committed")
        self._ends = open_consumer(KafkaConsumer, **common, isolation_level="read_uncommitted")
        self._starts: dict[TopicPartition, int] = {}
        # kafka-python waits 100 ms between two requests of metadata: one for all topics.
        for consumer in (self._consumer, self._ends):
            consumer.assign([TopicPartition(topic, 0) for topic in (*INPUTS, *OUTPUTS)])

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._ends.close()

    def starts(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return the first offset still retained of each topic."""
        found = _offsets(self._consumer.beginning_offsets, topics, partition)
        self._starts |= {TopicPartition(topic, partition): at for topic, at in found.items()}
        return found

    def stable_ends(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return each topic's last stable offset: the start of the first open transaction."""
        return _offsets(self._consumer.end_offsets, topics, partition)

    def ends(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Return the end of each topic, open transactions included."""
        return _offsets(self._ends.end_offsets, topics, partition)

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
) -> dict[str, int]:
    """Ask for the offsets of one topic after the other.

    Of several topics that may not be read kafka-python names none, and it leaves out one that it
    does not know.
    """
    found: dict[TopicPartition, int] = {}
    for topic in topics:
        found |= ask([TopicPartition(topic, partition)])
    return {tp.topic: int(at) for tp, at in found.items()}
