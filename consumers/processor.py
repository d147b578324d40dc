"""Micro-batch processing up to the commit: aggregate, score, decide what to write and publish.

No I/O and no clock: the data read and the time are arguments. The result is a commit for each
partition, with the partition's state once that commit is accepted.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Applied, Part, fold, lay_out, reconsented
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.consumers.drift_monitor import watch
from livesegments.consumers.scoring import NONE, Scores, score
from livesegments.consumers.transitions import Triggers, changed_rows, explain, relearn, restate
from livesegments.contracts.topics import ERASURES, PROFILES, PURCHASES
from livesegments.domain import (
    BatchStats,
    Change,
    Model,
    PartitionResult,
    PartitionState,
    ProcessingConfig,
    SegmentStatus,
    Trigger,
)
from livesegments.features.aggregate import expire
from livesegments.features.erasures import marker_key
from livesegments.features.record_codec import Records, encode, is_known, is_profiled
from livesegments.producers.serializers import Serializer
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import Commit, ReadResult

Flags = NDArray[np.bool_]


class BatchProcessor:
    """Processor of one micro-batch, for all partitions that have work.

    Parameters
    ----------
    rules, model
        Configuration and model; without a model nothing is assigned.
    batch
        The polled records; all its partitions are in ``work``.
    work
        Each partition with its slice of the batch, if any, and the data read from its store.
    now_us
        The wall clock, in microseconds.
    replay
        Aggregate only: the decisions were made before.

    Attributes
    ----------
    tally
        Counters filled by `decide`.
    """

    def __init__(
        self,
        rules: ProcessingConfig,
        model: Model | None,
        batch: MicroBatch,
        work: Sequence[tuple[PartitionState, PartitionBatch | None, ReadResult]],
        now_us: int,
        *,
        replay: bool = False,
    ) -> None:
        self.rules, self.model, self.batch, self.now_us = rules, model, batch, now_us
        self.replay = replay
        self.tally = BatchStats()
        self._work = work

    def decide(self) -> list[PartitionResult]:
        """Return the commits, none for a partition without changes.

        The owners' previous states are not modified and stay valid if a commit is refused.
        """
        parts = lay_out(self._work, self.batch, self.rules, self.now_us)
        records, applied = fold(parts, self.batch, self.rules, self.tally)
        scores = self._score(self.model, parts, records) if self.model else None
        decisions = [
            self._decide(part, records[part.rows], applied, scores and scores.of(part.rows))
            for part in parts
        ]
        return [decision for decision in decisions if decision is not None]

    def _score(self, model: Model, parts: Sequence[Part], records: Records) -> Scores:
        customers = [len(part.customers) for part in parts]
        clock_us = np.repeat(np.array([part.clock_us for part in parts], np.int64), customers)
        return score(
            records,
            self.rules.layout.tile_of(clock_us),
            clock_us,
            model.kmeans,
            model.segment_of_cluster,
            self.rules.switching,
        )

    def _decide(
        self, part: Part, records: Records, applied: Applied, scores: Scores | None
    ) -> PartitionResult | None:
        owned = part.owned
        progress = self._progress(part)
        changes: list[Change] = []
        causes: list[Trigger | None] = []
        estimators = owned.estimators
        if scores is not None and self.model is not None:
            changes, causes = self._switch(self.model, part, records, applied, scores, progress)
            estimators = relearn(estimators, records, scores, self.model.generation.number)
        gone, nulled = self._forget(part, records)
        forgotten = [part.customers[row] for row in np.flatnonzero(nulled)]
        standings = [] if self.replay else self._restated(part, records, scores, progress, gone)
        outputs = self._outputs(part, progress, changes, causes, standings, forgotten)
        entry = Entry.of(progress, outputs)
        if entry is not None and self.replay:
            # Some of the dead letters after it are already published: all go in one transaction.
            entry = replace(entry, offsets=None)
        commit = Commit(
            partition=owned.partition,
            expected=owned.progress,
            progress=progress,
            records=_written(part, records, gone),
            gone=[
                name
                for name, empty, blob in zip(part.customers, gone.tolist(), part.blobs, strict=True)
                if empty and blob is not None
            ],
            statistics={
                number: learned.statistics.to_bytes()
                for number, learned in estimators.items()
                if owned.estimators.get(number) is not learned
            },
            statistics_gone=[number for number in owned.estimators if number not in estimators],
            entry=entry,
            published=owned.trimmable,
            erasures={
                marker_key(part.customers[row], self.rules.group_id): part.markers[row].to_bytes()
                for row in part.requested
            },
            ring=part.polled.recall.ring if part.polled and part.polled.recall else (),
        )
        swept = owned.sweep is not None and part.sweep is None
        if part.polled is None and not (commit.records or commit.gone or entry or swept):
            # No score changed in this chunk of the sweep: nothing to write.
            return PartitionResult(None, replace(owned, sweep=part.sweep)) if part.sweep else None
        return PartitionResult(
            commit,
            replace(
                owned.committed(progress, entry),
                estimators=estimators,
                erasures=owned.erasures + len(commit.erasures),
                sweep=part.sweep,
                seen=part.seen,
            ),
        )

    def _progress(self, part: Part) -> Checkpoint:
        progress = part.owned.progress
        after = part.polled.next_offsets if part.polled else {}
        done = part.owned.sweep if part.sweep is None else None
        return replace(
            progress,
            version=progress.version + 1,
            purchases=after.get(PURCHASES, progress.purchases),
            profiles=after.get(PROFILES, progress.profiles),
            erasures=after.get(ERASURES, progress.erasures),
            remembered=part.seen.count if part.seen else progress.remembered,
            clock_us=part.clock_us,
            generation=self.model.generation.number if self.model else progress.generation,
            swept_generation=done.generation if done else progress.swept_generation,
            swept_tile=done.tile if done else progress.swept_tile,
            rescore=0 if done else progress.rescore,
        )

    def _switch(
        self,
        model: Model,
        part: Part,
        records: Records,
        applied: Applied,
        scores: Scores,
        progress: Checkpoint,
    ) -> tuple[list[Change], list[Trigger | None]]:
        """Update the published fields of the records; return the changes and their triggers."""
        self.tally.held_by_margin += int(np.count_nonzero(scores.held_by_margin))
        self.tally.held_by_dwell += int(np.count_nonzero(scores.held_by_dwell))
        if part.polled is not None:
            polled = records[: len(part.polled.customers)]
            self.tally.watched.append(watch(polled, scores, model.generation.number))
        rows = changed_rows(records, scores)
        if not rows.size:
            return [], []
        quiet = "recovery" if part.owned.progress.rescore else "expiry"
        moved_on = records["generation"] != model.generation.number
        if part.owned.progress.rescore:
            # In a rebuilt store, customers never scored are not affected by a new model.
            moved_on &= records["generation"] > 0
        causes = Triggers.of(
            self.batch, part.polled, applied, np.where(moved_on, "model", quiet), part.clock_us
        )
        origins, events = causes.of_rows(rows)
        changes = explain(
            rows,
            part.customers,
            records,
            scores,
            origins,
            causes.time_us[rows],
            part.clock_us,
            model.snapshot,
            model.segment_of_cluster,
        )
        records["segment"][rows] = scores.segment[rows]
        records["since"][rows] = [change.since_us for change in changes]
        records["version"][rows] = progress.version
        return changes, events

    def _forget(self, part: Part, records: Records) -> tuple[Flags, Flags]:
        """Return the masks of records to delete and of customers whose state is set to null."""
        layout, kept_tiles = self.rules.layout, self.rules.retention_tiles
        if kept_tiles is not None:
            expire(records, layout.tile(part.clock_us) - kept_tiles + 1)
        known = is_known(records)
        bare: Flags = ~known & (records["segment"] == NONE) & (records["cluster"] == NONE)
        nulled: Flags = bare & (records["erased"] | (records["version"] > 0))
        # An opt-out outlives the data of its customer and has no published state of its own.
        gone: Flags = bare & ~is_profiled(records)
        if self.replay:
            # A pending null is published by the sweep that follows a recovery.
            return gone & ~nulled, np.zeros_like(nulled)
        # The state stays if the customer has data from after the erasure.
        records["erased"] &= ~known & ~bare
        records["since"][nulled], records["version"][nulled] = 0, 0
        return gone, nulled

    def _restated(
        self, part: Part, records: Records, scores: Scores | None, progress: Checkpoint, gone: Flags
    ) -> list[SegmentStatus]:
        """Return the statuses of customers whose consent change is not in their published state."""
        rows = reconsented(part, self.batch, records, self.rules)
        version = records["version"][rows]
        stated = (version > 0) & (version < progress.version) & ~gone[rows]
        return restate(rows[stated], part.customers, records, scores)

    def _outputs(
        self,
        part: Part,
        progress: Checkpoint,
        changes: list[Change],
        causes: list[Trigger | None],
        standings: list[SegmentStatus],
        forgotten: list[str],
    ) -> list[Output]:
        messages = Serializer(
            group_id=self.rules.group_id,
            partition=part.owned.partition,
            version=progress.version,
            nonce=progress.nonce,
            generation=progress.generation,
            decided_at_us=self.now_us,
            segments=self.rules.segments,
        )
        rejected = part.polled.rejected if part.polled else []
        names = [*self.rules.segment_ids, "none"]
        self.tally.dead_letters += [bad.rejection.reason.value for bad in rejected]
        self.tally.changes += [(names[c.previous], names[c.segment], c.origin) for c in changes]
        # Profile producers set any timestamp or none; a timestamp of 0 gives no latency sample.
        arrived = [cause.arrived_ms for cause in causes if cause is not None]
        self.tally.arrived_ms += [each for each in arrived if each > 0]
        return [
            *(messages.dead_letter(bad.record, bad.rejection) for bad in rejected),
            *messages.changes(changes, causes, set(forgotten)),
            *messages.states(standings),
            *messages.tombstones(forgotten),
        ]


def _written(part: Part, records: Records, gone: Flags) -> dict[str, bytes]:
    """Return the records that differ from those read."""
    return {
        name: blob
        for name, blob, was, empty in zip(
            part.customers, encode(records), part.blobs, gone.tolist(), strict=True
        )
        if blob != was and not empty
    }
