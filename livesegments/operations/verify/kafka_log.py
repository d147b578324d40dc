"""All committed records of a topic partition, as a subscriber reads them."""

import time
from collections.abc import Mapping
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

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._ends.close()

    def start(self, topic: str, partition: int) -> int:
        """Return the first offset still retained."""
        tp = TopicPartition(topic, partition)
        return int(self._consumer.beginning_offsets([tp])[tp])

    def stable_end(self, topic: str, partition: int) -> int:
        """Return the last stable offset: the start of the first open transaction."""
        tp = TopicPartition(topic, partition)
        return int(self._consumer.end_offsets([tp])[tp])

    def read(
        self, topic: str, partition: int, end: int | None = None, *, start: int = 0
    ) -> list[ConsumerRecord]:
        """Return the records from ``start`` to below ``end``, by default to the current end.

        Raises `TimeoutError` if a transaction stays open for longer than the timeout.
        """
        tp = TopicPartition(topic, partition)
        if end is None:
            end = int(self._ends.end_offsets([tp])[tp])
        self._consumer.assign([tp])
        self._consumer.seek(tp, max(start, self.start(topic, partition)))
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
