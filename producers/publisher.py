"""Publish rounds to Kafka, each in one transaction with the offsets of the inputs it came from.

The steps, in order; the numbers are those of docs/architecture.md:

5. begin a transaction;
6. send the outbox, flush, and check every future: a record that failed does not fail the
   transaction by itself, and `flush` does not raise;
7. add the offsets of all three inputs, with ``nonce:version`` as their metadata;
8. commit.

After any error the producer is not used again: it could send offsets of the failed transaction
with the next one, or report success without having ended a transaction.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from threading import Thread
from typing import Any, Protocol

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError, UnknownError
from kafka.structs import OffsetAndMetadata

from livesegments.contracts.topics import INPUTS
from livesegments.producers import record_batch
from livesegments.producers.record_batch import Sent
from livesegments.producers.shutdown import shut_down
from livesegments.store.outbox import Offsets, Output

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A dead letter is as large as what was refused: above the largest record that topics take."""

BATCH_BYTES = 512 * 1024
MOST_PATIENCE = 4
MOST_TURNS = 64
"""Transactions that go record by record before a topic that took no batch is given one again."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long things may take: each below the next, and all below ``max_poll_interval``."""

    request_ms: int = 4_000
    delivery_ms: int = 6_000
    transaction_ms: int = 10_000

    def times(self, factor: int) -> "Timeouts":
        """Return longer ones."""
        return Timeouts(*(factor * each for each in astuple(self)))


@dataclass(frozen=True, slots=True)
class Publication:
    """Outputs of one partition, and the input offsets that are committed with them.

    Attributes
    ----------
    offsets
        In the order of ``livesegments.contracts.topics.INPUTS``; None to commit none.
    metadata
        Of these offsets.
    """

    partition: int
    outputs: Iterable[Output]
    offsets: Offsets | None = None
    metadata: str = ""


class PublishError(RuntimeError):
    """A transaction did not commit, or it is not known whether it did."""


class Publishing(Protocol):
    """Publishes rounds, one transaction at a time, here or elsewhere."""

    def open(self) -> None:
        """Fence an earlier producer of the same id, and end the transaction it left open."""

    def begin(self, publications: Sequence[Publication], membership: Any) -> None:
        """Begin a transaction; raises `PublishError`."""

    def finish(self, *, wait: bool = True) -> int | None:
        """Return when it was committed; None when nothing was begun, or it is under way.

        Raises `PublishError` when it did not commit, or nobody knows.
        """


class Publisher:
    """A transactional producer that is rebuilt, under the same id, after every failure.

    Short timeouts let others go on soon where a worker dies, but what is in the outbox has to go
    out in one transaction, however slow the broker or the machine is. So when a transaction fails
    for want of time though some of it arrived, the next ones may take longer, until one is quick.
    """

    def __init__(
        self, config: Mapping[str, Any], transactional_id: str, timeouts: Timeouts | None = None
    ) -> None:
        self._config = dict(config)
        self._transactional_id = transactional_id
        self._timeouts = self._usual = timeouts or Timeouts()
        self._patience = 1
        self._singly: dict[str, int] = {}
        """Topic -> how many more transactions send to it record by record."""
        self._turns: dict[str, int] = {}
        """Topic -> how many did, when last it took no batch."""
        self._producer: KafkaProducer | None = None
        self._ended_us: int | None = None

    def open(self) -> None:
        """Fence an earlier producer of this id, and end the transaction it left open."""
        if self._producer is not None:
            return
        producer = KafkaProducer(
            **self._config,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=self._timeouts.transaction_ms,
            delivery_timeout_ms=self._timeouts.delivery_ms,
            request_timeout_ms=self._timeouts.request_ms,
            max_block_ms=self._timeouts.delivery_ms,
            acks="all",
            # The flush of each round sends at once; until then nothing goes out in small batches.
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
        """Publish what partitions have to say, with their offsets, or nothing at all.

        Parameters
        ----------
        publications
            One a partition.
        membership
            The consumer's group metadata as it was when these inputs were polled, so that a
            broker refuses the offsets of a worker whose partitions have gone to another.

        Raises
        ------
        PublishError
            If it did not commit, or nobody knows; names the first cause. Reconcile before going on.
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
            offsets = _offsets(publications)
            if offsets:
                producer.send_offsets_to_transaction(offsets, membership)
            producer.commit_transaction()
        except (KafkaError, PublishError, AssertionError) as error:
            took_ms = (time.monotonic() - began) * 1_000
            self.abandon()
            # Sooner, it failed for another reason: after a rebalance, offsets are refused at once.
            if took_ms > self._timeouts.request_ms and any(e.future.succeeded() for e in sent):
                self._be_patient(min(2 * self._patience, MOST_PATIENCE))
            if isinstance(error, PublishError):
                raise
            raise PublishError(f"transaction failed: {error!r}") from error
        for topic in {each.topic for each in sent} & self._singly.keys():
            self._singly[topic] = max(0, self._singly[topic] - 1)
        if self._patience > 1 and (time.monotonic() - began) * 1_000 < self._usual.request_ms:
            # Not kept: were the worker killed, others would wait for this producer's transaction.
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
        """Have the next producer wait so many times as long as usual."""
        self._patience, self._timeouts = factor, self._usual.times(factor)

    def _send(
        self, producer: KafkaProducer, publications: Sequence[Publication], sent: list[Sent]
    ) -> None:
        waiting: dict[tuple[str, int], int] = defaultdict(int)
        # A record's time for delivery runs from when it is handed over.
        patience = self._timeouts.delivery_ms / 4_000
        flush_at = time.monotonic() + patience
        for publication in publications:
            for size, batch in record_batch.cut(publication.outputs, self._batch_bytes):
                # While a partition has a second batch waiting, kafka-python wakes its sender with
                # every `send`: of records that go singly, that costs more than the record.
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

    def _flush(self, producer: KafkaProducer, sent: Sequence[Sent]) -> None:
        """Wait for all that was sent, also for the halves of a batch that its topic found large."""
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
        """Publish at once; for where nothing is to go on beside it."""
        self.publish(publications, membership)
        self._ended_us = time.time_ns() // 1_000

    def finish(self, *, wait: bool = True) -> int | None:  # noqa: ARG002 - nothing to wait for
        """Return when what was begun was committed, in microseconds; None when nothing was."""
        ended_us, self._ended_us = self._ended_us, None
        return ended_us

    def abandon(self) -> None:
        """Abort what is open, as far as that can be done, and drop the producer."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # `close` sends no abort, and readers would wait out the transaction's timeout; but an abort
        # waits without limit for a broker that is away.
        abort = Thread(target=_abort, args=(producer,), daemon=True)
        abort.start()
        abort.join(self._timeouts.request_ms / 1000)
        shut_down(producer, 1.0)

    def close(self) -> None:
        """Close an idle producer."""
        if self._producer is not None:
            self._producer.close(timeout=self._timeouts.delivery_ms / 1000)
            self._producer = None


def _abort(producer: KafkaProducer) -> None:
    with suppress(KafkaError, AssertionError):
        producer.abort_transaction()


def _offsets(publications: Sequence[Publication]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(topic, each.partition): OffsetAndMetadata(offset, each.metadata, -1)
        for each in publications
        if each.offsets is not None
        for topic, offset in zip(INPUTS, each.offsets, strict=True)
    }
