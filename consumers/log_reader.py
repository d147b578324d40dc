"""Reader of log ranges outside the group, for takeovers, recoveries and the definitions."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Self, TypeAlias

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from livesegments.consumers.columnar_reader import ColumnarConsumer
from livesegments.topic_prefix import open_consumer, physical

Offsets: TypeAlias = dict[TopicPartition, int]


def log_consumer(config: Mapping[str, Any], **options: Any) -> Any:
    """Return a consumer outside the group, by default of committed records."""
    reading = {
        "group_id": None,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    return open_consumer(ColumnarConsumer, **config, **(reading | options))


def starts_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the first offset still in each partition; raises a KafkaTimeoutError."""
    return _all(consumer.beginning_offsets, partitions, timeout_ms)


def ends_of(
    consumer: KafkaConsumer, partitions: Sequence[TopicPartition], timeout_ms: int | None = None
) -> Offsets:
    """Return the end of each partition: the last stable offset for a read_committed consumer.

    Raises a KafkaTimeoutError.
    """
    return _all(consumer.end_offsets, partitions, timeout_ms)


def _all(
    ask: Callable[..., Offsets], partitions: Sequence[TopicPartition], timeout_ms: int | None
) -> Offsets:
    try:
        return dict(ask(partitions, timeout_ms=timeout_ms))
    except KeyError:
        # If kafka-python knows the leaders of only some requested partitions, it omits the others
        # and then raises KeyError. For a partition requested alone it waits for the leader.
        return {tp: ask([tp], timeout_ms=timeout_ms)[tp] for tp in partitions}


COUNTED = 1_000
"""Maximum number of offsets that `LogReader.count_from` counts by reading the records."""

NEWEST = 10
"""Offsets searched for a partition's newest record: the last ones may be transaction markers."""

STALL_SECONDS = 60.0
"""Longer than the service's own transactions can take."""


class LogStalledError(TimeoutError):
    """Log range that could not be read to its end in time."""


class LogReader:
    """Reader of partitions by offset that sees only committed records.

    Parameters
    ----------
    config
        Client settings: servers and security.
    stall_seconds
        Maximum time without progress before a read fails. An open transaction blocks readers until
        it ends or times out, so this must exceed the transaction timeout.
    """

    def __init__(self, config: Mapping[str, Any], stall_seconds: float = STALL_SECONDS) -> None:
        self._config = dict(config)
        self._stall_seconds = stall_seconds
        self._committed = log_consumer(self._config)
        self._uncommitted: ColumnarConsumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._committed.close()
        if self._uncommitted is not None:
            self._uncommitted.close()

    def starts(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset still in each partition."""
        return starts_of(self._committed, partitions)

    def ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return each partition's high watermark, open transactions included."""
        # A read_committed consumer would return the last stable offset, below an open transaction.
        if self._uncommitted is None:
            self._uncommitted = log_consumer(self._config, isolation_level="read_uncommitted")
        return ends_of(self._uncommitted, partitions)

    def identity(self, topics: Sequence[str]) -> str:
        """Return 16 hex digits that change if one of the topics is recreated.

        The consumer must have requested the topics before. "" if the broker has no topic ids, as
        before Kafka 2.8.
        """
        names = [physical(self._config, topic) for topic in topics]
        ids = [self._committed._cluster.topic_id(name) for name in names]
        if not all(each is not None and each.int for each in ids):
            return ""
        return blake2b(b"".join(each.bytes for each in ids), digest_size=8).hexdigest()

    def stable_ends(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return each partition's last stable offset, below the first open transaction."""
        return ends_of(self._committed, partitions)

    def count_from(self, offsets: Mapping[TopicPartition, int]) -> int:
        """Return the number of readable records from the given offsets on.

        Short ranges are read, since transaction markers, aborted and compacted records take offsets
        too; in longer ranges every offset counts.
        """
        tps = list(offsets)
        starts = starts_of(self._committed, tps)
        stable = ends_of(self._committed, tps)
        ranges = {tp: (max(offsets[tp], int(starts[tp])), int(stable[tp])) for tp in tps}
        short = {tp: r for tp, r in ranges.items() if r[1] - r[0] <= COUNTED}
        read = sum(len(records) for batch in self.read(short) for records in batch.values())
        return read + sum(end - start for tp, (start, end) in ranges.items() if tp not in short)

    def since(self, tp: TopicPartition, time_us: int) -> int:
        """Return the first offset of a partition whose record is not older than a time."""
        found = self._committed.offsets_for_times({tp: max(time_us // 1_000, 0)})[tp]
        return self.ends([tp])[tp] if found is None else int(found.offset)

    def newest(self, partitions: Sequence[TopicPartition]) -> list[ConsumerRecord]:
        """Return the newest record of each partition that has one near its end."""
        starts, ends = self.starts(partitions), self.stable_ends(partitions)
        found: dict[TopicPartition, ConsumerRecord] = {}
        for batch in self.read({tp: (max(starts[tp], ends[tp] - NEWEST), ends[tp]) for tp in ends}):
            found |= {tp: records[-1] for tp, records in batch.items()}
        return list(found.values())

    def read(
        self, ranges: Mapping[TopicPartition, tuple[int, int]]
    ) -> Iterator[dict[TopicPartition, list[ConsumerRecord]]]:
        """Yield the committed records from start to before end of each partition, in batches.

        Ends when every position has reached its end: past open transactions, which it waits for,
        aborted records and the gaps that markers leave.

        Raises
        ------
        LogStalledError
            If no position moved for ``stall_seconds``.
        """
        ranges = {tp: (start, end) for tp, (start, end) in ranges.items() if start < end}
        consumer = self._committed
        consumer.assign(list(ranges))
        for tp, (start, _) in ranges.items():
            consumer.seek(tp, start)
        positions = {tp: start for tp, (start, _) in ranges.items()}
        moved = time.monotonic()
        while behind := [tp for tp, (_, end) in ranges.items() if positions[tp] < end]:
            polled = consumer.poll(timeout_ms=200, max_records=5_000)
            batch = {
                tp: [record for record in records if record.offset < ranges[tp][1]]
                for tp, records in polled.items()
            }
            if any(batch.values()):
                yield {tp: records for tp, records in batch.items() if records}
            before, positions = positions, {tp: consumer.position(tp) for tp in ranges}
            if positions != before:
                moved = time.monotonic()
            elif time.monotonic() - moved > self._stall_seconds:
                stuck = behind[0]
                raise LogStalledError(
                    f"{stuck.topic}-{stuck.partition} could not be read past offset"
                    f" {positions[stuck]} (its end is {ranges[stuck][1]}) for"
                    f" {self._stall_seconds:.0f} s: a transaction hangs open, or the broker is away"
                )
