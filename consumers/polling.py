"""Polling of the inputs: rebalances, and records that arrived during the last micro-batch."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import TypeAlias

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import NoOffsetForPartitionError

from livesegments.contracts.topics import INPUTS
from livesegments.store.checkpoint import Offsets

STAY_SECONDS = 1.0


class AssignmentError(RuntimeError):
    """Partition of one input assigned without the same partition of the others."""


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Listener that records rebalances, without further work on kafka-python's I/O thread.

    It also ensures that a join completes. Before each poll, kafka-python checks whether it must
    join. If the reason is a new topic or partition, the leader's assignment clears it, so a poll
    that ends between JoinGroup and SyncGroup is the last one to wait for the response: the member
    stays without partitions and never sends heartbeats. A requested rejoin stays pending until it
    is done.
    """

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._stayed_at = 0.0
        self.changed = True

    def on_partitions_revoked(self, _revoked: object) -> None:
        """Record the revocation; a join begins now."""
        self.changed = True
        self._consumer._coordinator.request_rejoin()

    def on_partitions_assigned(self, _assigned: object) -> None:
        """Record the assignment."""
        self.changed = True

    def stay(self) -> None:
        """Poll with all partitions paused, once a second, to keep the membership."""
        now = time.monotonic()
        if now - self._stayed_at < STAY_SECONDS:
            return
        self._stayed_at = now
        self._consumer.pause(*self._consumer.assignment())
        try:
            with suppress(NoOffsetForPartitionError):
                self._consumer.poll(0)
        finally:
            self._consumer.resume(*self._consumer.paused())


def partitions_of(assignment: set[TopicPartition]) -> list[int]:
    """Return the assigned partitions, each with all three inputs.

    Raises
    ------
    AssignmentError
        If an input is missing: topics of unequal partition counts, or another assignor.
    """
    partitions = sorted({tp.partition for tp in assignment})
    for partition in partitions:
        missing = [t for t in INPUTS if TopicPartition(t, partition) not in assignment]
        if missing:
            raise AssignmentError(
                f"partition {partition} was assigned without {', '.join(missing)}: restore a topic"
                " that was deleted with its records; all input topics need the same number of"
                " partitions, every worker of the group the range assignor and these topics only"
            )
    return partitions


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
        Maximum number of records to return; `split_by_bytes` bounds their bytes.
    """
    ahead: Polled = consumer.poll(0, max_records=max_records)
    found = sum(map(len, ahead.values()))
    if 2 * found > max_records:
        return ahead
    wait_ms = min(timeout_ms, FETCH_MS) if ahead else timeout_ms
    since: Polled = consumer.poll(wait_ms, max_records=max_records - found)
    return {tp: [*ahead.get(tp, ()), *since.get(tp, ())] for tp in {**ahead, **since}}


def unprocessed(
    polled: Polled, offsets: Mapping[int, Offsets]
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """Return the records of owned partitions that are not below their next offsets."""
    new: dict[TopicPartition, list[ConsumerRecord]] = {}
    for tp, records in polled.items():
        if tp.partition not in offsets or not records:
            continue
        start = offsets[tp.partition][INPUTS.index(tp.topic)]
        if records[0].offset >= start:
            new[tp] = list(records)
        elif fresh := [record for record in records if record.offset >= start]:
            new[tp] = fresh
    return new


def split_by_bytes(polled: Polled, most_bytes: int = ROUND_BYTES) -> Iterator[Polled]:
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
