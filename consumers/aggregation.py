"""The first half of a round: who it is about, and the batch folded into their records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.clock import bounded, latest
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.consumers.dedup import DedupWindow
from livesegments.consumers.partition_state import PartitionState, Sweep
from livesegments.consumers.processing_config import BatchStats, ProcessingConfig
from livesegments.features.aggregate import (
    ProfileColumns,
    aggregate_purchases,
    apply_profiles,
    erase,
)
from livesegments.features.erasures import Action, Marker
from livesegments.features.record_codec import Records, decode
from livesegments.store.partitions import ReadResult

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Applied:
    """Which events of a batch changed what their customer's window, profile or erasure says.

    (n,) of the columns of each topic. The others were dropped: erased, older than the window, or
    overtaken.
    """

    purchases: Flags
    profiles: Flags
    erasures: Flags


@dataclass(slots=True)
class Part:
    """A partition's part of a round.

    Attributes
    ----------
    polled
        Its slice of the batch, if it has one.
    reading
        What the store had of its customers.
    customers, blobs
        Ids, those of the batch before those of the sweep, and their stored records.
    start
        Row of its first customer among those of the round.
    clock_us
        Its clock after the batch.
    markers
        Customer, by row in the part, -> what their erasure requests add up to, of those who have
        any in the batch or the store.
    requested
        Rows in the part that a request in the batch is about.
    effective
        (k,) which of its requests changed what its customer's add up to.
    """

    owned: PartitionState
    polled: PartitionBatch | None
    reading: ReadResult
    customers: list[str]
    blobs: list[bytes | None]
    start: int
    clock_us: int
    markers: dict[int, Marker]
    requested: list[int]
    effective: Flags

    @property
    def rows(self) -> slice:
        """Its rows among the round's."""
        return slice(self.start, self.start + len(self.customers))

    @property
    def seen(self) -> DedupWindow | None:
        """The purchases its partition remembers after the round."""
        recall = self.polled.recall if self.polled else None
        return recall.seen if recall else self.owned.seen

    @property
    def sweep(self) -> Sweep | None:
        """Its sweep as it stands after the round, None when none is under way."""
        sweep, cursor = self.owned.sweep, self.reading.cursor
        if sweep is None or cursor is None:
            return sweep
        return replace(sweep, cursor=cursor) if cursor else None


def lay_out(
    work: Sequence[tuple[PartitionState, PartitionBatch | None, ReadResult]],
    batch: MicroBatch,
    rules: ProcessingConfig,
    now_us: int,
) -> list[Part]:
    """Give every customer of a round a row, and find their partition's clock and their requests."""
    parts: list[Part] = []
    start = 0
    for owned, polled, reading in work:
        known = polled.customers if polled else {}
        # Who is in the batch and in the stretch of the sweep as well counts once.
        swept = [name for name in reading.scanned if name not in known]
        markers, requested, effective = _markers(polled, reading, batch, rules)
        part = Part(
            owned=owned,
            polled=polled,
            reading=reading,
            customers=[*known, *swept],
            blobs=[*reading.records, *(reading.scanned[name] for name in swept)],
            start=start,
            clock_us=_clock(owned, polled, reading, batch, rules, now_us),
            markers=markers,
            requested=requested,
            effective=effective,
        )
        parts.append(part)
        start += len(part.customers)
    return parts


def _clock(
    owned: PartitionState,
    polled: PartitionBatch | None,
    reading: ReadResult,
    batch: MicroBatch,
    rules: ProcessingConfig,
    now_us: int,
) -> int:
    """Return where a partition's clock is after the batch: it never goes back.

    So it takes no step that the clock of the store's server does not bear out: neither by a wall
    clock that is wrong nor by a purchase that its producer has dated together with its record.
    """
    wall_us = 0 if rules.event_clock else bounded(now_us, reading.time_us)
    clock_us = max(owned.progress.clock_us, wall_us)
    if polled is None:
        return clock_us
    occurred_at = batch.purchases.occurred_at[polled.purchases]
    plausible = occurred_at <= latest(reading.time_us)
    return int(occurred_at[plausible].max(initial=clock_us))


def _markers(
    polled: PartitionBatch | None, reading: ReadResult, batch: MicroBatch, rules: ProcessingConfig
) -> tuple[dict[int, Marker], list[int], Flags]:
    markers = {
        row: Marker.from_bytes(data)
        for row, data in enumerate(reading.erasures)
        if data is not None
    }
    if polled is None:
        return markers, [], np.zeros(0, np.bool_)
    at, erasures = polled.erasures, batch.erasures
    rows = batch.erasures_customer[at].tolist()
    effective = np.zeros(len(rows), np.bool_)
    requests = zip(
        rows, erasures.action[at].tolist(), erasures.requested_at[at].tolist(), strict=True
    )
    for i, (row, action, requested_at) in enumerate(requests):
        before = markers.get(row, Marker())
        markers[row] = after = before.after(Action(action), requested_at, rules.layout)
        effective[i] = (before.cutoff_us, before.suppressed) != (after.cutoff_us, after.suppressed)
    return markers, sorted(set(rows)), effective


def fold(
    parts: Sequence[Part], batch: MicroBatch, rules: ProcessingConfig, tally: BatchStats
) -> tuple[Records, Applied]:
    """Return the records of all parts with the batch folded in, and which events counted."""
    records = decode([blob for part in parts for blob in part.blobs], rules.layout.tiles)
    cutoff_us = np.zeros(len(records), np.int64)
    for part in parts:
        for row, marker in part.markers.items():
            cutoff_us[part.start + row] = marker.cutoff_us
            # A sweep does not read the markers, so the record says it too.
            records["suppressed"][part.start + row] = marker.suppressed
    cutoff = rules.layout.tile_of(cutoff_us)
    requested = np.array([part.start + row for part in parts for row in part.requested], np.int64)
    if requested.size:
        touched = records[requested]
        erase(touched, cutoff[requested], cutoff_us[requested])
        records[requested] = touched

    purchases, profiles = batch.purchases, batch.profiles
    skipped = aggregate_purchases(
        records,
        _rows(parts, batch.purchases_customer, "purchases"),
        rules.layout.tile_of(purchases.occurred_at),
        purchases.count,
        purchases.cents,
        cutoff,
    )
    counted, erased_profiles = apply_profiles(
        records,
        ProfileColumns(
            customer=_rows(parts, batch.profiles_customer, "profiles"),
            updated_at=profiles.updated_at,
            age=profiles.age,
            income=profiles.income,
            urbanicity=profiles.urbanicity,
            marketing=profiles.marketing,
            profiling=profiles.profiling,
        ),
        cutoff_us,
    )
    tally.purchases = len(purchases.row)
    tally.older_than_window = skipped.older_than_window
    tally.erased = skipped.erased + erased_profiles
    applied = Applied(
        purchases=skipped.applied,
        profiles=np.isin(np.arange(len(profiles.row)), counted),
        erasures=np.zeros(len(batch.erasures.row), np.bool_),
    )
    tiles = rules.layout.tile_of(purchases.occurred_at)
    for part in parts:
        if part.polled is not None:
            first = rules.layout.tile(part.clock_us) - rules.layout.tiles + 1
            applied.purchases[part.polled.purchases] &= tiles[part.polled.purchases] >= first
            applied.erasures[part.polled.erasures] = part.effective
    return records, applied


def reconsented(part: Part, batch: MicroBatch, records: Records, rules: ProcessingConfig) -> Int:
    """Return the rows of a part's records whose consent to marketing the batch has changed."""
    if part.polled is None:
        return np.empty(0, np.int64)
    profiled = batch.profiles_customer[part.polled.profiles]
    rows: Int = np.unique(np.append(profiled, np.array(part.requested, np.int64)))
    before = decode([part.blobs[row] for row in rows.tolist()], rules.layout.tiles)
    changed = records["marketing"][rows] != before["marketing"]
    return rows[np.flatnonzero(changed)]


def _rows(parts: Sequence[Part], customer: Int, topic: str) -> Int:
    """Return rows among the round's customers for rows among each slice's."""
    rows = customer.copy()
    for part in parts:
        if part.polled is not None:
            rows[getattr(part.polled, topic)] += part.start
    return rows
