"""Checks of the places from which the next change of each customer is explained."""

from bisect import bisect_left
from collections.abc import Mapping
from math import isnan

import numpy as np

from livesegments.contracts.segments import SegmentChange
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.operations.verify.model_checks import (
    MOST_DAYS,
    RECENCY_STEPS,
    ROUNDING,
    STEPS,
    TOLERANCES,
    profile_values,
    steps_of,
)
from livesegments.operations.verify.partition import Partition
from livesegments.operations.verify.reference import DAY_US, History
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import StoredCustomer
from livesegments.operations.verify.topic_checks import Told


def check_places(check: Check, at: Partition, last: Mapping[str, Told]) -> None:
    """Check each customer's place: the vector is one that they have had since their last change.

    The log does not say which micro-batch an event was in, nor at which clock a customer was
    scored. So the vector may be that of any window that ended since, with any purchases and profile
    from the cause of the change on. The distances are those of a model of the past: only the one to
    the own segment is known, 0.
    """
    left_out = 0
    for name in at.names():
        cut, record = at.records.cut(name), at.records.get(name)
        told, history = last.get(name), at.inputs.customers.get(name)
        if record is None:
            continue
        where = f"{at.where}, customer {name}"
        is_known = not any(map(isnan, record.gaps))
        if record.segment < 0:
            check.that(not is_known, f"{where}: is in no segment and has a place")
            continue
        if not cut.generation or not cut.is_swept(at.deployed.tile_us) or not at.compares(name):
            left_out += 1
            continue
        check.that(is_known, f"{where}: is in a segment and has no place")
        if not is_known or told is None or history is None or history.erasures:
            left_out += 1
            continue
        own = record.gaps[record.segment]
        check.that(own == 0, f"{where}: the distance to the own segment differs by {own}")
        if told.change.version != record.version:
            continue  # reported with the state
        window = _had_window(at, name, record, told.change, history)
        profile = at.inputs.profile_is_compacted(name, cut.offsets) or _had_profile(
            at, name, record, told.change, history
        )
        if at.starts[PURCHASES] and not window:
            left_out += 1
            continue
        check.that(
            window and profile,
            f"{where}: they have not been at their place {record.place} since version"
            f" {record.version}",
        )
    if left_out:
        check.leave_out(at.where, f"{left_out} customers without their inputs or changes")


def _had_window(
    at: Partition, name: str, record: StoredCustomer, change: SegmentChange, history: History
) -> bool:
    """Return whether a window since the change has the purchases and the spend of the place."""
    tile_us, tiles = at.deployed.tile_us, at.deployed.shape.tiles
    place = dict(zip(at.deployed.features, record.place, strict=True))
    offset = at.records.cut(name).offsets[PURCHASES]
    bought = history.purchases[: bisect_left(history.purchases, (offset,))]
    if not bought:
        return False
    first, start_us = 0, min(each.at for each in bought)
    now_us = at.clock_us(name)
    if change.cause is None:
        # A sweep: the change is dated by the clock, unless a wrong one was set back, or a rebuild
        # with other settings did it.
        dated_us = round(change.occurred_at.timestamp() * 1e6)
        start_us = dated_us if dated_us <= now_us else start_us
        if at.deployed.event_clock and (replayed := at.records.last.replayed[PURCHASES]):
            start_us = min(start_us, at.inputs.clock_us(replayed))
    elif change.cause.topic == PURCHASES:
        # Under the settings of then the cause counted; under others it may not.
        first = max(bisect_left(bought, (change.cause.offset + 1,)) - 1, 0)
    tile, number, cents = np.array([(p.at // tile_us, p.number, p.cents) for p in bought]).T
    newest = np.maximum.accumulate(np.where(number > 0, tile, 0))[first:]
    step = -(-tiles // RECENCY_STEPS)
    for end in range(start_us // tile_us, now_us // tile_us + 1):
        inside = tile > end - tiles
        counts, spent = (np.cumsum(np.where(inside, each, 0))[first:] for each in (number, cents))
        amounts = np.maximum(spent, 0) / 100
        days = np.maximum(end - newest, 0) // step * step * tile_us / DAY_US
        values = {
            "purchases": np.log1p(counts),
            "spend": np.log1p(amounts),
            "recency": np.minimum(days, MOST_DAYS),
            "basket": np.log1p(amounts / np.maximum(counts, 1)),
        }
        had = counts > 0
        for feature in values.keys() & place.keys():
            had &= np.abs(values[feature] * STEPS - place[feature]) <= ROUNDING
        if had.any():
            return True
    return False


def _had_profile(
    at: Partition, name: str, record: StoredCustomer, change: SegmentChange, history: History
) -> bool:
    """Return whether a profile since the change has the age, income and location of the place."""
    place = dict(zip(at.deployed.features, record.place, strict=True))
    offset = at.records.cut(name).offsets[PROFILES]
    said = history.profiles[: bisect_left(history.profiles, (offset,))]
    known = [(None, None, None), *(each.known for each in said)]
    if change.cause is not None and change.cause.topic == PROFILES:
        first = bisect_left(said, (change.cause.offset,))
        # A null is not among the profiles that are left: from it on, nothing is known.
        is_left = first < len(said) and said[first][0] == change.cause.offset
        known = known[first + is_left :]
    return any(
        all(
            abs(place[feature] - steps_of(value)) <= TOLERANCES.get(feature, ROUNDING)
            for feature, value in profile_values(each).items()
            if feature in place
        )
        for each in known
    )
