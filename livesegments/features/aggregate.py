"""Apply purchases, profiles and erasures to records, one batch at a time.

The records do not depend on batch boundaries or on how the three topics interleave. Purchases and
erasures may arrive in any order: an event's own tile determines its slot, and an erasure is a
cutoff in event time.

The stored profile depends on two things only: the last record of the customer's key in the
profiles topic, and the cutoff of the customer's erasures.

- The last record replaces all earlier ones, regardless of ``updated_at``. Compaction, which keeps
  the last record of a key, therefore changes nothing.
- A tombstone and an empty profile have the same effect as no profile, so compaction may remove a
  tombstone.
- A profile with an ``updated_at`` before the cutoff loses age, income, location and granted
  consents, whether the profile or the request arrives first. A refusal (``marketing`` or
  ``profiling`` false) holds until a later record changes it: no erasure, suppression or restore
  ends it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.contracts.decode import Profiles
from livesegments.features.record_codec import (
    NEVER,
    Records,
    forget_place,
    is_profiled,
    tiles_in_slots,
)

Int = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Counts of skipped events by reason; ``applied`` (n,) marks the events that were applied."""

    older_than_window: int
    erased: int
    applied: Flags


def advance(records: Records, head: Int) -> None:
    """Advance each record's newest tile to ``head`` (n,), clearing the slots in between."""
    tiles = records["counts"].shape[1]
    old = records["head"]
    head = np.maximum(old, head)
    moved = np.flatnonzero(head > old)
    if not moved.size:
        return
    passed = tiles_in_slots(head[moved], tiles) > old[moved, None]
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
        (m,) records, one per customer.
    customer
        (n,) row in ``records`` of each event.
    tile
        (n,) tile of each event's time.
    count
        (n,) 1 for a purchase, 0 for a refund.
    cents
        (n,) amount in cents, negative for a refund.
    cutoff
        (m,) first tile of each customer not covered by an erasure.
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


def apply_profiles(
    records: Records, customer: Int, profiles: Profiles, cutoff_us: Int
) -> tuple[Int, int]:
    """Replace profiles with each customer's last one, in place.

    Parameters
    ----------
    records
        (m,) records, one per customer.
    customer
        (n,) row in ``records`` of each profile.
    profiles
        (n,) profiles in log order.
    cutoff_us
        (m,) first microsecond of each customer not covered by an erasure.

    Returns
    -------
    Indices into ``profiles`` of each customer's last one, and the number of these that an erasure
    covers.
    """
    last = np.full(len(records), -1)
    # For repeated rows NumPy keeps the last assignment, which is the last profile.
    last[customer] = np.arange(len(customer))
    known = np.flatnonzero(last >= 0)
    last = last[known]
    replaced = records[known]
    replaced["profile_updated"] = profiles.updated_at[last]
    for name in ("age", "income", "urbanicity", "marketing", "profiling"):
        replaced[name] = getattr(profiles, name)[last]
    replaced["profile_updated"][~is_profiled(replaced)] = NEVER
    erased = _erase_profiles(replaced, cutoff_us[known])
    records[known] = replaced
    return last, erased


def _erase_profiles(records: Records, cutoff_us: Int) -> int:
    """Reduce profiles from before a cutoff (m,) to their refusals; return how many there are."""
    reached = (records["profile_updated"] != NEVER) & (records["profile_updated"] < cutoff_us)
    for name in ("age", "income", "urbanicity"):
        records[name][reached] = np.nan
    for name in ("marketing", "profiling"):
        records[name][reached & (records[name] > 0)] = -1
    records["profile_updated"][reached] = NEVER
    return int(np.count_nonzero(reached))


def expire(records: Records, before: Int) -> None:
    """Clear purchases of customers with none since tile ``before`` (m,), in place (retention).

    Profiles stay: their retention is that of their topic.
    """
    away = records["head"] < before
    for name in ("counts", "cents", "head"):
        records[name][away] = 0


def erase(records: Records, cutoff: Int, cutoff_us: Int) -> None:
    """Clear data before each record's cutoff (m,), in place, except refusals of consent.

    ``cutoff`` is the first tile that is kept and ``cutoff_us`` its first microsecond; 0 keeps all.
    """
    gone = tiles_in_slots(records["head"], records["counts"].shape[1]) < cutoff[:, None]
    for name in ("counts", "cents"):
        records[name] = np.where(gone, 0, records[name])
    # A head left by an erased event would reveal it, and make the bytes depend on arrival order.
    records["head"] = np.where(records["head"] < cutoff, 0, records["head"])
    _erase_profiles(records, cutoff_us)
    forget_place(records, slice(None))
