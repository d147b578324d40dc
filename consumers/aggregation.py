"""Micro-batches of work: their customers, the partitions' clocks, and the updated records."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.clocks import bounded, latest
from livesegments.consumers.decoding import MicroBatch, PartitionBatch
from livesegments.consumers.partition_state import PartitionState
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.aggregate import (
    aggregate_purchases,
    apply_profiles,
    erase,
)
from livesegments.features.erasures import Action, Marker, marker_key
from livesegments.features.record_codec import Records, decode
from livesegments.store.partitions import ReadRequest, ReadResult

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Work:
    """A micro-batch to process, for all partitions that have work.

    Attributes
    ----------
    config, model
        Configuration and model; without a model nothing is assigned.
    batch
        The polled records.
    states, readings
        State of each slice's partition, and the data read from its store.
    now_us
        The wall clock, in microseconds.
    replay
        Aggregate only: the decisions were made before.
    undecided
        A replay of records whose decisions are not known to be published.
    """

    config: ProcessingConfig
    model: Model | None
    batch: MicroBatch
    states: Sequence[PartitionState]
    readings: Sequence[ReadResult]
    now_us: int
    replay: bool = False
    undecided: bool = False

    @property
    def parts(self) -> Iterator[tuple[PartitionState, PartitionBatch, ReadResult]]:
        """State of each partition, its slice of the batch, and the data read."""
        return zip(self.states, self.batch.slices, self.readings, strict=True)


@dataclass(frozen=True, slots=True)
class Customers:
    """The n customers of a micro-batch; their index is their row in all stages.

    The rows of the batch come first. The customers of the sweeps' chunks that have no row there
    follow.

    Attributes
    ----------
    names, stored
        Ids and stored records.
    part
        (n,) index of each one's partition in the parts.
    clock_us, began_us
        (n,) clock of each one's partition after the batch, and before its purchases.
    clocks_us
        Each partition's clock after the batch.
    """

    names: list[str]
    stored: list[bytes | None]
    part: Int
    clock_us: Int
    began_us: Int
    clocks_us: list[int]


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The records of n customers with a micro-batch applied.

    Attributes
    ----------
    records
        (n,) records.
    purchases, profiles, erasures
        Masks, shape (m,) by topic, of events that changed a window, profile or erasure. The others
        were dropped: erased, older than the window, or superseded.
    markers
        Row -> erasure state, for customers with a request in the batch or the store.
    requested
        Rows with a request in the batch, in order.
    consents_changed
        (n,) whether the batch changed the customer's marketing consent.
    older_than_window, erased
        Numbers of dropped events; older than the partition's window on arrival, or the customer's.
    """

    records: Records
    purchases: Flags
    profiles: Flags
    erasures: Flags
    markers: dict[int, Marker]
    requested: Int
    consents_changed: Flags
    older_than_window: int
    erased: int


def read_requests(
    states: Sequence[PartitionState],
    batch: MicroBatch,
    config: ProcessingConfig,
    *,
    advance_sweeps: bool = True,
) -> list[ReadRequest]:
    """Return what to read of each partition: its customers in the batch, and those to sweep."""
    requests = []
    for state, polled in zip(states, batch.slices, strict=True):
        customers = batch.customers[polled.customers]
        has_markers = state.erasures > 0 or polled.erasures.stop > polled.erasures.start
        markers = [marker_key(each, config.group_id) for each in customers] if has_markers else ()
        sweep = state.sweep if advance_sweeps else None
        scan = (sweep.cursor, config.sweep_chunk) if sweep else None
        requests.append(ReadRequest(state.partition, customers, markers, scan))
    return requests


def gather(work: Work) -> Customers:
    """Return the customers of a micro-batch, one row for each, and the partitions' clocks."""
    batch = work.batch
    names, stored, part = batch.customers.copy(), list[bytes | None](), list[int]()
    for i, read in enumerate(work.readings):
        stored += read.records
        part += [i] * len(read.records)
    for i, (_, polled, read) in enumerate(work.parts):
        if read.scanned:
            in_batch = set(batch.customers[polled.customers])
            swept = [name for name in read.scanned if name not in in_batch]
            names += swept
            stored += [read.scanned[name] for name in swept]
            part += [i] * len(swept)
    clocks_us = [_clock(work, *each) for each in work.parts]
    at = np.array(part, np.int64)
    began_us, clock_us = np.array(clocks_us, np.int64).reshape(-1, 2)[at].T
    return Customers(names, stored, at, clock_us, began_us, [after for _, after in clocks_us])


def _clock(
    work: Work, state: PartitionState, polled: PartitionBatch, read: ReadResult
) -> tuple[int, int]:
    """Return a partition's clock before the batch's purchases and after; it never goes back.

    It advances only as far as the clock of the store's server confirms: neither a wrong wall clock
    nor a purchase dated ahead together with its record can move it further.
    """
    wall_us = 0 if work.config.event_clock else bounded(work.now_us, read.time_us)
    began_us = max(state.checkpoint.clock_us, wall_us)
    occurred_at = work.batch.purchases.occurred_at[polled.purchases]
    plausible = occurred_at <= latest(read.time_us)
    return began_us, int(occurred_at[plausible].max(initial=began_us))


def aggregate(work: Work, customers: Customers) -> Aggregated:
    """Apply a micro-batch to the stored records of its customers."""
    batch, config, layout = work.batch, work.config, work.config.layout
    records = decode(customers.stored, config.record_shape)
    consents = records["marketing"].copy()
    markers, requested, effective = _apply_requests(work)
    cutoff_us = np.zeros(len(records), np.int64)
    for row, marker in markers.items():
        cutoff_us[row] = marker.cutoff_us
        # Sweeps do not read the markers, so the record holds the flag too.
        records["suppressed"][row] = marker.suppressed
    cutoff = cutoff_us // layout.tile_us
    if requested.size:
        touched = records[requested]
        erase(touched, cutoff[requested], cutoff_us[requested])
        records[requested] = touched
        records["erased"][batch.erasures_customer[effective]] = True

    purchases, profiles = batch.purchases, batch.profiles
    tiles = purchases.occurred_at // layout.tile_us
    skipped = aggregate_purchases(
        records, batch.purchases_customer, tiles, purchases.count, purchases.cents, cutoff
    )
    erased_profiles, in_force = 0, np.empty(0, np.int64)
    if len(profiles.row):
        in_force, erased_profiles = apply_profiles(
            records, batch.profiles_customer, profiles, cutoff_us
        )
    clock_us = customers.clock_us[batch.purchases_customer]
    in_window = tiles > clock_us // layout.tile_us - layout.tiles
    began_us = customers.began_us[batch.purchases_customer]
    late = skipped.applied & (tiles <= began_us // layout.tile_us - layout.tiles)
    return Aggregated(
        records=records,
        purchases=skipped.applied & in_window,
        profiles=np.isin(np.arange(len(profiles.row)), in_force),
        erasures=effective,
        markers=markers,
        requested=requested,
        consents_changed=records["marketing"] != consents,
        older_than_window=skipped.older_than_window + int(np.count_nonzero(late)),
        erased=skipped.erased + erased_profiles,
    )


def _apply_requests(work: Work) -> tuple[dict[int, Marker], Int, Flags]:
    """Return the erasure state by row, rows with a request, and requests that changed a state."""
    markers = {
        polled.customers.start + row: Marker.from_bytes(data)
        for _, polled, read in work.parts
        for row, data in enumerate(read.erasures)
        if data is not None
    }
    rows, requests = work.batch.erasures_customer.tolist(), work.batch.erasures
    effective = np.zeros(len(rows), np.bool_)
    columns = zip(rows, requests.action.tolist(), requests.requested_at.tolist(), strict=True)
    for i, (row, action, requested_at) in enumerate(columns):
        before = markers.get(row, Marker())
        markers[row] = after = before.after(Action(action), requested_at, work.config.layout)
        effective[i] = (before.cutoff_us, before.suppressed) != (after.cutoff_us, after.suppressed)
    return markers, np.array(sorted(set(rows)), np.int64), effective
