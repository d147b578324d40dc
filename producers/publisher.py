"""Transactional publishing of micro-batches together with their input offsets.

The steps, in order; the numbers are those of docs/architecture.md:

5. begin a transaction;
6. send the outbox, flush, and check every future: a failed record does not fail the transaction by
   itself, and `flush` does not raise;
7. add the offsets of all three inputs, with ``nonce:version`` as their metadata;
8. commit.

After any error the producer is discarded: it could send offsets of the failed transaction with the
next one, or report success without having ended a transaction.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from threading import Thread
from typing import Any, Protocol

from kafka import TopicPartition
from kafka.errors import KafkaError, UnknownError
from kafka.structs import OffsetAndMetadata

from livesegments.contracts.topics import INPUTS
from livesegments.producers import record_batch
from livesegments.producers.record_batch import BatchProducer, Sent
from livesegments.producers.shutdown import shut_down
from livesegments.store.outbox import Publication
from livesegments.topic_prefix import open_producer, physical

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A dead letter is as large as its rejected record: above the largest record of the topics."""

BATCH_BYTES = 512 * 1024
RETRY_MS = 5
"""Milliseconds before a request is repeated, such as the first one of a transaction that begins
before the markers of the previous one are written."""
MOST_PATIENCE = 4
MOST_TURNS = 64
"""Maximum transactions sent record by record before batches are tried again for a topic."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts, each shorter than the next, and all shorter than ``max_poll_interval``."""

    request_ms: int = 4_000
    delivery_ms: int = 6_000
    transaction_ms: int = 10_000

    def times(self, factor: int) -> "Timeouts":
        """Return the timeouts multiplied by a factor."""
        return Timeouts(*(factor * each for each in astuple(self)))


class PublishError(RuntimeError):
    """Transaction that did not commit, or whose result is unknown."""


class Publishing(Protocol):
    """Publisher of one transaction at a time, in this process or another."""

    def open(self) -> None:
        """Fence an earlier producer of the same id, and end its open transaction."""

    def begin(self, publications: Sequence[Publication], membership: Any) -> None:
        """Begin a transaction; raises `PublishError`."""

    def finish(self, *, wait: bool = True) -> int | None:
        """Return the commit time; None if nothing was begun, or if it is in progress.

        Raises `PublishError` if it did not commit, or its result is unknown.
        """


class Publisher:
    """Transactional producer, recreated under the same id after every failure.

    Short timeouts let other workers resume soon after a worker dies, but an outbox must be
    published in one transaction even if the broker or the machine is slow. So if a transaction
    times out although part of it arrived, the timeouts grow until a transaction is fast again.
    """

    def __init__(
        self, config: Mapping[str, Any], transactional_id: str, timeouts: Timeouts | None = None
    ) -> None:
        self._config = dict(config)
        self._transactional_id = transactional_id
        self._timeouts = self._usual = timeouts or Timeouts()
        self._patience = 1
        self._singly: dict[str, int] = {}
        """Topic -> remaining transactions that send to it record by record."""
        self._turns: dict[str, int] = {}
        """Topic -> number of such transactions after the last batch it rejected."""
        self._producer: BatchProducer | None = None
        self._ended_us: int | None = None

    def open(self) -> None:
        """Fence an earlier producer of this id, and end its open transaction."""
        if self._producer is not None:
            return
        producer = open_producer(
            BatchProducer,
            **{**self._config, "retry_backoff_ms": RETRY_MS},
            transactional_id=self._transactional_id,
            transaction_timeout_ms=self._timeouts.transaction_ms,
            delivery_timeout_ms=self._timeouts.delivery_ms,
            request_timeout_ms=self._timeouts.request_ms,
            max_block_ms=self._timeouts.delivery_ms,
            acks="all",
            # The flush of each micro-batch sends at once; until then no small batches are sent.
            linger_ms=1_000,
            batch_size=BATCH_BYTES + 128 * 1024,
            max_request_size=MAX_REQUEST_BYTES,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
        try:
            producer.init_transactions()
        except KafkaError:
            producer.close(timeout=0)
            raise
        self._producer = producer

    def publish(self, publications: Sequence[Publication], membership: Any) -> None:
        """Publish the outputs of partitions with their offsets, atomically.

        Parameters
        ----------
        publications
            One per partition.
        membership
            The consumer's group metadata from when these inputs were polled, so that a broker
            rejects the offsets of a worker whose partitions were reassigned.

        Raises
        ------
        PublishError
            If it did not commit, or its result is unknown; names the first cause. Reconcile before
            resuming.
        """
        self.open()
        producer = self._producer
        assert producer is not None
        sent: list[Sent] = []
        began = time.monotonic()
        try:
            producer.begin_transaction()
            self._send(producer, publications, sent)
            self._check_whole(sent)
            for each in sent:
                self._check(each)
            offsets = _offsets(publications, physical(self._config, ""))
            if offsets:
                producer.send_offsets_to_transaction(offsets, membership)
            producer.commit_transaction()
        except (KafkaError, PublishError, AssertionError) as error:
            took_ms = (time.monotonic() - began) * 1_000
            self.abandon()
            # An earlier failure has another cause: after a rebalance, offsets are rejected at once.
            if took_ms > self._timeouts.request_ms and any(e.future.succeeded() for e in sent):
                self._be_patient(min(2 * self._patience, MOST_PATIENCE))
            if isinstance(error, PublishError):
                raise
            raise PublishError(f"transaction failed: {error!r}") from error
        for topic in {each.topic for each in sent} & self._singly.keys():
            self._singly[topic] = max(0, self._singly[topic] - 1)
        if self._patience > 1 and (time.monotonic() - began) * 1_000 < self._usual.request_ms:
            # Not kept: if the worker were killed, others would wait for its long transaction
            # timeout.
            self._producer = None
            shut_down(producer, 1.0)
            self._be_patient(1)

    @staticmethod
    def _check(sent: Sent) -> None:
        if not sent.future.is_done:
            raise PublishError("a record was not acknowledged in time")
        if sent.future.failed():
            cause = sent.future.exception
            raise PublishError(f"a record was refused: {cause!r}") from cause

    def _be_patient(self, factor: int) -> None:
        """Multiply the timeouts of the next producer by a factor."""
        self._patience, self._timeouts = factor, self._usual.times(factor)

    def _send(
        self, producer: BatchProducer, publications: Sequence[Publication], sent: list[Sent]
    ) -> None:
        waiting: dict[tuple[str, int], int] = defaultdict(int)
        # A record's delivery timeout starts when it is passed to the producer.
        patience = self._timeouts.delivery_ms / 4_000
        flush_at = time.monotonic() + patience
        for publication in publications:
            for size, batch in record_batch.cut(publication.outputs, self._batch_bytes):
                # While a partition has a second batch pending, kafka-python wakes its sender with
                # every `send`: for records sent singly, that costs more than the record.
                place = (batch[0].topic, publication.partition)
                full = waiting[place] and waiting[place] + size > BATCH_BYTES
                if full or time.monotonic() > flush_at:
                    self._flush(producer, sent)
                    waiting.clear()
                    flush_at = time.monotonic() + patience
                sent.append(record_batch.send(producer, *place, batch))
                waiting[place] += size
        if waiting:
            self._flush(producer, sent)

    def _batch_bytes(self, topic: str) -> int:
        return 1 if self._singly.get(topic) else BATCH_BYTES

    def _flush(self, producer: BatchProducer, sent: Sequence[Sent]) -> None:
        """Wait for all sent records, including the parts of a batch that was split as too large."""
        deadline = time.monotonic() + self._timeouts.delivery_ms / 1000
        while True:
            try:
                producer.flush(timeout=max(0.0, deadline - time.monotonic()))
            except UnknownError:
                self._check_whole(sent)
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _check_whole(self, sent: Sequence[Sent]) -> None:
        for each in sent:
            if each.was_split and each.records > 1:
                turns = min(2 * self._turns.get(each.topic, 0) or 1, MOST_TURNS)
                self._singly[each.topic] = self._turns[each.topic] = turns
                raise PublishError(
                    f"{each.topic} takes no batches of {BATCH_BYTES} bytes: records will be sent"
                    " singly, which is slower; its max.message.bytes should be 1048588, the default"
                )

    def begin(self, publications: Sequence[Publication], membership: Any) -> None:
        """Publish synchronously, for callers that need no concurrency."""
        self.publish(publications, membership)
        self._ended_us = time.time_ns() // 1_000

    def finish(self, *, wait: bool = True) -> int | None:  # noqa: ARG002 - nothing to wait for
        """Return the commit time in microseconds, None if no transaction was begun."""
        ended_us, self._ended_us = self._ended_us, None
        return ended_us

    def abandon(self) -> None:
        """Abort the open transaction, if possible, and drop the producer."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # `close` does not abort, and readers would be blocked until the transaction times out; but
        # an abort waits indefinitely for an unreachable broker.
        abort = Thread(target=_abort, args=(producer,), daemon=True)
        abort.start()
        abort.join(self._timeouts.request_ms / 1000)
        shut_down(producer, 1.0)

    def close(self) -> None:
        """Close an idle producer."""
        if self._producer is not None:
            self._producer.close(timeout=self._timeouts.delivery_ms / 1000)
            self._producer = None


def _abort(producer: BatchProducer) -> None:
    with suppress(KafkaError, AssertionError):
        producer.abort_transaction()


def _offsets(
    publications: Sequence[Publication], prefix: str
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return the offsets of the inputs, under the prefix, and of the topics of other sources."""
    offsets = {
        TopicPartition(prefix + topic, each.partition): OffsetAndMetadata(offset, each.metadata, -1)
        for each in publications
        if each.offsets is not None
        for topic, offset in zip(INPUTS, each.offsets, strict=True)
    }
    for each in publications:
        for source, offset in each.source_offsets.items():
            offsets[TopicPartition(*source)] = OffsetAndMetadata(offset, each.metadata, -1)
    return offsets
