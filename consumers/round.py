"""One round, up to the commit: fold a batch, score its customers, say what to write and publish.

No I/O and no clock here: what was read and the time are arguments, and the result is a commit for
each partition with what its owner knows once the commit is accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from consumers.batch import Batch, Slice
from consumers.causes import Causes
from consumers.changes import changed_rows, explain, recount
from consumers.owned import Owned, Sweep
from consumers.rules import Decision, Model, Rules, Tally
from consumers.scoring import NONE, Scores, score
from contracts.topics import ERASURES, PROFILES, PURCHASES
from features.erasures import Action, Marker, marker_key
from features.fold import ProfileColumns, Skipped, erase, fold_profiles, fold_purchases
from features.record import NEVER, Records, decode, encode
from producers.messages import Messages
from store.outbox import Output
from store.partitions import Commit, Reading
from store.progress import Progress

Int = NDArray[np.int64]


@dataclass(slots=True)
class _Part:
    """A partition's part of the round: rows start..stop of the round's customers."""

    owned: Owned
    part: Slice | None
    reading: Reading
    customers: list[str]
    blobs: list[bytes | None]
    polled: int
    start: int
    clock_us: int = 0
    erased: set[int] = field(default_factory=set)
    """Rows, counted from ``start``, that an erasure of this round is about."""

    @property
    def rows(self) -> slice:
        """Its rows among the round's."""
        return slice(self.start, self.start + len(self.customers))


class Round:
    """A round over all partitions that have something to do.

    Parameters
    ----------
    rules, model
        How to decide; without a model nothing is assigned.
    batch
        What was polled.
    work
        Each partition with its slice of the batch, if any, and what was read of it.
    now_us
        The wall clock, in microseconds.
    replay
        Only fold: what there was to decide has been decided before.
    """

    def __init__(
        self,
        rules: Rules,
        model: Model | None,
        batch: Batch,
        work: Sequence[tuple[Owned, Slice | None, Reading]],
        now_us: int,
        *,
        replay: bool = False,
    ) -> None:
        self.rules, self.model, self.batch, self.now_us = rules, model, batch, now_us
        self.replay = replay
        self.tally = Tally()
        self.parts: list[_Part] = []
        start = 0
        for owned, part, reading in work:
            polled = list(part.customers) if part else []
            known = part.customers if part else {}
            swept = [name for name in reading.scanned if name not in known]
            self.parts.append(
                _Part(
                    owned=owned,
                    part=part,
                    reading=reading,
                    customers=polled + swept,
                    blobs=reading.records + [reading.scanned[name] for name in swept],
                    polled=len(polled),
                    start=start,
                )
            )
            start += len(polled) + len(swept)
        self.size = start

    def decide(self) -> list[Decision]:
        """Return what to commit: nothing for a partition where nothing changed."""
        records = decode([blob for part in self.parts for blob in part.blobs], self.rules.layout.tiles)
        markers = self._markers()
        self._fold(records, markers)
        scores = self._score(records, markers) if self.model else None
        decisions = [self._decide(part, records, markers, scores) for part in self.parts]
        return [decision for decision in decisions if decision is not None]

    # -- fold

    def _markers(self) -> list[Marker]:
        markers: list[Marker] = []
        for part in self.parts:
            stored = part.reading.erasures
            markers += [Marker.from_bytes(data) for data in stored]
            markers += [Marker()] * (len(part.customers) - len(stored))
            if part.part is None:
                continue
            at = part.part.erasures
            erasures = self.batch.erasures
            for row, action, requested_at in zip(
                self.batch.erasures_customer[at].tolist(),
                erasures.action[at].tolist(),
                erasures.requested_at[at].tolist(),
                strict=True,
            ):
                marker = markers[part.start + row]
                markers[part.start + row] = marker.after(
                    Action(action), requested_at, self.rules.layout
                )
                part.erased.add(row)
        return markers

    def _fold(self, records: Records, markers: list[Marker]) -> None:
        batch, layout = self.batch, self.rules.layout
        cutoff_us = np.fromiter((m.cutoff_us for m in markers), np.int64, self.size)
        cutoff = layout.tile_of(cutoff_us)
        erased = np.array(
            [part.start + row for part in self.parts for row in sorted(part.erased)], np.int64
        )
        if erased.size:
            touched = records[erased]
            erase(touched, cutoff[erased], cutoff_us[erased])
            records[erased] = touched

        purchases = batch.purchases
        skipped: Skipped = fold_purchases(
            records,
            self._rows(batch.purchases_customer, "purchases"),
            layout.tile_of(purchases.occurred_at),
            purchases.count,
            purchases.cents,
            cutoff,
        )
        profiles = batch.profiles
        stale = fold_profiles(
            records,
            ProfileColumns(
                customer=self._rows(batch.profiles_customer, "profiles"),
                updated_at=profiles.updated_at,
                age=profiles.age,
                income=profiles.income,
                urbanicity=profiles.urbanicity,
                marketing=profiles.marketing,
                profiling=profiles.profiling,
            ),
            cutoff_us,
        )
        self.tally.purchases = len(purchases.row)
        self.tally.older_than_window = skipped.older_than_window
        self.tally.erased = skipped.erased
        self.tally.stale_profiles = stale
        for part in self.parts:
            part.clock_us = self._clock(part)

    def _rows(self, customer: Int, topic: str) -> Int:
        """Return rows among the round's customers for rows among each slice's."""
        rows = customer.copy()
        for part in self.parts:
            if part.part is not None:
                rows[getattr(part.part, topic)] += part.start
        return rows

    def _clock(self, part: _Part) -> int:
        clock = part.owned.progress.clock_us
        if not self.rules.event_clock:
            clock = max(clock, self.now_us)
        if part.part is not None and part.part.purchases.stop > part.part.purchases.start:
            clock = max(clock, int(self.batch.purchases.occurred_at[part.part.purchases].max()))
        return clock

    # -- score

    def _score(self, records: Records, markers: list[Marker]) -> Scores:
        assert self.model is not None
        return score(
            records,
            self._per_row([self.rules.layout.tile(part.clock_us) for part in self.parts]),
            self._per_row([part.clock_us for part in self.parts]),
            np.fromiter((m.suppressed for m in markers), np.bool_, self.size),
            self.model.view,
            self.model.segment_of_cluster,
            self.rules.switching,
        )

    def _per_row(self, values: list[int]) -> Int:
        return np.repeat(
            np.array(values, np.int64), [len(part.customers) for part in self.parts]
        )

    # -- decide

    def _decide(
        self, part: _Part, records: Records, markers: list[Marker], scores: Scores | None
    ) -> Decision | None:
        owned = part.owned
        own = records[part.rows]
        progress = self._progress(part)
        statistics = owned.statistics
        messages = Messages(
            group_id=self.rules.group_id,
            partition=owned.partition,
            version=progress.version,
            nonce=progress.nonce,
            generation=progress.generation,
            decided_at_us=self.now_us,
            segments=self.rules.segments,
        )
        outputs = self._dead_letters(part, messages)
        if scores is not None and self.model is not None:
            mine = scores.of(part.rows)
            outputs += self._publish(part, own, mine, messages, progress)
            statistics = recount(statistics, own, mine, self.model.generation.number)
        gone = _nothing_left(own)
        if self.replay:
            # The null that an erasure publishes is left to the sweep that follows a recovery.
            gone &= ~own["erased"]
        outputs += [
            messages.tombstone(part.customers[row])
            for row in np.flatnonzero(gone & own["erased"]).tolist()
        ]
        sweep = _after(part)
        commit = Commit(
            partition=owned.partition,
            expected=owned.progress,
            progress=progress,
            records=_written(part, own, gone),
            gone=[
                name
                for name, empty, blob in zip(part.customers, gone.tolist(), part.blobs, strict=True)
                if empty and blob is not None
            ],
            statistics={
                number: counted.to_bytes()
                for number, counted in statistics.items()
                if owned.statistics.get(number) is not counted
            },
            statistics_gone=[number for number in owned.statistics if number not in statistics],
            outputs=outputs,
            published=owned.trimmable,
            erasures={
                marker_key(part.customers[row], self.rules.group_id): markers[
                    part.start + row
                ].to_bytes()
                for row in sorted(part.erased)
            },
        )
        swept = owned.sweep is not None and sweep is None
        if part.part is None and not (commit.records or commit.gone or outputs or swept):
            # A stretch of a sweep in which nobody's score changed: nothing to write.
            return Decision(None, replace(owned, sweep=sweep)) if sweep else None
        return Decision(
            commit,
            replace(
                owned.committed(progress, outputs),
                statistics=statistics,
                erasures=owned.erasures + len(commit.erasures),
                sweep=sweep,
            ),
        )

    def _progress(self, part: _Part) -> Progress:
        progress = part.owned.progress
        after = part.part.next_offsets if part.part else {}
        done = part.owned.sweep if _after(part) is None else None
        return replace(
            progress,
            version=progress.version + 1,
            purchases=after.get(PURCHASES, progress.purchases),
            profiles=after.get(PROFILES, progress.profiles),
            erasures=after.get(ERASURES, progress.erasures),
            clock_us=part.clock_us,
            generation=self.model.generation.number if self.model else progress.generation,
            swept_generation=done.generation if done else progress.swept_generation,
            swept_tile=done.tile if done else progress.swept_tile,
            rescore=0 if done else progress.rescore,
        )

    def _dead_letters(self, part: _Part, messages: Messages) -> list[Output]:
        rejected = part.part.rejected if part.part else []
        self.tally.dead_letters += [bad.rejection.reason.value for bad in rejected]
        return [messages.dead_letter(bad.record, bad.rejection) for bad in rejected]

    def _publish(
        self, part: _Part, own: Records, scores: Scores, messages: Messages, progress: Progress
    ) -> list[Output]:
        """Return the changes of a partition, and bring its records' published fields up to date."""
        assert self.model is not None
        rows = changed_rows(own, scores)
        self.tally.held_by_margin += int(np.count_nonzero(scores.held_by_margin))
        self.tally.held_by_dwell += int(np.count_nonzero(scores.held_by_dwell))
        if not rows.size:
            return []
        causes = self._causes(part, own)
        changes = explain(
            rows, part.customers, own, scores, causes, self.model.view, self.model.segment_of_cluster
        )
        own["segment"][rows] = scores.segment[rows]
        own["since"][rows] = [change.since_us for change in changes]
        own["version"][rows] = progress.version
        names = [*self.rules.segment_ids, "none"]
        self.tally.changes += [(names[c.previous], names[c.segment], c.origin) for c in changes]
        made_by = [causes.cause(change.row) for change in changes]
        self.tally.arrived_ms += [cause.arrived_ms for cause in made_by if cause is not None]
        return messages.changes(changes, made_by)

    def _causes(self, part: _Part, own: Records) -> Causes:
        assert self.model is not None
        quiet = "recovery" if part.owned.progress.rescore else "expiry"
        swept = np.where(own["generation"] != self.model.generation.number, "model", quiet)
        return Causes.of(self.batch, part.part, swept.tolist(), part.clock_us)


def _after(part: _Part) -> Sweep | None:
    """Return the sweep as it stands after this round, None when none is under way."""
    sweep, cursor = part.owned.sweep, part.reading.cursor
    return replace(sweep, cursor=cursor) if sweep and cursor else None


def _nothing_left(records: Records) -> NDArray[np.bool_]:
    """Return which records hold neither an event, a profile nor a published segment."""
    return (
        ~records["counts"].any(axis=1)
        & ~records["cents"].any(axis=1)
        & (records["profile_updated"] == NEVER)
        & (records["segment"] == NONE)
    )


def _written(part: _Part, records: Records, gone: NDArray[np.bool_]) -> dict[str, bytes]:
    """Return the records that differ from what was read."""
    return {
        name: blob
        for name, blob, was, empty in zip(
            part.customers, encode(records), part.blobs, gone.tolist(), strict=True
        )
        if blob != was and not empty
    }
