from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livesegments.consumers.aggregation import Aggregated
from livesegments.consumers.decoding import MicroBatch, decode_batch
from livesegments.consumers.transitions import last_events, triggers_of
from livesegments.contracts.events import BACKFILL, ORIGIN_HEADER
from livesegments.contracts.topics import ERASURES, PURCHASES
from livesegments.domain import Trigger
from livesegments.features.record_codec import empty
from tests.consumers.harness import (
    DAY,
    RULES,
    SHAPE,
    World,
    by_partition,
    erasure,
    profile,
    purchase,
)

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Found:
    """Triggers of n customers."""

    origins: list[str]
    triggers: list[Trigger | None]
    time_us: NDArray[np.int64]


def causes(
    world: World,
    records: Sequence,  # type: ignore[type-arg]
    swept: int = 0,
    dropped: Sequence[int] = (),
) -> Found:
    """Triggers of the customers of partition 0, followed by swept customers.

    ``dropped`` are the purchases that did not count.
    """
    batch = decode_batch(by_partition(records), RULES)
    counted = np.ones(len(batch.purchases.row), bool)
    counted[list(dropped)] = False
    return found_in(batch, counted, len(batch.customers) + swept, 50 * DAY, "expiry")


def found_in(
    batch: MicroBatch, counted: NDArray[np.bool_], n: int, clock_us: int, origin: str
) -> Found:
    aggregated = Aggregated(
        records=empty(n, SHAPE),
        purchases=counted,
        profiles=np.ones(len(batch.profiles.row), bool),
        erasures=np.ones(len(batch.erasures.row), bool),
        markers={},
        requested=np.empty(0, np.int64),
        consents_changed=np.zeros(n, bool),
        older_than_window=0,
        erased=0,
    )
    topic, column, time_us = last_events(batch, aggregated, np.full(n, clock_us))
    return Found(*triggers_of(batch, topic, column, [origin] * n), time_us)


def event(found: Found, row: int) -> Trigger | None:
    return found.triggers[row]


def origin(found: Found, row: int) -> str:
    return found.origins[row]


def test_the_last_event_in_the_log_is_the_cause_also_when_it_is_late() -> None:
    world = World()
    found = causes(world, [world.record(purchase("a", day)) for day in (3, 7, 5)])
    cause = event(found, 0)
    assert cause is not None
    assert (cause.event_id, cause.offset) == ("a-5-50.0", 2)
    assert found.time_us.tolist() == [5 * DAY]


def test_an_erasure_names_the_cause_before_a_purchase_and_that_before_a_profile() -> None:
    world = World()
    found = causes(
        world,
        [
            world.record(purchase("all", 1)),
            world.record(purchase("two", 2)),
            world.record(profile("all", 3)),
            world.record(profile("two", 4)),
            world.record(profile("one", 5)),
            world.record(erasure("all", 6)),
        ],
    )
    assert [origin(found, row) for row in range(3)] == ["erasure", "live", "profile"]
    assert (found.time_us / DAY).tolist() == [6, 2, 5]
    first, second, third = (event(found, row) for row in range(3))
    assert first is not None
    assert (first.topic, first.event_id) == (ERASURES, "all-6")
    assert second is not None
    assert (second.topic, second.event_id) == (PURCHASES, "two-2-50.0")
    assert third is not None
    assert third.event_id is None


def test_an_event_that_was_dropped_is_no_cause() -> None:
    world = World()
    records = [world.record(purchase("a", day)) for day in (3, 7, 5)]
    found = causes(world, records, dropped=[2])
    cause = event(found, 0)
    assert cause is not None
    assert (cause.event_id, found.time_us.tolist()) == ("a-7-50.0", [7 * DAY])
    found = causes(world, records, dropped=[0, 1, 2])
    assert (origin(found, 0), event(found, 0), found.time_us.tolist()) == (
        "expiry",
        None,
        [50 * DAY],
    )


def test_who_was_only_swept_has_no_cause_and_the_time_of_the_clock() -> None:
    world = World()
    found = causes(world, [world.record(purchase("a", 1))], swept=1)
    assert (origin(found, 1), event(found, 1)) == ("expiry", None)
    assert found.time_us.tolist() == [DAY, 50 * DAY]
    batch = decode_batch({}, RULES)
    alone = found_in(batch, np.ones(0, bool), 1, 7, "model")
    assert (origin(alone, 0), event(alone, 0), alone.time_us.tolist()) == ("model", None, [7])


@pytest.mark.parametrize(
    ("sent", "value", "said"),
    [
        (purchase("a", 1), BACKFILL, "backfill"),
        (profile("a", 1), BACKFILL, "backfill"),
        (erasure("a", 1), BACKFILL, "erasure"),
        (purchase("a", 1), b"live", "live"),
        (purchase("a", 1), None, "live"),
    ],
)
def test_history_that_is_sent_late_is_told_from_what_is_live(
    sent: dict[str, Any], value: bytes | None, said: str
) -> None:
    world = World()
    record = world.record(sent, headers=[("x", b"y"), (ORIGIN_HEADER, value)])
    assert origin(causes(world, [record]), 0) == said


def test_a_live_event_after_history_is_live_again() -> None:
    world = World()
    late = world.record(purchase("a", 1), headers=[(ORIGIN_HEADER, BACKFILL)])
    live = world.record(purchase("a", 2))
    assert origin(causes(world, [late, live]), 0) == "live"
    assert origin(causes(world, [live, late]), 0) == "backfill"


def test_the_arrival_at_the_broker_goes_along() -> None:
    world = World()
    record = world.record(purchase("a", 1), timestamp_ms=99_000_000)
    cause = event(causes(world, [record]), 0)
    assert cause is not None
    assert cause.arrived_ms == 99_000_000


@pytest.mark.parametrize(
    ("value", "passed_on"),
    [(TRACE, TRACE), (None, None), (b"", None), (b"x" * 100_000, None), (TRACE + b"\n", None)],
)
def test_a_trace_is_passed_on_only_when_it_is_one(
    value: bytes | None, passed_on: bytes | None
) -> None:
    world = World()
    record = world.record(purchase("a", 1), headers=[("x", b"y"), ("traceparent", value)])
    cause = event(causes(world, [record]), 0)
    assert cause is not None
    assert cause.traceparent == passed_on
