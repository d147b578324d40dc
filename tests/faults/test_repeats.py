"""At-least-once producers: a repeated event counts once, whatever happens."""

import random
from collections.abc import Callable

import pytest

from livesegments.contracts.topics import PURCHASES
from tests.service import Event, Service

pytestmark = pytest.mark.servers


def repeated(events: list[Event], share: float, seed: int) -> list[Event]:
    """Return purchases of a load that a producer sends again, in another order."""
    again = [event for event in events if event[0] == PURCHASES and event[1]]
    rng = random.Random(seed)
    return rng.sample(again, int(len(again) * share))


def test_events_sent_again_count_once_also_after_a_restart_and_in_a_rebuilt_store(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    first, second = make_load(3_000), make_load(3_000, first=3_000)
    worker = service.start()
    service.send([*first, *repeated(first, 0.2, seed=1)])
    service.wait()
    worker.kill()
    worker.wait()
    service.start()
    service.send([*repeated(first, 0.2, seed=2), *second])
    service.wait()
    service.verified()
    service.client.flushall()
    service.send(repeated([*first, *second], 0.2, seed=3))
    service.wait()
    service.verified()


def test_repeats_beyond_what_is_remembered_count_again(
    service: Service, make_load: Callable[..., list[Event]]
) -> None:
    load = make_load(2_000)
    service.environment["LIVESEGMENTS_DEDUP_EVENTS"] = "100"
    service.start()
    service.send([*load, *load])
    service.wait()
    service.verified()
    rings = [service.client.strlen(f"livesegments:{{{p}}}:seen") for p in range(4)]
    assert rings == [800] * 4
