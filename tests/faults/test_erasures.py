"""Erasures at scale: no data of an erased customer remains, even after the store was lost."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from livesegments.operations.verify.store_reader import marker_of
from tests.service import PARTITIONS, Event, Service, erasure, profile, purchase

pytestmark = pytest.mark.servers

KEPT = [f"keep{i:05d}" for i in range(880)]
ERASED = [f"gone{i:05d}" for i in range(100)]
SUPPRESSED = [f"hush{i:05d}" for i in range(20)]
NAMED = re.compile(rb"gone\d{5}")


def bought(customers: list[str], day: int, seed: int, each: int = 2) -> list[Event]:
    rng = np.random.default_rng(seed)
    return [
        purchase(
            customer,
            f"2024-03-{day:02d}T{9 + i:02d}:00:00Z",
            round(float(rng.gamma(2, 20)) + 1, 2),
            event_id=f"{seed}-{rng.integers(1 << 60)}",
        )
        for customer in customers
        for i in range(each)
    ]


def known(customers: list[str], day: int) -> list[Event]:
    return [
        profile(c, f"2024-03-{day:02d}T08:00:00Z", age=18 + i % 70, consent={"marketing": True})
        for i, c in enumerate(customers)
    ]


def stored(service: Service) -> Iterator[Any]:
    """Every key, field and value of the store."""
    for key in service.client.scan_iter(count=1_000):
        yield key
        if service.client.type(key) == b"hash":
            for name, value in service.client.hgetall(key).items():
                yield name
                yield value
        else:
            yield service.client.get(key) or b""


def named(service: Service) -> set[bytes]:
    """The erased customers still named anywhere in the store."""
    return {name for data in stored(service) for name in NAMED.findall(data)}


@pytest.mark.timeout(240)
def test_of_a_hundred_erased_among_a_thousand_nothing_is_left_anywhere(
    service: Service,
) -> None:
    everyone = [*KEPT, *ERASED, *SUPPRESSED]
    service.start()
    service.send([*known(everyone[::2], 1), *bought(everyone, 2, 1)])
    service.wait_for(service.has_model, "everyone is scored")
    service.wait()
    assert len(named(service)) == len(ERASED)

    service.send(erasure(customer, "2024-03-05T00:00:00Z") for customer in ERASED)
    service.send(erasure(customer, "2024-03-05T00:00:00Z", "suppress") for customer in SUPPRESSED)
    # Late events from before the request, also of customers who only refuse profiling.
    service.send([*bought(ERASED, 3, 2), *known(ERASED, 4), *bought(SUPPRESSED, 20, 3)])
    service.wait()
    service.wait_for(lambda: not named(service), "the store names none of the erased")
    service.verified()

    service.client.flushall()
    service.send([*bought(ERASED[:50], 4, 4), *bought(KEPT[:50], 21, 5)])
    service.wait_for(lambda: service.client.exists("livesegments:{0}:customers"), "it is rebuilt")
    service.wait()
    service.wait_for(lambda: not named(service), "the store names none of the erased")
    service.verified()
    now = service.states()
    assert {customer for customer in everyone if now[customer] is None} == {*ERASED, *SUPPRESSED}
    markers = {
        marker
        for p in range(PARTITIONS)
        for marker in service.client.hkeys(f"livesegments:{{{p}}}:erasures")
    }
    assert markers == {marker_of(c, "livesegments") for c in [*ERASED, *SUPPRESSED]}

    service.send(erasure(customer, "2024-03-24T00:00:00Z", "restore") for customer in SUPPRESSED)
    service.wait()
    assert all(state is None for c, state in service.states().items() if c in SUPPRESSED)
    service.send([*bought(SUPPRESSED, 23, 6), *bought(SUPPRESSED[:10], 29, 7)])
    service.wait()
    service.verified()
    now = service.states()
    assert [c for c in SUPPRESSED if now[c] is not None] == SUPPRESSED[:10]
