"""Time passes without events: windows become empty, and inactive customers leave."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from livesegments.contracts.segments import SegmentChange
from tests.service import PARTITIONS, Event, Service, profile, purchase
from tests.shifted_worker import days, shift_redis
from tests.stored import read_partition

pytestmark = pytest.mark.servers

PEOPLE = 120


def bought(customers: Sequence[str], days_ago: float, seed: int = 0, times: int = 3) -> list[Event]:
    rng = np.random.default_rng(seed)
    now = np.datetime64("now", "s")
    events = []
    for customer in customers:
        for _ in range(times):
            at = now - np.timedelta64(int((days_ago + rng.random()) * 86_400), "s")
            amount = round(float(rng.gamma(2, 20)) + 1, 2)
            events.append(purchase(customer, f"{np.datetime_as_string(at)}Z", amount))
    return events


def changes(service: Service) -> dict[str, list[SegmentChange]]:
    """Customer -> changes, in order."""
    found: dict[str, list[SegmentChange]] = {}
    for change in service.changes():
        found.setdefault(change.customer_id, []).append(change)
    return found


def kept(service: Service) -> dict[str, int]:
    """Customer -> published segment of every record; none while the store is empty."""
    if not service.client.exists("livesegments:deployment"):
        return {}
    return {
        name: customer.segment
        for p in range(PARTITIONS)
        for name, customer in read_partition(service.client, "livesegments", p).customers.items()
    }


def shift(ahead: Path, days: int) -> None:
    """Set the worker's clock ahead, atomically, because the worker reads the file at any time."""
    written = ahead.with_suffix(".next")
    written.write_text(str(days))
    written.replace(ahead)


@pytest.mark.timeout(240)
def test_with_the_wall_clock_who_buys_no_more_leaves_and_then_goes_without_any_event(
    service: Service, tmp_path: Path
) -> None:
    service.environment |= {"LIVESEGMENTS_CLOCK": "wall", "LIVESEGMENTS_REFIT": "off"}
    service.keep_for(180)
    ahead = tmp_path / "days"
    ahead.write_text("0")
    start = [sys.executable, "-m", "tests.shifted_worker", str(ahead)]
    shift_redis(service.client, days(ahead))
    service.now_us = lambda: time.time_ns() // 1_000 + days(ahead)()
    service.launch(start)
    people = [f"c{i:03d}" for i in range(PEOPLE)]
    service.send([profile(p, "2020-01-01T00:00:00Z", age=30) for p in people[:10]])
    service.send(bought(people, 1))
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    assert all(segment >= 0 for segment in kept(service).values())

    shift(ahead, 100)
    service.wait_for(lambda: all(s < 0 for s in kept(service).values()), "windows run empty")
    service.wait()
    service.verified()
    assert len(kept(service)) == PEOPLE
    states = service.states()
    assert all(states[p] is not None and states[p].segment is None for p in people)  # type: ignore[union-attr]
    [_, left] = changes(service)[people[0]]
    assert (left.change, left.origin, left.cause) == ("unassigned", "expiry", None)

    shift(ahead, 200)
    service.wait_for(lambda: set(kept(service)) == set(people[:10]), "the others are removed")
    service.wait()
    service.verified()
    states = service.states()
    assert [p for p in people if states[p] is not None] == people[:10]

    # A lost store is rebuilt to the same state, although the log still has all records.
    service.client.flushall()
    service.wait_for(lambda: set(kept(service)) == set(people[:10]), "it is rebuilt")
    service.wait()
    service.verified()


@pytest.mark.timeout(180)
def test_with_the_event_clock_a_partition_where_nobody_buys_stays_as_it_is(
    service: Service,
) -> None:
    service.environment |= {"LIVESEGMENTS_REFIT": "off"}
    service.keep_for(180)
    service.start()
    people = [f"c{i:03d}" for i in range(PEOPLE)]
    service.send(bought(people, 200))
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    before = {
        p: read_partition(service.client, "livesegments", p).customers for p in range(PARTITIONS)
    }
    buyer, back, *_ = before[0]
    service.send(bought([buyer], 1, times=1))
    service.wait_for(
        lambda: len(kept(service)) == PEOPLE - len(before[0]) + 1, "those of its partition go"
    )
    service.wait()
    service.verified()
    now = kept(service)
    assert all(
        now[name] == before[p][name].segment for p in range(1, PARTITIONS) for name in before[p]
    )
    assert now[buyer] >= 0

    service.send(bought([back], 1, times=1))
    service.wait()
    service.verified()
    told = changes(service)[back]
    assert [change.change for change in told] == ["assigned", "unassigned", "assigned"]


@pytest.mark.timeout(180)
def test_sweeps_keep_to_the_rate_and_purchases_do_not_wait_for_them(service: Service) -> None:
    rate, people = 20, [f"c{i:03d}" for i in range(200)]
    service.environment |= {
        "LIVESEGMENTS_REFIT": "off",
        "LIVESEGMENTS_WARMUP_CUSTOMERS": "200",
        "LIVESEGMENTS_MAX_CHANGES_PER_SECOND": str(rate),
    }
    service.send(bought(people, 5))  # before the start, or some would be assigned as they buy
    service.start()
    service.wait_for(
        lambda: int(service.client.hget("livesegments:{0}:progress", "generation") or 0),
        "a generation",
    )
    service.send(bought(people[-3:], 4, seed=1, times=1))
    service.wait()
    service.verified()
    first = [told[0] for told in changes(service).values()]
    swept = sorted(c.decided_at.timestamp() for c in first if c.origin == "model")
    # One step of every partition may come at once, with at most a second's changes each.
    assert len(swept) - PARTITIONS * rate <= rate * (swept[-1] - swept[0] + 1)
    assert len(swept) > 100
