"""Events of one customer, aggregated as by the service and summed directly, for feature tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from livesegments.contracts.decode import Profiles
from livesegments.features.aggregate import (
    Skipped,
    aggregate_purchases,
    apply_profiles,
    erase,
)
from livesegments.features.erasures import Action, Marker
from livesegments.features.record_codec import Records, RecordShape, empty
from livesegments.features.window import Tiling

LAYOUT = Tiling(window_days=20, tiles=5)
SHAPE = RecordShape(LAYOUT.tiles, 5, 5)
DAY = 86_400_000_000
LAST_DAY = 60


@dataclass(frozen=True)
class Bought:
    at: int
    cents: int

    @property
    def count(self) -> int:
        return int(self.cents > 0)


@dataclass(frozen=True)
class Profiled:
    at: int
    age: float = np.nan
    income: float = np.nan
    urbanicity: float = np.nan
    marketing: int = -1
    profiling: int = -1

    @property
    def says_anything(self) -> bool:
        known = not np.isnan([self.age, self.income, self.urbanicity]).all()
        return known or self.marketing >= 0 or self.profiling >= 0


@dataclass(frozen=True)
class Requested:
    at: int
    action: Action = Action.ERASE


Event = Bought | Profiled | Requested

times = st.integers(0, LAST_DAY * DAY)
purchases = st.builds(Bought, times, st.integers(-5_000, 20_000).filter(bool))
profiles = st.builds(
    Profiled,
    times,
    age=st.sampled_from([np.nan, 18.0, 45.5, 90.0]),
    income=st.sampled_from([np.nan, 1.0, 55_000.0]),
    urbanicity=st.sampled_from([np.nan, 0.0, 0.5, 1.0]),
    marketing=st.integers(-1, 1),
    profiling=st.integers(-1, 1),
)
nulls = st.builds(Profiled, times)
erasures = st.builds(Requested, times)


def fold_batches(batches: Sequence[Sequence[Event]]) -> tuple[Records, list[Skipped]]:
    """The record of one customer after some batches, each aggregated erasures first."""
    records, marker = empty(1, SHAPE), Marker()
    skipped = []
    for batch in batches:
        requests = [event for event in batch if isinstance(event, Requested)]
        for request in requests:
            marker = marker.after(request.action, request.at, LAYOUT)
        cutoff_us = np.array([marker.cutoff_us])
        cutoff = LAYOUT.tile_of(cutoff_us)
        if requests:
            erase(records, cutoff, cutoff_us)
        bought = [event for event in batch if isinstance(event, Bought)]
        skipped.append(
            aggregate_purchases(
                records,
                np.zeros(len(bought), np.int64),
                LAYOUT.tile_of(np.array([event.at for event in bought], np.int64)),
                np.array([event.count for event in bought], np.int64),
                np.array([event.cents for event in bought], np.int64),
                cutoff,
            )
        )
        known = [event for event in batch if isinstance(event, Profiled)]
        apply_profiles(
            records,
            np.zeros(len(known), np.int64),
            Profiles(
                row=np.arange(len(known)),
                customer_id=["c"] * len(known),
                deleted=np.zeros(len(known), np.bool_),
                updated_at=np.array([event.at for event in known], np.int64),
                age=np.array([event.age for event in known], np.float64),
                income=np.array([event.income for event in known], np.float64),
                urbanicity=np.array([event.urbanicity for event in known], np.float64),
                marketing=np.array([event.marketing for event in known], np.int8),
                profiling=np.array([event.profiling for event in known], np.int8),
            ),
            cutoff_us,
        )
    return records, skipped


def cut(events: Sequence[Event], places: Sequence[int]) -> list[list[Event]]:
    """Split events into batches at given positions."""
    edges = sorted({0, len(events), *(place % (len(events) + 1) for place in places)})
    return [list(events[a:b]) for a, b in pairwise(edges)]


def sums(events: Sequence[Event], clock_tile: int) -> tuple[int, int]:
    """Purchases and cents of the window that ends at a tile, computed event by event."""
    cutoff = max(
        (LAYOUT.end(LAYOUT.tile(e.at)) for e in events if isinstance(e, Requested)), default=0
    )
    counted = [
        event
        for event in events
        if isinstance(event, Bought)
        and event.at >= cutoff
        and clock_tile - LAYOUT.tiles < LAYOUT.tile(event.at) <= clock_tile
    ]
    return sum(event.count for event in counted), sum(event.cents for event in counted)
