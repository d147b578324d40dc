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

from livesegments.consumers.aggregation import Part, Work, read_request
from livesegments.consumers.decoding import decode_batch
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.partition_state import PartitionState, decode_estimators, decode_seen
from livesegments.consumers.polling import split_by_bytes
from livesegments.consumers.processor import process
from livesegments.consumers.recovery.changelog_reader import NOT_STATED, Changelog, read_back
from livesegments.consumers.recovery.ownership import Committed, Extent, is_lost, taken_over
from livesegments.consumers.transitions import restate
from livesegments.contracts.dead_letters import parse
from livesegments.contracts.topics import DEAD_LETTERS, INPUTS
from livesegments.domain import ProcessingConfig
from livesegments.features.record_codec import decode, encode, forget_place
from livesegments.producers.serializers import Serializer
from livesegments.store.checkpoint import FROM_NOTHING, FROM_THE_STORE, SETTLED, Checkpoint, Offsets
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import Commit, Partitions, PartitionSnapshot, ReadRequest

CHUNK = 1_000
"""Customers read or written at once."""


class RecoveryInterruptedError(RuntimeError):
    """Commit by another owner during a recovery."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Recovery of one partition.

    ``keep_alive`` is called regularly, and raises to end it. ``loaded`` is the partition's state in
    the store; ``committed`` are Kafka's offsets, None if missing or not ours.
    """

    store: Partitions
    reader: LogReader
    config: ProcessingConfig
    keep_alive: Callable[[], None]
    partition: int
    loaded: PartitionSnapshot
    committed: Committed | None
    inputs: Extent

    def run(self, nonce: str) -> PartitionState:
        """Recover the partition; return it ready to resume, with a sweep due over all customers."""
        lost = is_lost(self.loaded.checkpoint, self.inputs)
        state = self._begin(nonce, lost)
        published = read_back(
            self.reader, self.partition, self.config.segment_ids, self.committed, self.keep_alive
        )
        if not lost:
            state = self._keep_dead_letters(state, published)
        state = self._adopt(state, published)
        state = self._replay(state, published)
        state = self._restate(state, published)
        done = replace(state.checkpoint, version=state.checkpoint.version + 1, recovering=SETTLED)
        return self._commit(state, Commit(self.partition, state.checkpoint, done))

    def _ends(self) -> Offsets:
        tps = [TopicPartition(topic, self.partition) for topic in INPUTS]
        ends = self.reader.ends(tps)
        return Offsets(*(ends[tp] for tp in tps))

    # -- a
    def _begin(self, nonce: str, lost: bool) -> PartitionState:
        loaded, committed, inputs = self.loaded, self.committed, self.inputs
        base = taken_over(loaded.checkpoint, committed, inputs, nonce)
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
        checkpoint = replace(base, recovering=source, rescore=1, proposed_generation=0)
        commit = Commit(self.partition, loaded.checkpoint, checkpoint, empty_first=lost)
        ring = b"" if lost else self.store.ring(self.partition)
        statistics = {} if lost else loaded.statistics
        state = PartitionState(
            partition=self.partition,
            checkpoint=checkpoint,
            estimators=decode_estimators(statistics, self.config.segmentation),
            published=committed.version if committed else 0,
            erasures=0 if lost else loaded.erasures,
            seen=decode_seen(ring, checkpoint, self.config.dedup_events),
        )
        return self._commit(state, commit)

    # -- b
    def _adopt(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Set every record's published segment from the changelog, in chunks of customers.

        A customer with a state but no record gets a record, so that the sweep can end the state.
        """
        left = published.states
        version = max(state.checkpoint.version, published.version)
        checkpoint = replace(state.checkpoint, version=version + 1)
        state = self._commit(state, Commit(self.partition, state.checkpoint, checkpoint))

        def rows() -> Iterator[tuple[str, bytes | None]]:
            seen: set[str] = set()
            for name, blob in self.store.customers(self.partition):
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
            records["segment"], records["since"], records["version"] = segment, since, versions
            checkpoint = replace(state.checkpoint, version=state.checkpoint.version + 1)
            blobs = dict(zip((name for name, _ in chunk), encode(records), strict=True))
            commit = Commit(self.partition, state.checkpoint, checkpoint, records=blobs)
            state = self._commit(state, commit)
            self.keep_alive()
        return state

    # -- c
    def _keep_dead_letters(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Drop the outbox except for dead letters: its changes were decided on lost data."""
        committed = self.committed

        def is_due(output: Output) -> bool:
            if output.topic != DEAD_LETTERS:
                return False
            letter = parse(output.headers)
            if committed is None:
                return (letter.topic, letter.offset) not in published.dead_letters
            return letter.offset >= committed.offsets[INPUTS.index(letter.topic)]

        version = max(state.checkpoint.version, published.version)
        # One commit per entry, so that no entry grows.
        for entry in self.loaded.outbox:
            version += 1
            due = tuple(out for out in entry.outputs if is_due(out))
            offsets = None
            if entry.offsets and committed:
                # The later of each: dropped decisions may be published in Kafka.
                offsets = Offsets(*map(max, entry.offsets, committed.offsets))
            commit = Commit(
                partition=self.partition,
                expected=state.checkpoint,
                checkpoint=replace(state.checkpoint, version=version),
                entry=Entry.of(version, offsets, due) if due else None,
                trimmed=[entry.version],
            )
            state = self._commit(state, commit)
            self.keep_alive()
        return state

    # -- d
    def _replay(self, state: PartitionState, published: Changelog) -> PartitionState:
        """Aggregate the inputs up to Kafka's offsets."""
        committed = self.committed
        tps = [TopicPartition(topic, self.partition) for topic in INPUTS]
        upto = self.inputs.within(committed.offsets) if committed else self._ends()
        ranges = dict(zip(tps, zip(state.checkpoint.offsets, upto, strict=True), strict=True))
        for polled in chain.from_iterable(map(split_by_bytes, self.reader.read(ranges))):
            seen = {self.partition: state.seen}
            batch = decode_batch(
                polled,
                self.config.currency,
                seen,
                self.config.consent_required,
                self.config.partitioning,
            )
            part = batch.slices[0]
            due = [
                bad
                for bad in part.rejected
                if committed is None
                and (bad.record.topic, bad.record.offset) not in published.dead_letters
            ]
            part = replace(part, rejected=due)
            [read] = self.store.read([read_request(state, batch, part, self.config)])
            work = Work(self.config, None, batch, [Part(state, part, read)], 0, replay=True)
            [result] = process(work).partitions
            assert result.commit is not None
            if not self.store.commit([result.commit])[0]:
                raise RecoveryInterruptedError(f"partition {self.partition}: another owner wrote")
            state = result.state
            self.keep_alive()
        offsets = Offsets(*map(max, state.checkpoint.offsets, upto))
        version = state.checkpoint.version + 1
        checkpoint = replace(state.checkpoint, version=version, **offsets._asdict())
        return self._commit(state, Commit(self.partition, state.checkpoint, checkpoint))

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
                serializer = Serializer(self.config, self.partition, checkpoint, now_us)
                outputs = serializer.states(restate(rows, names, records, None))
                entry = Entry.of(checkpoint.version, checkpoint.offsets, outputs)
                commit = Commit(self.partition, state.checkpoint, checkpoint, entry=entry)
                state = self._commit(state, commit)
            self.keep_alive()
        return state

    def _records(self, names: Sequence[str]) -> list[bytes | None]:
        return self.store.read([ReadRequest(self.partition, names)])[0].records

    def _commit(self, state: PartitionState, commit: Commit) -> PartitionState:
        if not self.store.commit([commit])[0]:
            raise RecoveryInterruptedError(f"partition {self.partition}: another owner wrote")
        return state.committed(commit.checkpoint, commit.entry)
