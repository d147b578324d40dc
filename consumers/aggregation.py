"""Aggregation of a micro-batch: customer rows, partition clocks and updates of the records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.clocks import bounded, latest
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.domain import BatchStats, PartitionState, ProcessingConfig, Sweep
from livesegments.features.aggregate import (
    ProfileColumns,
    aggregate_purchases,
    apply_profiles,
    erase,
)
from livesegments.features.dedup import DedupWindow
from livesegments.features.erasures import Action, Marker, marker_key
from livesegments.features.record_codec import Records, decode
from livesegments.store.partitions import ReadRequest, ReadResult

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Applied:
    """Masks, shape (n,) by topic, of events that changed a window, profile or erasure.

    The others were dropped: erased, older than the window, or superseded.
    """

    purchases: Flags
    profiles: Flags
    erasures: Flags


@dataclass(slots=True)
class Part:
    """A partition's part of a micro-batch.

    Attributes
    ----------
    polled
        Its slice of the batch, if any.
    reading
        The data read from the store.
    customers, blobs
        Ids, those of the batch before those of the sweep, and their stored records.
    start
        Row of its first customer in the micro-batch.
    clock_us
        Its clock after the batch.
    markers
        Row in the part -> erasure state, for customers with a request in the batch or the store.
    requested
        Rows in the part with a request in the batch.
    effective
        (k,) mask of its requests that changed their customer's erasure state.
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
        """Its rows in the micro-batch."""
        return slice(self.start, self.start + len(self.customers))

    @property
    def seen(self) -> DedupWindow | None:
        """The partition's dedup window after the micro-batch."""
        recall = self.polled.recall if self.polled else None
        return recall.seen if recall else self.owned.seen

    @property
    def sweep(self) -> Sweep | None:
        """The sweep in progress after the micro-batch, if any."""
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
    """Assign a row to each customer; determine partition clocks and erasure requests."""
    parts: list[Part] = []
    start = 0
    for owned, polled, reading in work:
        known = polled.customers if polled else {}
        # Customers both in the batch and in the chunk of the sweep get one row.
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
    """Return the partition's clock after the batch, which never goes back.

    It advances only as far as the clock of the store's server confirms: neither a wrong wall clock
    nor a purchase dated ahead together with its record can move it further.
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
    """Return the records of all parts with the batch applied, and masks of the applied events."""
    records = decode([blob for part in parts for blob in part.blobs], rules.layout.tiles)
    cutoff_us = np.zeros(len(records), np.int64)
    for part in parts:
        for row, marker in part.markers.items():
            cutoff_us[part.start + row] = marker.cutoff_us
            # Sweeps do not read the markers, so the record holds the flag too.
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
    """Return the rows of a part whose marketing consent was changed by the batch."""
    if part.polled is None:
        return np.empty(0, np.int64)
    profiled = batch.profiles_customer[part.polled.profiles]
    rows: Int = np.unique(np.append(profiled, np.array(part.requested, np.int64)))
    before = decode([part.blobs[row] for row in rows.tolist()], rules.layout.tiles)
    changed = records["marketing"][rows] != before["marketing"]
    return rows[np.flatnonzero(changed)]


def _rows(parts: Sequence[Part], customer: Int, topic: str) -> Int:
    """Convert rows among each slice's customers to rows in the micro-batch."""
    rows = customer.copy()
    for part in parts:
        if part.polled is not None:
            rows[getattr(part.polled, topic)] += part.start
    return rows


def want(
    owned: PartitionState,
    part: PartitionBatch | None,
    rules: ProcessingConfig,
    *,
    walk: bool = True,
) -> ReadRequest:
    """Return the read request of a partition; ``walk`` allows its sweep to advance."""
    customers = list(part.customers) if part else []
    remembered = owned.erasures > 0 or bool(part and part.erasures.stop > part.erasures.start)
    return ReadRequest(
        partition=owned.partition,
        customers=customers,
        erasures=[marker_key(name, rules.group_id) for name in customers] if remembered else (),
        scan=(owned.sweep.cursor, rules.sweep_chunk) if owned.sweep and walk else None,
    )
