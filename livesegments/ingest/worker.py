"""Loop of a source: each poll is one micro-batch and one Kafka transaction.

    1. poll, and read the group membership right after it
    2. decode, query, validate                               livesegments/ingest/transform.py
    3. produce events and dead letters, with the offsets of the source, in one transaction
                                                             producers/publisher.py

Step 3 runs in a separate process while the next micro-batch is polled and transformed; it must
finish before the next transaction begins. After every failure the worker goes back to the committed
offsets and repeats what follows them. No record is skipped.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from kafka.structs import MemberState

from livesegments.consumers.log_reader import ends_of, starts_of
from livesegments.consumers.polling import (
    Polled,
    RebalanceListener,
    poll,
    split_by_bytes,
)
from livesegments.consumers.retry import Backoff, describe, refusal
from livesegments.contracts import dead_letters
from livesegments.contracts.partitioning import Partitioning
from livesegments.ingest.instrumentation import Instrumentation
from livesegments.ingest.query import SlowQueryError
from livesegments.ingest.registry import RegistryError
from livesegments.ingest.sandbox import QueryError
from livesegments.ingest.transform import Transform, Transformed
from livesegments.producers.publisher import PublishError, Publishing
from livesegments.producers.serializers import dead_letter
from livesegments.store.outbox import Output, Publication, serialize

log = structlog.get_logger()

POLL_MS = 200
REFRESH_SECONDS = 10.0
"""How often the files of lookup tables are checked for changes."""
LAG_SECONDS = 1.0
CHECKED_RECORDS = 1_000
"""Records on which the query is checked to work record by record before any event is sent."""
SLOW_SECONDS, FAST_SECONDS = 10.0, 2.0
"""Durations of a micro-batch that halve and double the maximum size of the next."""
PIECE = 1_000
"""Outputs serialized at a time."""

_OUTAGES = (KafkaError, PublishError, RegistryError)


class RecordsLostError(RuntimeError):
    """The source's topic no longer has records that were not read yet."""


class SourceWorker:
    """A member of the consumer group of one source.

    Parameters
    ----------
    consumer
        Not subscribed yet; read_committed, no auto-commit, ``auto_offset_reset="none"``.
    partitioning
        The deployment's: the partition of each key.
    max_records
        Maximum number of records in a micro-batch.
    alive
        Liveness callback, called in every loop iteration.
    accept_loss
        Go on at the start of the topic if records are gone from it that were not read.
    """

    def __init__(
        self,
        *,
        consumer: KafkaConsumer,
        publisher: Publishing,
        transform: Transform,
        partitioning: Partitioning,
        max_records: int,
        observed: Instrumentation,
        alive: Callable[[], None] = lambda: None,
        accept_loss: bool = False,
    ) -> None:
        self._consumer, self._publisher, self._transform = consumer, publisher, transform
        self._topic = transform.source.topic
        self._partitioning, self._most = partitioning, max_records
        self._max_records = max_records
        self._observed, self._alive, self._accept_loss = observed, alive, accept_loss
        self._marks = [(dead_letters.SOURCE, transform.source.name.encode())]
        self._rebalances = RebalanceListener(consumer)
        self._generation_id = -1
        self._rewind_due = True
        self._to_check = CHECKED_RECORDS
        self._refreshed_at, self._told_at = time.monotonic(), 0.0
        self._in_flight: tuple[Transformed, Sequence[ConsumerRecord]] | None = None
        self._backoff = Backoff()
        self._stopping = False
        self.ready = False

    def stop(self) -> None:
        """Request a stop after the current micro-batch; safe in a signal handler."""
        self._stopping = True

    def run(self, after_step: Callable[[], None] = lambda: None) -> None:
        """Run until a stop is requested.

        Raises
        ------
        RecordsLostError
            If records are gone that were not read, unless losses are accepted.
        QueryError
            If the query does not work record by record.
        KafkaError
            If Kafka refuses the user.
        """
        self._consumer.subscribe([self._topic], listener=self._rebalances)
        while not self._stopping:
            self.step()
            self._alive()
            after_step()
        try:
            self._confirm()
        except PublishError as error:
            log.warning("leaves without its last transaction", error=describe(error))

    def step(self) -> None:
        """Run one loop iteration."""
        if self._backoff.left:
            self._alive()
            time.sleep(min(0.1, self._backoff.left))
            return
        try:
            polled = self._poll()
            membership = self._consumer.group_metadata()
            if membership.state is not MemberState.STABLE:
                self._rewind_soon()
                return
            if self._rebalances.changed or membership.generation_id != self._generation_id:
                self._rebalances.changed = False
                self._generation_id = membership.generation_id
                self._rewind_soon()
            if self._rewind_due:
                self._rewind(membership)
                return
            for portion in split_by_bytes(polled):
                self._process(portion, membership)
            if not polled:
                self._confirm()
            self._refresh()
            self._tell_lags()
        except SlowQueryError as error:
            self._take_fewer(error)
        except _OUTAGES as error:
            self._back_off(error)

    # -- poll

    def _poll(self) -> Polled:
        # While a transaction is in flight, an idle poll would delay its confirmation.
        timeout = 0 if self._in_flight else POLL_MS
        try:
            with self._observed.stage("poll"):
                return poll(self._consumer, timeout, self._max_records)
        except NoOffsetForPartitionError:
            self._rewind_soon()
        except OffsetOutOfRangeError as error:
            self._lost(error)
        return {}

    def _lost(self, error: OffsetOutOfRangeError) -> None:
        gone = [tp for tp in self._consumer.assignment() if tp.topic == self._topic]
        starts, ends = starts_of(self._consumer, gone), ends_of(self._consumer, gone)
        for tp in gone:
            offset = self._consumer.committed(tp)
            if offset is None or starts[tp] <= offset <= ends[tp]:
                continue
            what = (
                f"{tp.topic}, partition {tp.partition}: the source {self._transform.source.name!r}"
                f" is at offset {offset}, but the topic has {starts[tp]} to {ends[tp]}"
            )
            if not self._accept_loss:
                raise RecordsLostError(
                    f"{what}: records that were not read are gone, or the topic was recreated;"
                    " `livesegments ingest --accept-loss` resumes at its start"
                ) from error
            log.error("records of a source are lost", what=what)
        self._rewind_soon()
        self._backoff.failed()

    # -- positions

    def _rewind_soon(self) -> None:
        self._rewind_due, self.ready = True, False
        self._observed.ready(False)

    def _rewind(self, membership: object) -> None:
        """Go to the committed offsets, after ending any transaction that could still commit."""
        self._confirm()
        self._publisher.open()
        assigned = sorted(self._consumer.assignment())
        if assigned and self._transform.source.start == "latest":
            self._begin_at_ends(membership)
        offsets = {tp: self._consumer.committed(tp) for tp in assigned}
        starts = starts_of(self._consumer, assigned) if assigned else {}
        ends = ends_of(self._consumer, assigned) if assigned else {}
        for tp, offset in offsets.items():
            if offset is None or (self._accept_loss and not starts[tp] <= offset <= ends[tp]):
                offset = starts[tp]
            self._consumer.seek(tp, offset)
        self._rewind_due, self.ready = False, True
        self._observed.ready(True)
        log.info(
            "reads partitions of a source",
            source=self._transform.source.name,
            partitions=[tp.partition for tp in assigned],
        )

    def _begin_at_ends(self, membership: object) -> None:
        """Commit the ends of all partitions once, at the first start.

        Later ends would leave records out, and so would the end of a partition that was added.
        """
        numbers = sorted(self._consumer.partitions_for_topic(self._topic) or ())
        every = [TopicPartition(self._topic, number) for number in numbers]
        if all(self._consumer.committed(tp) is None for tp in every):
            ends = {tuple(tp): end for tp, end in ends_of(self._consumer, every).items()}
            self._publisher.begin([Publication(0, (), source_offsets=ends)], membership)
            self._publisher.finish()

    def _back_off(self, error: Exception) -> None:
        """Back off and go back to the committed offsets; errors that no retry fixes are raised."""
        self._rewind_soon()
        if (refused := refusal(error)) is not None:
            raise refused
        pause = self._backoff.failed()
        self._observed.failed()
        log.warning(
            "micro-batch failed; goes back to the committed offsets",
            source=self._transform.source.name,
            error=describe(error),
            retry_in_seconds=pause,
        )

    # -- micro-batch

    def _process(self, polled: Polled, membership: object) -> None:
        if not any(polled.values()):
            return
        began = time.monotonic()
        records = list(chain.from_iterable(polled.values()))
        with self._observed.stage("transform"):
            if self._to_check > 0:
                self._transform.check(records[:CHECKED_RECORDS], halve_slow=False)
                self._to_check -= len(records)
            now_ms = time.time_ns() // 1_000_000
            done = self._transform.run(records, now_ms, halve_slow=False)
            publications = self._publications(done, records, polled)
        with self._observed.stage("publish"):
            self._confirm()
            self._publisher.begin(publications, membership)
        self._in_flight = done, records
        self._resize(time.monotonic() - began)

    def _publications(
        self, done: Transformed, records: Sequence[ConsumerRecord], polled: Polled
    ) -> list[Publication]:
        topic = self._transform.topic
        partitions = self._partitioning.partitions
        outputs: dict[int, list[Output]] = {p: [] for p in range(partitions)}
        places = self._partitioning.of_keys([key for _, key, _ in done.events]).tolist()
        for partition, (_, key, value) in zip(places, done.events, strict=True):
            outputs[partition].append(Output(topic, key, value, []))
        for row, rejection in done.rejected.items():
            letter = dead_letter(records[row], rejection, self._marks)
            outputs[records[row].partition % partitions].append(letter)
        publications = [
            Publication(p, [serialize(each[i : i + PIECE]) for i in range(0, len(each), PIECE)])
            for p, each in outputs.items()
            if each
        ]
        offsets = {tuple(tp): each[-1].offset + 1 for tp, each in polled.items() if each}
        return [*publications, Publication(0, (), source_offsets=offsets)]

    def _confirm(self) -> None:
        """Wait for the transaction in flight, if there is one; raises `PublishError`."""
        if self._in_flight is None:
            return
        (done, records), self._in_flight = self._in_flight, None
        ended_us = self._publisher.finish()
        self._backoff.failures = 0
        self._observed.committed(done, records, ended_us or time.time_ns() // 1_000)

    def _resize(self, seconds: float) -> None:
        if seconds > SLOW_SECONDS:
            self._max_records = max(1, self._max_records // 2)
        elif seconds < FAST_SECONDS:
            self._max_records = min(self._most, 2 * self._max_records)

    def _take_fewer(self, error: SlowQueryError) -> None:
        """Take half of the records again, but poll first, or the group would be left."""
        self._rewind_soon()
        self._max_records = max(1, error.records // 2)
        log.warning(
            "the query is slow; fewer records are taken at a time",
            source=self._transform.source.name,
            error=str(error),
            records=self._max_records,
        )

    def _refresh(self) -> None:
        """Read lookup tables again whose files have changed."""
        now = time.monotonic()
        if now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        try:
            if self._transform.query.refresh():
                log.info("read the lookup tables again", source=self._transform.source.name)
        except QueryError as error:
            log.warning("continues with the previous lookup tables", error=str(error))

    def _tell_lags(self) -> None:
        now = time.monotonic()
        if now - self._told_at < LAG_SECONDS:
            return
        self._told_at = now
        # Transactions that fail again and again leave the position where the records end.
        records = self._in_flight[1] if self._in_flight else ()
        in_flight = Counter(each.partition for each in records)
        lags = {}
        for tp in self._consumer.assignment():
            end = self._consumer.highwater(tp)
            if end is not None:
                ahead = max(0, end - self._consumer.position(tp))
                lags[tp.partition] = ahead + in_flight[tp.partition]
        self._observed.lag(lags)
