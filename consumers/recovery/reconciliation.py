"""Partition takeover: compare the store with Kafka, then commit as the new owner."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition

from livesegments.consumers.clocks import bounded
from livesegments.consumers.data_loss import DataLossError, LossCheck
from livesegments.consumers.log_reader import STALL_SECONDS, LogReader
from livesegments.consumers.partition_state import PartitionState, decode_estimators, decode_seen
from livesegments.consumers.recovery.changelog_reader import read_back, version_of_letter
from livesegments.consumers.recovery.ownership import (
    Committed,
    Extent,
    Takeover,
    Verdict,
    is_lost,
    taken_over,
    verdict,
)
from livesegments.consumers.recovery.replay import Recovery
from livesegments.consumers.scoring import NONE
from livesegments.contracts.cloudevents import SOURCE, source_of
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, INPUTS, STATES
from livesegments.domain import ProcessingConfig
from livesegments.store.checkpoint import FROM_NOTHING, Checkpoint, Offsets
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Commit, Partitions

log = structlog.get_logger()


class TakeoverRefusedError(RuntimeError):
    """Commit by another owner in the meantime; retry."""


class Reconciler:
    """Takeover of partitions for one worker.

    Parameters
    ----------
    store
        The partitions' state.
    consumer
        The worker's consumer, whose group's offsets are compared.
    kafka_config
        Client settings for reading the log outside the group.
    config, deployment
        Processing configuration, and the settings that the store must match; written again when the
        store is lost.
    now_us
        The wall clock, in microseconds.
    accept_loss
        Resume even if the inputs no longer hold records that may still count.
    stall_seconds
        Maximum time without progress of a log read; less than a loop iteration of the worker may
        take.
    noted
        Called with each verdict; returns a context manager for the takeover.
    """

    def __init__(
        self,
        store: Partitions,
        consumer: KafkaConsumer,
        kafka_config: Mapping[str, Any],
        config: ProcessingConfig,
        deployment: Deployment,
        *,
        now_us: Callable[[], int],
        accept_loss: bool = False,
        stall_seconds: float = STALL_SECONDS,
        noted: Callable[[Verdict], AbstractContextManager[object]] = lambda _: nullcontext(),
    ) -> None:
        self._store, self._consumer, self._kafka_config = store, consumer, kafka_config
        self._config, self._deployment = config, deployment
        self._now_us, self._accept_loss, self._noted = now_us, accept_loss, noted
        self._stall_seconds = stall_seconds

    def take_over(
        self, partitions: Sequence[int], keep_alive: Callable[[], None]
    ) -> dict[int, PartitionState]:
        """Take partitions over, one after another.

        ``keep_alive`` is called regularly during a recovery, and raises to end it.

        Raises
        ------
        TakeoverRefusedError
            If another owner of a partition committed in between.
        DataLossError
            If the inputs no longer hold records that may still count, and the loss is not accepted.
        StoreMismatchError
            If the settings are not those of the store, or partitions were added to the topics.
        """
        states: dict[int, PartitionState] = {}
        if not partitions:
            return states
        log.info("compares the store with Kafka", partitions=sorted(partitions))
        self._deployment.check_assigned(partitions)
        self._store.agree(self._deployment)
        with LogReader(self._kafka_config, self._stall_seconds) as reader:
            newest = self._newest(partitions, reader)
            for partition in partitions:
                found = self._find(partition, reader, *newest[partition])
                states[partition] = self._take_over(found, reader, keep_alive)
        return states

    def _newest(self, partitions: Sequence[int], reader: LogReader) -> dict[int, tuple[int, int]]:
        """Return the signs of another group in each partition.

        They are the offset after the last state if another group published it, else 0, and the
        version of the last dead letter, which does not name its group.
        """
        tps = [TopicPartition(t, p) for t in (STATES, DEAD_LETTERS) for p in partitions]
        # One wait of 0.1 s for the metadata of all topics that the takeover reads.
        reader.starts([*tps, *(TopicPartition(topic, partitions[0]) for topic in INPUTS)])
        records = reader.newest(tps)
        own = source_of(self._config.group_id)
        foreign, letters = dict.fromkeys(partitions, 0), dict.fromkeys(partitions, 0)
        for each in records:
            if each.topic == DEAD_LETTERS:
                letters[each.partition] = version_of_letter(each)
            elif dict(each.headers).get(SOURCE, own) != own:
                foreign[each.partition] = each.offset + 1
        return {partition: (foreign[partition], letters[partition]) for partition in partitions}

    def _find(self, partition: int, reader: LogReader, foreign: int, letter: int) -> Takeover:
        # The order matters: read the store first, then Kafka's offsets, then commit to the store if
        # it is unchanged.
        stored = self._store.load(partition, takeover=True)
        committed = self._committed(partition)
        known = stored.checkpoint or Checkpoint()
        if stored.is_damaged:
            log.warning("keys were evicted or deleted from the store", partition=partition)
            stored = replace(stored, checkpoint=replace(known, recovering=FROM_NOTHING))
        ours = max(known.version, committed.version if committed else 0)
        if foreign > known.foreign or letter > ours or (known.recovering and not known.seen):
            # The group's offsets do not say what another group has published; nor do they after a
            # recovery without them that was interrupted.
            log.info("reads all outputs", partition=partition)
            committed = None
        inputs, nonce = extent_of(reader, partition), secrets.token_hex(8)
        return Takeover(partition, stored, committed, inputs, nonce, foreign)

    def _take_over(
        self, found: Takeover, reader: LogReader, keep_alive: Callable[[], None]
    ) -> PartitionState:
        partition, stored, committed = found.partition, found.stored, found.committed
        outputs = [TopicPartition(t, partition) for t in (CHANGES, STATES, DEAD_LETTERS)]
        empty = stored.checkpoint is None and not any(reader.ends(outputs).values())
        decided = verdict(stored.checkpoint, committed, found.inputs, empty)
        log.info(
            "taking over",
            partition=partition,
            verdict=decided.value,
            store=stored.checkpoint.metadata if stored.checkpoint else None,
            kafka=committed.metadata if committed else None,
        )
        if decided is not Verdict.FRESH:
            # Checked before any write: an intact store must not be emptied.
            self._check_losses(found, reader, keep_alive)
        with self._noted(decided):
            if decided is Verdict.RECOVER:
                return Recovery(self._store, reader, self._config, keep_alive, found).run()
            return self._become_owner(found)

    def _check_losses(
        self, found: Takeover, reader: LogReader, keep_alive: Callable[[], None]
    ) -> None:
        partition, committed, inputs = found.partition, found.committed, found.inputs
        checkpoint = found.stored.checkpoint

        def anyone_counts() -> bool:
            segment_ids = self._config.segment_ids
            published = read_back(reader, partition, segment_ids, committed, keep_alive)
            return any(state.segment != NONE for state in published.states.values())

        if checkpoint is not None:
            # With a checkpoint that a wrong clock moved ahead, all purchases would count as
            # outdated.
            clock_us = bounded(checkpoint.clock_us, self._now_us())
            checkpoint = replace(checkpoint, clock_us=clock_us)
        check = LossCheck(reader, self._config, self._now_us, keep_alive)
        try:
            if checkpoint is not None:
                check.check_topics(partition, inputs, checkpoint, anyone_counts)
            if checkpoint is None or is_lost(checkpoint, inputs):
                check.check_ends(partition, inputs, None, committed)
                check.check_window(partition, inputs, anyone_counts)
            else:
                check.check_ends(partition, inputs, checkpoint, committed)
                check.check_unread(partition, inputs, checkpoint)
        except DataLossError as error:
            if not self._accept_loss:
                raise
            log.warning("continues without the lost records", partition=partition, loss=str(error))

    def _become_owner(self, found: Takeover) -> PartitionState:
        partition, stored, committed = found.partition, found.stored, found.committed
        checkpoint = taken_over(stored.checkpoint, committed, found.inputs, found.nonce)
        published = committed.version if committed else 0
        # Read before the commit, which is refused if the ring does not match this checkpoint.
        seen = decode_seen(self._store.ring(partition), checkpoint, self._config.dedup_events)
        commit = Commit(
            partition=partition,
            expected=stored.checkpoint,
            checkpoint=checkpoint,
            trimmed=[entry.version for entry in stored.outbox if entry.version <= published],
        )
        if not self._store.commit([commit])[0]:
            raise TakeoverRefusedError(f"partition {partition}: another owner has written")
        unpublished = tuple(entry for entry in stored.outbox if entry.version > published)
        return PartitionState(
            partition=partition,
            checkpoint=checkpoint,
            estimators=decode_estimators(stored.statistics, self._config.segmentation),
            published=published,
            unpublished=unpublished,
            in_outbox=tuple(entry.version for entry in unpublished),
            erasures=stored.erasures,
            seen=seen,
        )

    def _committed(self, partition: int) -> Committed | None:
        # Waits for a transaction of an older owner that may still move these offsets: kafka-python
        # requests stable offsets only for a read_committed consumer.
        found = [
            self._consumer.committed(TopicPartition(topic, partition), metadata=True)
            for topic in INPUTS
        ]
        return Committed.of([each and (each.offset, each.metadata) for each in found])


def extent_of(reader: LogReader, partition: int) -> Extent:
    """Return the offset ranges of a partition's inputs."""
    tps = [TopicPartition(topic, partition) for topic in INPUTS]
    starts, ends = reader.starts(tps), reader.stable_ends(tps)
    start, end = Offsets(*(starts[tp] for tp in tps)), Offsets(*(ends[tp] for tp in tps))
    return Extent(start, end, reader.identity(INPUTS))
