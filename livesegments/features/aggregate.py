"""Fold purchases, profiles and erasures into records, a whole batch at a time.

How batches are cut, and how the three topics interleave, does not change the records. Purchases
and erasures may come in any order: a slot is found from the event's own tile, and an erasure is a
cutoff in event time.

What is kept of a customer's profile depends on two things alone: the last record of their key in
the log of profiles, and the cutoff of their erasures.

- The last record replaces all before it, whatever ``updated_at`` says. So compaction, which keeps
  the last record of a key, changes nothing.
- A null, and a profile that says nothing, leave what no profile leaves. So a null may be compacted
  away.
- A profile with an ``updated_at`` before the cutoff loses age, income, location and consents that
  were given, whether profile or request comes first. A refusal (``marketing`` or ``profiling``
  false) holds until a later record says otherwise: no erasure, suppression or restore ends it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.features.record_codec import NEVER, Records, is_profiled

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


def aggregate_purchases(
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
    """Profiles as columns: NaN or -1 where a field is unknown; a null knows nothing."""

    customer: Int
    updated_at: Int
    age: NDArray[np.float64]
    income: NDArray[np.float64]
    urbanicity: NDArray[np.float64]
    marketing: NDArray[np.int8]
    profiling: NDArray[np.int8]


def apply_profiles(records: Records, profiles: ProfileColumns, cutoff_us: Int) -> tuple[Int, int]:
    """Replace profiles by each customer's last one, in place.

    Parameters
    ----------
    records
        (m,) records, one a customer.
    profiles
        (n,) profiles in the order of the log.
    cutoff_us
        (m,) first microsecond of each customer that an erasure leaves alone.

    Returns
    -------
    The columns of the profiles that are each customer's last, and how many of them an erasure
    reaches.
    """
    last = np.full(len(records), -1)
    # Of repeated rows NumPy keeps the last assignment, which is the last profile.
    last[profiles.customer] = np.arange(len(profiles.customer))
    customer = np.flatnonzero(last >= 0)
    last = last[customer]
    replaced = records[customer]
    replaced["profile_updated"] = profiles.updated_at[last]
    for name in ("age", "income", "urbanicity", "marketing", "profiling"):
        replaced[name] = getattr(profiles, name)[last]
    replaced["profile_updated"][~is_profiled(replaced)] = NEVER
    erased = _erase_profiles(replaced, cutoff_us[customer])
    records[customer] = replaced
    return last, erased


def _erase_profiles(records: Records, cutoff_us: Int) -> int:
    """Leave refusals alone of profiles from before a cutoff (m,); return how many those are."""
    reached = (records["profile_updated"] != NEVER) & (records["profile_updated"] < cutoff_us)
    for name in ("age", "income", "urbanicity"):
        records[name][reached] = np.nan
    for name in ("marketing", "profiling"):
        records[name][reached & (records[name] > 0)] = -1
    records["profile_updated"][reached] = NEVER
    return int(np.count_nonzero(reached))


def expire(records: Records, before: int) -> None:
    """Empty purchases of customers who bought nothing since a tile, in place: the retention.

    A profile stays: its topic says how long.
    """
    away = records["head"] < before
    for name in ("counts", "cents", "head"):
        records[name][away] = 0


def erase(records: Records, cutoff: Int, cutoff_us: Int) -> None:
    """Empty what lies before each record's cutoff (m,), in place, but for refusals of consent.

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
    _erase_profiles(records, cutoff_us)
    records["erased"] = True
