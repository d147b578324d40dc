"""Fold purchases, profiles and erasures into records, a whole batch at a time.

Every fold is commutative: the order of events, and how they are cut into batches, does not change
the records. That holds because a slot is found from the event's own tile, a profile is kept by its
own ``updated_at``, and an erasure is a cutoff in event time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.record import NEVER, Records, is_profiled

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Skipped:
    """How many events were counted here and not applied; ``applied`` (n,) says which were."""

    older_than_window: int
    erased: int
    applied: Flags


def advance(records: Records, head: Int) -> None:
    """Move each record's newest tile forward to ``head`` (n,), emptying the slots it passes."""
    tiles = records["counts"].shape[1]
    old = records["head"]
    head = np.maximum(old, head)
    moved = np.flatnonzero(head > old)
    if not moved.size:
        return
    ends = head[moved, None]
    tile_in_slot = ends - (ends - np.arange(tiles)) % tiles
    passed = tile_in_slot > old[moved, None]
    for name in ("counts", "cents"):
        records[name][moved] = np.where(passed, 0, records[name][moved])
    records["head"] = head


def fold_purchases(
    records: Records, customer: Int, tile: Int, count: Int, cents: Int, cutoff: Int
) -> Skipped:
    """Add purchases and refunds to the records, in place.

    Parameters
    ----------
    records
        (m,) records, one a customer.
    customer
        (n,) row in ``records`` of each event.
    tile
        (n,) tile of each event's time.
    count
        (n,) 1 for a purchase, 0 for a refund.
    cents
        (n,) amount in cents, negative for a refund.
    cutoff
        (m,) first tile of each customer that an erasure leaves alone.
    """
    tiles = records["counts"].shape[1]
    kept = np.asarray(tile >= cutoff[customer], np.bool_)
    erased = int(len(tile) - np.count_nonzero(kept))
    if erased:
        customer, tile, count, cents = customer[kept], tile[kept], count[kept], cents[kept]
    head = np.zeros(len(records), np.int64)
    np.maximum.at(head, customer, tile)
    advance(records, head)
    inside = tile > records["head"][customer] - tiles
    old = int(len(tile) - np.count_nonzero(inside))
    if old:
        customer, tile, count, cents = customer[inside], tile[inside], count[inside], cents[inside]
        kept[kept] = inside
    slot = tile % tiles
    np.add.at(records["counts"], (customer, slot), count)
    np.add.at(records["cents"], (customer, slot), cents)
    return Skipped(older_than_window=old, erased=erased, applied=kept)


@dataclass(frozen=True, slots=True)
class ProfileColumns:
    """Profiles as columns: NaN or -1 where a field is unknown; a deleted one knows nothing."""

    customer: Int
    updated_at: Int
    age: NDArray[np.float64]
    income: NDArray[np.float64]
    urbanicity: NDArray[np.float64]
    marketing: NDArray[np.int8]
    profiling: NDArray[np.int8]


def fold_profiles(records: Records, profiles: ProfileColumns, cutoff_us: Int) -> Int:
    """Keep each customer's newest profile, in place; return the columns of those that were kept.

    The newest is the one with the highest ``updated_at``; of equals, the last in the log. A
    profile from before ``cutoff_us`` (m,) is erased and counts as skipped.
    """
    n = len(profiles.customer)
    order = np.lexsort((np.arange(n), profiles.updated_at, profiles.customer))
    ordered = profiles.customer[order]
    last = order[np.append(ordered[1:] != ordered[:-1], True)] if n else order
    customer, updated = profiles.customer[last], profiles.updated_at[last]
    newer = (updated >= records["profile_updated"][customer]) & (updated >= cutoff_us[customer])
    last, customer = last[newer], customer[newer]
    records["profile_updated"][customer] = profiles.updated_at[last]
    for name in ("age", "income", "urbanicity", "marketing", "profiling"):
        records[name][customer] = getattr(profiles, name)[last]
    return last


def expire(records: Records, before: int, before_us: int) -> None:
    """Empty what is only of before a tile, in place: the retention of those who stay away.

    Purchases go when the newest tile of the customer is before ``before``, and the time of a
    deleted profile when it is before ``before_us``. A profile that says anything stays: its topic
    says how long.
    """
    away = records["head"] < before
    deleted = (records["profile_updated"] < before_us) & ~is_profiled(records)
    for name in ("counts", "cents", "head"):
        records[name][away] = 0
    records["profile_updated"][deleted] = NEVER


def erase(records: Records, cutoff: Int, cutoff_us: Int) -> None:
    """Empty what lies before each record's cutoff (m,), in place.

    ``cutoff`` is the first tile that stays and ``cutoff_us`` its first microsecond; 0 keeps all.
    """
    tiles = records["counts"].shape[1]
    ends = records["head"][:, None]
    tile_in_slot = ends - (ends - np.arange(tiles)) % tiles
    gone = tile_in_slot < cutoff[:, None]
    for name in ("counts", "cents"):
        records[name] = np.where(gone, 0, records[name])
    # A head left by an erased event would tell of it, and make the bytes depend on its arrival.
    records["head"] = np.where(records["head"] < cutoff, 0, records["head"])
    forgotten = (records["profile_updated"] != NEVER) & (records["profile_updated"] < cutoff_us)
    records["profile_updated"][forgotten] = NEVER
    for name in ("age", "income", "urbanicity"):
        records[name][forgotten] = np.nan
    for name in ("marketing", "profiling"):
        records[name][forgotten] = -1
    records["erased"] = True
