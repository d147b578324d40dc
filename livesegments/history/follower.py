"""Follower of a deployment's topics: writes their new records into its history.

It joins no group, and reads committed records only. At first it reads each topic to its end, the
changes before the states, and then follows all of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError

from livesegments.consumers.log_reader import LogReader, ends_of, log_consumer
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, REPLAYS, STATES
from livesegments.history import tables
from livesegments.history.database import History, Identity, follow, move
from livesegments.operations.topics import partition_counts
from livesegments.topic_prefix import CONFIG

log = structlog.get_logger()

FOLLOWED = (DEFINITIONS, CHANGES, STATES, DEAD_LETTERS, REPLAYS)
"""In the order in which they are read at first: the model is known at once."""
CHUNK, CHUNK_BYTES = 50_000, 64 * 1024 * 1024
"""Records of a commit while a topic is read to its end, and their bytes."""
MOST_POLLED = 5_000
POLL_MS = 200
MOST_AWAY_SECONDS = 24 * 3_600.0
"""Kafka's default of ``delete.retention.ms``, for which a null is kept at least."""
TOLD_SECONDS = 60.0
LAG_SECONDS, ANSWER_MS = 2.0, 5_000
EXPIRY_SECONDS = 3_600.0
"""Time between two deletions of rows whose records have expired from their topics."""
PAUSE_SECONDS = 0.4
"""Between two commits: each takes 50 ms of CPU, however few records it has."""
RETRY_SECONDS = (0.2, 10.0)

Offsets = dict[TopicPartition, int]
Partitions = Mapping[str, Sequence[TopicPartition]]
Batch = Mapping[str, list[ConsumerRecord]]


@dataclass(frozen=True, slots=True)
class Committed:
    """Records that the history has now: changes, those of a partition in their order.

    ``nulls`` are the states of customers who are forgotten, ``positions`` the next offset of each
    partition of the changes.
    """

    changes: Sequence[ConsumerRecord]
    nulls: Sequence[ConsumerRecord]
    positions: Mapping[int, int]


class Follower:
    """Follows topics; `catch_up` reads them to their ends once, `follow` continues from there.

    Parameters
    ----------
    history
        Written by this follower alone.
    since_us
        Changes published before are left out; None for all.
    committed
        Called after each commit while following, in the thread of `follow`.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        group_id: str,
        history: History,
        *,
        topics: Sequence[str] = FOLLOWED,
        since_us: int | None = None,
        committed: Callable[[Committed], object] = lambda _: None,
    ) -> None:
        self._config, self._group_id, self._history = config, group_id, history
        self._topics, self._since_us, self._committed = topics, since_us, committed
        self.trouble: Exception | None = None
        """Why nothing can be read now."""
        self.ready = False
        """True once the history has been read to the topics' ends."""
        self.changes_id = ""
        """Digits that change when the topic of the changes is created again."""
        self.lag: int | None = None
        """Records that the history lacks, by offsets; None while that is not known."""
        self._next: Offsets = {}

    def catch_up(self, progress: Callable[[int], object] = lambda _: None) -> None:
        """Read all topics to their current ends.

        ``progress`` is called with the number of records read.

        Raises
        ------
        KafkaError, LogStalledError
            If they cannot be read.
        """
        counts = partition_counts(self._config, self._topics)
        partitions = {
            topic: [TopicPartition(topic, number) for number in range(counts[topic])]
            for topic in self._topics
            if counts[topic]
        }
        with LogReader(self._config) as reader, LogReader(self._config) as ahead:
            self._begin(reader, partitions)
            read = 0
            for topic, tps in partitions.items():
                for records, offsets in _chunks(reader, self._ranges(reader, topic, tps)):
                    self._commit({topic: records} if records else {}, offsets, ahead)
                    read += len(records)
                    progress(read)
        if not self._history.filled:
            with self._history.transaction() as cursor:
                if {CHANGES, STATES} <= partitions.keys():
                    tables.delete_unowned(cursor)
                follow(cursor, {"filled": "1"})
        self.ready = True

    def follow(self, stopping: threading.Event) -> None:
        """Follow the topics until asked to stop; retry while they cannot be read."""
        pause = RETRY_SECONDS[0]
        while not stopping.is_set():
            try:
                self.catch_up()
                self.trouble, pause = None, RETRY_SECONDS[0]
                self._poll(stopping)
            except Exception as error:  # noqa: BLE001 - reported in every answer, and retried
                outage = isinstance(error, KafkaError | OSError)
                say = log.warning if outage else log.exception
                say("topics cannot be followed", error=str(error), retry_seconds=pause)
                self.trouble, self.lag = error, None
                stopping.wait(pause)
                pause = min(pause * 2, RETRY_SECONDS[1])

    def _begin(self, reader: LogReader, partitions: Partitions) -> None:
        """Go on where the history ends, or rebuild it."""
        every = [tp for tps in partitions.values() for tp in tps]
        starts, ends = reader.starts(every), reader.ends(every)
        self.changes_id = reader.identity([CHANGES])
        identity = Identity(
            self._group_id, str(self._config.get(CONFIG, "")), reader.identity(list(partitions))
        )
        history = self._history
        known = history.continues(identity, time.time() - MOST_AWAY_SECONDS)
        offsets = history.offsets() if known else {}
        if not known or any(offset > ends.get(tp, 0) for tp, offset in offsets.items()):
            log.debug("history is filled from Kafka", topics=list(partitions))
            history.rebuild(identity)
            self.ready = False
            offsets = {}
        self._next = {tp: max(offsets.get(tp, 0), starts[tp]) for tp in every}
        self._tell((), ())
        self._delete_expired(starts)

    def _delete_expired(self, starts: Offsets) -> None:
        """Delete the rows of records that the topics hold no more."""
        with self._history.transaction() as cursor:
            for tp, start in starts.items():
                tables.delete_before(cursor, tp, start)

    def _ranges(
        self, reader: LogReader, topic: str, tps: Sequence[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, int]]:
        # The state of a change that was read is below the high watermark, but may be behind an
        # open transaction. The change of a customer without a state would be deleted.
        ends = reader.ends(tps) if topic == STATES else reader.stable_ends(tps)
        first = self._next
        if topic == CHANGES and self._since_us is not None:
            since = {tp: reader.since(tp, self._since_us) for tp in tps}
            first = {tp: max(first[tp], since[tp]) for tp in tps}
        return {tp: (first[tp], max(first[tp], ends[tp])) for tp in tps}

    def _poll(self, stopping: threading.Event) -> None:
        with (
            closing(log_consumer(self._config, fetch_max_wait_ms=100)) as consumer,
            LogReader(self._config) as ahead,
        ):
            consumer.assign(list(self._next))
            for tp, offset in self._next.items():
                consumer.seek(tp, offset)
            told_s = lag_s = expiry_s = time.monotonic()
            while not stopping.is_set():
                polled = consumer.poll(POLL_MS, max_records=MOST_POLLED)
                if time.monotonic() - lag_s >= LAG_SECONDS:
                    self.lag, lag_s = _lag(consumer), time.monotonic()
                if time.monotonic() - expiry_s >= EXPIRY_SECONDS:
                    self._delete_expired(ahead.starts(list(self._next)))
                    expiry_s = time.monotonic()
                if not polled and time.monotonic() - told_s < TOLD_SECONDS:
                    continue
                batch: dict[str, list[ConsumerRecord]] = {}
                for tp, records in polled.items():
                    batch.setdefault(tp.topic, []).extend(records)
                offsets = {tp: records[-1].offset + 1 for tp, records in polled.items()}
                for tp, offset in self._commit(batch, offsets, ahead).items():
                    consumer.seek(tp, offset)
                told_s = time.monotonic()
                stopping.wait(PAUSE_SECONDS)

    def _commit(self, batch: Batch, offsets: Offsets, ahead: LogReader) -> Offsets:
        """Write a batch; return the offsets of changes that it had to read in advance."""
        nulls = [record for record in batch.get(STATES, ()) if record.value is None]
        self._next |= offsets
        in_advance: Offsets = {}
        if nulls and CHANGES in self._topics:
            # A null is in a transaction with the changes before it, or in a later one: they are
            # below the high watermark now.
            tps = [TopicPartition(CHANGES, n) for n in sorted({each.partition for each in nulls})]
            ends = ahead.ends(tps)
            in_advance = {tp: ends[tp] for tp in tps if ends[tp] > self._next[tp]}
            changes = [*batch.get(CHANGES, ())]
            for found in ahead.read({tp: (self._next[tp], end) for tp, end in in_advance.items()}):
                for records in found.values():
                    changes += records
            batch = {**batch, CHANGES: changes}
            self._next |= in_advance
        with self._history.transaction() as cursor:
            bad = tables.write(cursor, batch)
            move(cursor, offsets | in_advance)
            follow(cursor, {"followed_at": str(time.time())})
        if bad:
            log.warning("records are not of their topic's contract", records=bad)
        self._tell(batch.get(CHANGES, ()), nulls)
        return in_advance

    def _tell(self, changes: Sequence[ConsumerRecord], nulls: Sequence[ConsumerRecord]) -> None:
        positions = {tp.partition: n for tp, n in self._next.items() if tp.topic == CHANGES}
        self._committed(Committed(changes, nulls, positions))


def _lag(consumer: Any) -> int:
    """Return the records of all partitions that were not polled yet, by offsets.

    Raises `KafkaError` if a broker does not answer; `poll` would only return nothing.
    """
    ends = ends_of(consumer, list(consumer.assignment()), ANSWER_MS)
    at = [(end, consumer.position(tp, POLL_MS)) for tp, end in ends.items()]
    return sum(max(end - position, 0) for end, position in at if position is not None)


def _chunks(
    reader: LogReader, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> Iterator[tuple[list[ConsumerRecord], Offsets]]:
    """Yield records in chunks, and the offsets after each."""
    records: list[ConsumerRecord] = []
    offsets: Offsets = {}
    size = 0
    for batch in reader.read(ranges):
        for tp, found in batch.items():
            records += found
            offsets[tp] = found[-1].offset + 1
            size += sum(max(record.serialized_value_size, 0) for record in found)
        if len(records) >= CHUNK or size >= CHUNK_BYTES:
            yield records, offsets
            records, offsets, size = [], {}, 0
    yield records, {tp: end for tp, (_, end) in ranges.items()}
