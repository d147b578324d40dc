"""Micro-batch processing up to the commit, in stages: values in, new values out.

    gather      the customers of the batch and of the sweeps, one row each   aggregation.py
    aggregate   their records with the batch applied                        aggregation.py
    score       nearest clusters and segments to publish                    scoring.py
    decide      segment changes, deletions and records to store             `decide`
    build       the commits: writes, outputs and next states                `build_commits`

No I/O and no clock: the data read and the time are arguments.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Aggregated, Customers, Work, aggregate, gather
from livesegments.consumers.change_reasons import update_places
from livesegments.consumers.decoding import PartitionBatch
from livesegments.consumers.drift_monitor import watch
from livesegments.consumers.partition_state import PartitionResult, PartitionState, Sweep
from livesegments.consumers.scoring import NONE, Scores, moved_rows, relearn, score
from livesegments.consumers.transitions import changes_of, restate
from livesegments.contracts.topics import INPUTS
from livesegments.domain import BatchStats, Change, Model, SegmentStatus, Trigger
from livesegments.features.aggregate import expire
from livesegments.features.erasures import marker_key
from livesegments.features.record_codec import Records, encode, is_known, is_profiled
from livesegments.producers.serializers import Serializer
from livesegments.store.checkpoint import AFTER_ERASURE, Checkpoint, Offsets
from livesegments.store.outbox import Entry, Output
from livesegments.store.partitions import Commit

Flags = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decisions:
    """Effects of a micro-batch on n customers in p partitions.

    Attributes
    ----------
    records
        (n,) records to store.
    gone
        (n,) mask of customers without data, to delete.
    moved
        (p,) rows of each partition whose cluster, vector or generation changes.
    changes
        (p,) segment changes, with the events that triggered them.
    restated
        (p,) statuses of customers whose consent change is not in their published state.
    forgotten
        (p,) ids of customers whose published state becomes null.
    again
        (p,) whether one of them has data from after an erasure, which a sweep has to score.
    """

    records: Records
    gone: Flags
    moved: list[NDArray[np.intp]]
    changes: list[list[tuple[Change, Trigger | None]]]
    restated: list[list[SegmentStatus]]
    forgotten: list[list[str]]
    again: Flags


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of each partition that has one, and the counters of the micro-batch."""

    partitions: list[PartitionResult]
    stats: BatchStats


def process(work: Work) -> BatchResult:
    """Process a micro-batch.

    The partitions' previous states are not modified and stay valid if a commit is refused.
    """
    customers = gather(work)
    aggregated = aggregate(work, customers)
    scores = None
    if work.model is not None:
        clock_us = customers.clock_us
        clock_tile = clock_us // work.config.layout.tile_us
        scores = score(aggregated.records, clock_tile, clock_us, work.model, work.config)
    decisions = decide(work, customers, aggregated, scores)
    results = build_commits(work, customers, aggregated, scores, decisions)
    return BatchResult(results, _stats(work, aggregated, scores, decisions))


def decide(
    work: Work, customers: Customers, aggregated: Aggregated, scores: Scores | None
) -> Decisions:
    """Decide which segments change and which customers are forgotten."""
    config = work.config
    before, after = aggregated.records, aggregated.records.copy()
    part, p = customers.part, len(work.states)
    version = np.array([state.checkpoint.version + 1 for state in work.states], np.int64)[part]
    changes: list[list[tuple[Change, Trigger | None]]] = [[] for _ in work.states]
    moved = [np.empty(0, np.intp) for _ in work.states]
    if scores is not None:
        rows = np.flatnonzero(before["segment"] != scores.segment)
        if rows.size:
            found = changes_of(rows, work, customers, aggregated, scores)
            changes = _by_part(found, part[rows], p)
            after["segment"][rows] = scores.segment[rows]
            after["since"][rows] = [change.since_us for change, _ in found]
            after["version"][rows] = version[rows]
        update_places(after, rows, scores)
        all_moved = moved_rows(before, scores)
        moved = [all_moved[part[all_moved] == i] for i in range(p)]
        after["cluster"], after["generation"] = scores.cluster, scores.model.generation.number
        after["vector"] = np.where(scores.counted[:, None], scores.fixed, 0)
    if config.retention_tiles is not None:
        clock_tile = customers.clock_us // config.layout.tile_us
        expire(after, clock_tile - config.retention_tiles + 1)
    known = is_known(after)
    bare = ~known & (after["segment"] == NONE) & (after["cluster"] == NONE)
    nulled = bare & (after["erased"] | (after["version"] > 0))
    if scores is not None:
        nulled |= scores.outdated
    # An opt-out outlives the data of its customer and has no published state of its own.
    gone = bare & ~is_profiled(after)
    if work.replay:
        # A pending null is published by the sweep that follows a recovery. That of a customer with
        # data since was published before, as the decisions were.
        after["erased"] &= ~known | work.undecided
        nothing: list[list[Any]] = [[] for _ in work.states]
        none = np.zeros(p, np.bool_)
        return Decisions(after, gone & ~nulled, moved, changes, nothing, nothing, none)
    # With data since, the flag stays until the customer is back: a recovery that has lost the null
    # publishes it again.
    after["erased"] &= ~bare & (~known | (before["version"] > 0))
    after["since"][nulled], after["version"][nulled] = 0, 0
    stated = (after["version"] > 0) & (after["version"] < version) & ~gone
    restated = np.flatnonzero(aggregated.consents_changed & stated)
    forgotten = np.flatnonzero(nulled)
    statuses = restate(restated, customers.names, after, scores) if restated.size else []
    names = [customers.names[row] for row in forgotten.tolist()]
    return Decisions(
        records=after,
        gone=gone,
        moved=moved,
        changes=changes,
        restated=_by_part(statuses, part[restated], p),
        forgotten=_by_part(names, part[forgotten], p),
        again=np.isin(np.arange(p), part[nulled & known]),
    )


def build_commits(
    work: Work,
    customers: Customers,
    aggregated: Aggregated,
    scores: Scores | None,
    decisions: Decisions,
) -> list[PartitionResult]:
    """Return the commit and the next state of each partition, none if nothing has changed."""
    written: list[dict[str, bytes]] = [{} for _ in work.states]
    removed: list[list[str]] = [[] for _ in work.states]
    for name, i, record, stored, gone in zip(
        customers.names,
        customers.part.tolist(),
        encode(decisions.records),
        customers.stored,
        decisions.gone.tolist(),
        strict=True,
    ):
        if gone and stored is not None:
            removed[i].append(name)
        elif not gone and record != stored:
            written[i][name] = record
    markers: list[dict[bytes, bytes]] = [{} for _ in work.states]
    for row in aggregated.requested.tolist():
        key = marker_key(customers.names[row], work.config.group_id)
        markers[customers.part[row]][key] = aggregated.markers[row].to_bytes()
    results = []
    for i, (state, polled, read) in enumerate(work.parts):
        sweep = state.sweep.after(read.cursor) if state.sweep else None
        ended = state.sweep if sweep is None else None
        again = bool(decisions.again[i]) or (state.sweep is not None and state.sweep.again)
        if sweep:
            sweep = replace(sweep, again=again)
        recall, clock_us = polled.recall, customers.clocks_us[i]
        checkpoint = _checkpoint_after(state, polled, clock_us, work.model, ended, again)
        outputs = _outputs(work, i, checkpoint, decisions)
        # In a replay, some of the dead letters after it are already published: all go in one
        # transaction.
        offsets_of_entry = None if work.replay else checkpoint.offsets
        entry = Entry.of(checkpoint.version, offsets_of_entry, outputs) if outputs else None
        if not (polled.next_offsets or written[i] or removed[i] or entry or ended):
            # No score changed in this chunk of the sweep: nothing to write.
            if sweep:
                results.append(PartitionResult(None, replace(state, sweep=sweep)))
            continue
        estimators = state.estimators
        if scores is not None:
            estimators = relearn(estimators, decisions.moved[i], aggregated.records, scores)
        next_state = replace(
            state.committed(checkpoint, entry),
            estimators=estimators,
            erasures=state.erasures + len(markers[i]),
            sweep=sweep,
            seen=recall.seen if recall else state.seen,
        )
        writes = Commit(
            partition=state.partition,
            expected=state.checkpoint,
            checkpoint=checkpoint,
            records=written[i],
            gone=removed[i],
            statistics={
                number: learned.statistics.to_bytes()
                for number, learned in estimators.items()
                if state.estimators.get(number) is not learned
            },
            statistics_gone=[number for number in state.estimators if number not in estimators],
            entry=entry,
            trimmed=state.trimmable,
            erasures=markers[i],
            ring=recall.ring if recall else (),
        )
        results.append(PartitionResult(writes, next_state))
    return results


def _checkpoint_after(
    state: PartitionState,
    polled: PartitionBatch,
    clock_us: int,
    model: Model | None,
    ended: Sweep | None,
    again: bool,
) -> Checkpoint:
    """Return the checkpoint of the next commit.

    ``ended`` is the sweep that it completes; ``again`` tells whether one more is due.
    """
    before, recall = state.checkpoint, polled.recall
    rescore = 0 if ended else before.rescore
    offsets = Offsets(*map(polled.next_offsets.get, INPUTS, before.offsets))
    return replace(
        before,
        version=before.version + 1,
        **offsets._asdict(),
        remembered=recall.seen.count if recall else before.remembered,
        clock_us=clock_us,
        generation=model.generation.number if model else before.generation,
        swept_generation=ended.generation if ended else before.swept_generation,
        swept_tile=ended.tile if ended else before.swept_tile,
        rescore=rescore or AFTER_ERASURE * again,
    )


def _outputs(work: Work, i: int, checkpoint: Checkpoint, decisions: Decisions) -> list[Output]:
    """Return the outputs of a partition: dead letters, changes, states and tombstones."""
    polled, forgotten = work.batch.slices[i], decisions.forgotten[i]
    if not (polled.rejected or decisions.changes[i] or decisions.restated[i] or forgotten):
        return []
    serializer = Serializer(work.config, polled.partition, checkpoint, work.now_us)
    outputs = [serializer.dead_letter(bad.record, bad.rejection) for bad in polled.rejected]
    if decisions.changes[i]:
        outputs += serializer.changes(decisions.changes[i], set(forgotten))
    if decisions.restated[i]:
        outputs += serializer.states(decisions.restated[i])
    if forgotten:
        outputs += serializer.tombstones(forgotten)
    return outputs


def _stats(
    work: Work, aggregated: Aggregated, scores: Scores | None, decisions: Decisions
) -> BatchStats:
    names = [*work.config.segment_ids, "none"]
    changes = [pair for each in decisions.changes for pair in each]
    slices, watched = work.batch.slices, []
    if scores is not None:
        watched = [watch(each.customers, aggregated.records, scores) for each in slices]
    return BatchStats(
        purchases=len(work.batch.purchases.row),
        older_than_window=aggregated.older_than_window,
        erased=aggregated.erased,
        held_by_margin=int(np.count_nonzero(scores.held_by_margin)) if scores else 0,
        held_by_dwell=int(np.count_nonzero(scores.held_by_dwell)) if scores else 0,
        dead_letters=[bad.rejection.reason.value for each in slices for bad in each.rejected],
        changes=[(names[each.previous], names[each.segment], each.origin) for each, _ in changes],
        # Profile producers set any timestamp or none; a timestamp of 0 gives no latency sample.
        arrived_ms=[t.arrived_ms for _, t in changes if t is not None and t.arrived_ms > 0],
        watched=watched,
    )


def _by_part(items: Iterable[T], part: NDArray[np.int64], p: int) -> list[list[T]]:
    """Return the items of each of p partitions, in order; ``part`` is each item's partition."""
    grouped: list[list[T]] = [[] for _ in range(p)]
    for item, i in zip(items, part.tolist(), strict=True):
        grouped[i].append(item)
    return grouped
