"""Rebuild of a partition from Kafka, when the store is behind or has diverged.

The store lost some or all commits, or the group's offsets are gone. Published outputs stay valid,
so they are read back and applied to the records. Then the inputs up to Kafka's offsets are
aggregated without decisions, since all decisions up to there have been published. Steps a to f are
those of docs/architecture.md. The checkpoint is marked as recovering until the recovery is done; an
interrupted recovery restarts at step a.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from kafka import TopicPartition

from livesegments.consumers.aggregation import Work, read_requests
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.partition_state import (
    PartitionResult,
    PartitionState,
    decode_estimators,
    decode_seen,
)
from livesegments.consumers.polling import split_by_bytes
from livesegments.consumers.processor import process
from livesegments.consumers.recovery.changelog_reader import NOT_STATED, Changelog, read_back
from livesegments.consumers.recovery.ownership import Takeover, is_lost, taken_over
from livesegments.consumers.transitions import restate
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import DEAD_LETTERS, INPUTS
from livesegments.domain import ProcessingConfig
from livesegments.features.record_codec import decode, encode, forget_place
from livesegments.producers.serializers import Serializer
from livesegments.store.checkpoint import (
    AFTER_RECOVERY,
    FROM_NOTHING,
    FROM_THE_STORE,
    SETTLED,
    Checkpoint,
    Offsets,
)
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import Commit, Partitions, ReadRequest

CHUNK = 1_000
"""Customers read or written at once."""


class RecoveryInterruptedError(RuntimeError):
    """Commit by another owner during a recovery."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Recovery of one partition.

    ``keep_alive`` is called regularly, and raises to end it.
    """

    store: Partitions
    reader: LogReader
    config: ProcessingConfig
    keep_alive: Callable[[], None]
    found: Takeover

    def run(self) -> PartitionState:
        """Recover the partition; return it ready to resume, with a sweep due over all customers."""
        found = self.found
        lost = is_lost(found.stored.checkpoint, found.inputs)
        state = self._begin(lost)
        published = read_back(
            self.reader, found.partition, self.config.segment_ids, found.committed, self.keep_alive
        )
        if not lost:
            state = self._keep_dead_letters(state, published)
        state = self._adopt(state, published)
        state = self._replay(state, published)
        state = self._restate(state, published)
        done = replace(
            state.checkpoint,
            version=state.checkpoint.version + 1,
            recovering=SETTLED,
            foreign=found.foreign,
        )
        return self._commit(state.commits(done))

    def _ends(self) -> Offsets:
        tps = [TopicPartition(topic, self.found.partition) for topic in INPUTS]
        ends = self.reader.ends(tps)
        return Offsets(*(ends[tp] for tp in tps))

    # -- a
    def _begin(self, lost: bool) -> PartitionState:
        partition, stored = self.found.partition, self.found.stored
        committed, inputs, nonce = self.found.committed, self.found.inputs, self.found.nonce
        base = taken_over(stored.checkpoint, committed, inputs, nonce)
        if lost:
            replayed = committed.offsets if committed else self._ends()
            base = Checkpoint(
                version=base.version,
                nonce=nonce,
                seen=base.seen,
                **inputs.start._asdict(),
                topics=inputs.topics,
                replayed=replayed.purchases,
                replayed_profiles=replayed.profiles,
                replayed_erasures=replayed.erasures,
            )
        source = FROM_NOTHING if lost else FROM_THE_STORE
        checkpoint = replace(base, recovering=source, rescore=AFTER_RECOVERY, proposed_generation=0)
        commit = Commit(partition, stored.checkpoint, checkpoint, empty_first=lost)
        ring = b"" if lost else self.store.ring(partition)
        statistics = {} if lost else stored.statistics
        state = PartitionState(
            partition=partition,
            checkpoint=checkpoint,
            estimators=decode_estimators(statistics, self.config.segmentation),
            published=committed.version if committed else 0,
            erasures=0 if lost else stored.erasures,
            seen=decode_seen(ring, checkpoint, self.config.dedup_events),
        )
        return self._commit(PartitionResult(commit, state))

    # -- b
    def _adopt(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Set every record's published segment from the changelog, in chunks of customers.

        A customer with a state but no record gets a record, so that the sweep can end the state.
        """
        left = published.states
        stored = self.found.stored.checkpoint
        known = stored.version if stored else 0
        version = max(state.checkpoint.version, published.version)
        checkpoint = replace(state.checkpoint, version=version + 1)
        state = self._commit(state.commits(checkpoint))

        def rows() -> Iterator[tuple[str, bytes | None]]:
            seen: set[str] = set()
            for name, blob in self.store.customers(self.found.partition):
                if name not in seen:
                    seen.add(name)
                    yield name, blob
            unseen = (name for name in left if name not in seen)
            while chunk := list(islice(unseen, CHUNK)):
                yield from zip(chunk, self._records(chunk), strict=True)

        customers = rows()
        while chunk := list(islice(customers, CHUNK)):
            records = decode([blob for _, blob in chunk], self.config.record_shape)
            statuses = [left.get(name, NOT_STATED) for name, _ in chunk]
            segment, since, versions, _ = np.array(statuses, np.int64).T
            # The store has the place of another change, lost or never published.
            forget_place(records, records["version"] != versions)
            # A state that the store does not know of is from after the erasures that it knows of.
            records["erased"] &= versions <= known
            records["segment"], records["since"], records["version"] = segment, since, versions
            checkpoint = replace(state.checkpoint, version=state.checkpoint.version + 1)
            blobs = dict(zip((name for name, _ in chunk), encode(records), strict=True))
            state = self._commit(state.commits(checkpoint, records=blobs))
            self.keep_alive()
        return state

    # -- c
    def _keep_dead_letters(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Drop the outbox except for dead letters: its changes were decided on lost data."""
        committed = self.found.committed

        def is_due(output: Output) -> bool:
            if output.topic != DEAD_LETTERS:
                return False
            letter = parse(output.headers)
            if committed is None:
                return (letter.topic, letter.offset) not in published.dead_letters
            return letter.offset >= committed.offsets[INPUTS.index(letter.topic)]

        version = max(state.checkpoint.version, published.version)
        # One commit per entry, so that no entry grows.
        for entry in self.found.stored.outbox:
            version += 1
            due = tuple(out for out in entry.outputs if is_due(out))
            offsets = None
            if entry.offsets and committed:
                # The later of each: dropped decisions may be published in Kafka.
                offsets = Offsets(*map(max, entry.offsets, committed.offsets))
            commit = Commit(
                partition=self.found.partition,
                expected=state.checkpoint,
                checkpoint=replace(state.checkpoint, version=version),
                entry=Entry.of(version, offsets, due) if due else None,
                trimmed=[entry.version],
            )
            after = state.committed(commit.checkpoint, commit.entry)
            state = self._commit(PartitionResult(commit, after))
            self.keep_alive()
        return state

    # -- d
    def _replay(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Aggregate the inputs up to Kafka's offsets."""
        committed = self.found.committed
        tps = [TopicPartition(topic, self.found.partition) for topic in INPUTS]
        upto = self.found.inputs.within(committed.offsets) if committed else self._ends()
        ranges = dict(zip(tps, zip(state.checkpoint.offsets, upto, strict=True), strict=True))
        for polled in chain.from_iterable(map(split_by_bytes, self.reader.read(ranges))):
            batch = decode_batch(polled, self.config, {self.found.partition: state.seen})
            [part] = batch.slices
            due = [
                bad
                for bad in part.rejected
                if committed is None
                and (bad.record.topic, bad.record.offset) not in published.dead_letters
            ]
            batch = replace(batch, slices=[replace(part, rejected=due)])
            readings = self.store.read(read_requests([state], batch, self.config))
            work = Work(
                config=self.config,
                model=None,
                batch=batch,
                states=[state],
                readings=readings,
                now_us=0,
                replay=True,
                undecided=committed is None,
            )
            [result] = process(work).partitions
            state = self._commit(result)
            self.keep_alive()
        offsets = Offsets(*map(max, state.checkpoint.offsets, upto))
        version = state.checkpoint.version + 1
        checkpoint = replace(state.checkpoint, version=version, **offsets._asdict())
        return self._commit(state.commits(checkpoint))

    # -- e
    def _restate(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Publish states again where the marketing consent differs from the published state.

        Their updates were in the dropped outbox, or their cause was aggregated without decisions.
        The sweep that follows does not publish them: it sees no profile events, and publishes
        nothing for customers whose segment is unchanged.
        """
        stated = iter(published.states.items())
        while chunk := list(islice(stated, CHUNK)):
            names = [name for name, _ in chunk]
            records = decode(self._records(names), self.config.record_shape)
            said = np.array([state.marketing for _, state in chunk], np.int8)
            rows = np.flatnonzero((records["version"] > 0) & (records["marketing"] != said))
            if rows.size:
                checkpoint = replace(state.checkpoint, version=state.checkpoint.version + 1)
                now_us = checkpoint.clock_us
                serializer = Serializer(self.config, self.found.partition, checkpoint, now_us)
                outputs = serializer.states(restate(rows, names, records, None))
                entry = Entry.of(checkpoint.version, checkpoint.offsets, outputs)
                state = self._commit(state.commits(checkpoint, entry))
            self.keep_alive()
        return state

    def _records(self, names: Sequence[str]) -> list[bytes | None]:
        return self.store.read([ReadRequest(self.found.partition, names)])[0].records

    def _commit(self, result: PartitionResult) -> PartitionState:
        assert result.commit is not None
        if not self.store.commit([result.commit])[0]:
            partition = result.state.partition
            raise RecoveryInterruptedError(f"partition {partition}: another owner wrote")
        return result.state
