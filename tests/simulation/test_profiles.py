"""Profiles, tombstones, refusals and erasures: equal in a live and in a rebuilt store."""

from collections.abc import Iterator
from random import Random

import pytest
from kafka import TopicPartition

from livesegments.contracts.topics import DEAD_LETTERS, PROFILES
from livesegments.operations.verify.store_reader import StoredCustomer
from tests.consumers.harness import erasure, profile, purchase
from tests.simulation.harness import SETTINGS, SimulatedWorker, World
from tests.simulation.inputs import FIRST_DAY, Event
from tests.simulation.invariants import faults
from tests.simulation.scenario_helpers import prefix, settle
from tests.stored import read_partition

STUDENT = {"age": 20, "income": 15_000, "location": "urban"}
REFUSED = {"profiling": False, "marketing": False}
GIVEN = {"profiling": True, "marketing": True}
D = FIRST_DAY
AHEAD = 2 / 1_440
SOON = 0.5 / 1_440
UNASKED = -1
NULL = None


@pytest.fixture
def world() -> Iterator[World]:
    """A world at rest, with a model."""
    with World(Random(1)).in_place() as world:
        for event in world.inputs.first():
            world.send(event)
        yield world


def event(world: World, sent: dict[str, object] | None) -> Event:
    """An event of partition 0; None is a tombstone of gojee00's profile."""
    return (
        (PROFILES, 0, b"gojee00", None) if sent is None else world.inputs.event(sent, partition=0)
    )


def held(world: World) -> StoredCustomer | None:
    """The stored data of gojee00."""
    stored = read_partition(world.client(), SETTINGS.group_id, 0)  # type: ignore[arg-type]
    return stored.customers.get("gojee00")


def rebuild(world: World, worker: SimulatedWorker) -> None:
    """Compact the profiles, lose the store, and rebuild it from the log."""
    log = world.cluster.logs[TopicPartition(PROFILES, 0)]
    log.compact(log.end, tombstones=True)
    world.database.lose(-1, prefix(0))
    settle(world, worker)


ASKED = profile("gojee00", D, **STUDENT, consent=REFUSED)
SCENARIOS: dict[str, list[dict[str, object] | None]] = {
    "refused, erased, bought in a later tile": [ASKED, erasure("gojee00", D)],
    "erased, and the refusal comes late": [
        erasure("gojee00", D),
        profile("gojee00", D - 3, **STUDENT, consent=REFUSED),
    ],
    "refused after the erasure within its tile": [
        erasure("gojee00", D),
        profile("gojee00", D + 0.1, **STUDENT, consent=REFUSED),
    ],
    "refused while suppressed, then restored": [
        erasure("gojee00", D - 0.2, "suppress"),
        profile("gojee00", D - 0.1, **STUDENT, consent=REFUSED),
        erasure("gojee00", D, "restore"),
    ],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_refusal_survives_what_an_erasure_takes(world: World, scenario: str) -> None:
    worker = world.start("a")
    settle(world, worker)
    world.inputs.day = D + 0.2
    for sent in SCENARIOS[scenario]:
        world.send(event(world, sent))
        settle(world, worker)
    world.inputs.day = D + 2
    world.send(event(world, purchase("gojee00", D + 2)))
    settle(world, worker)
    for rebuilt in (False, True):
        if rebuilt:
            rebuild(world, worker)
        record = held(world)
        assert record is not None
        assert (record.marketing, record.profiling) == (0, 0)
        assert (record.segment, record.age, record.income, record.location) == (-1, *[None] * 3)
        assert faults(world) == []


ORDERS: dict[str, list[dict[str, object] | None]] = {
    "a profile ahead of the clock, then a null": [
        profile("gojee00", D + AHEAD, **STUDENT, consent=GIVEN),
        NULL,
    ],
    "a refusal, then an older profile late": [
        profile("gojee00", D, consent=REFUSED),
        profile("gojee00", D - 2, **STUDENT, consent=GIVEN),
    ],
    "a refusal of an older time last": [
        profile("gojee00", D, **STUDENT, consent=GIVEN),
        profile("gojee00", D - 2, consent=REFUSED),
    ],
    "a profile, a null, and the same again": [
        profile("gojee00", D, **STUDENT, consent=REFUSED),
        NULL,
        profile("gojee00", D, **STUDENT, consent=REFUSED),
    ],
    "a refusal, then a null": [ASKED, NULL],
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_profile_of_the_log_counts_live_and_after_a_rebuild(
    world: World, order: str
) -> None:
    worker = world.start("a")
    settle(world, worker)
    for sent in ORDERS[order]:
        world.inputs.day += SOON
        world.send(event(world, sent))
        settle(world, worker)
    last = ORDERS[order][-1] or {}
    consent = last.get("consent", {})
    assert isinstance(consent, dict)
    for rebuilt in (False, True):
        if rebuilt:
            rebuild(world, worker)
        record = held(world)
        assert record is not None
        assert record.age == last.get("age")
        assert record.marketing == consent.get("marketing", UNASKED)
        assert record.profiling == consent.get("profiling", UNASKED)
        assert (record.segment < 0) == (consent.get("profiling") is False)
        assert faults(world) == []


def test_a_withdrawal_beside_a_wrong_income_counts_live_after_a_rebuild_and_once_as_dead_letter(
    world: World,
) -> None:
    worker = world.start("a")
    settle(world, worker)
    for sent in (
        profile("gojee00", D, **STUDENT, consent=GIVEN),
        profile("gojee00", D, **STUDENT | {"income": 0}, consent=REFUSED),
    ):
        world.inputs.day += SOON
        world.send(event(world, sent))
        settle(world, worker)
    for rebuilt in (False, True):
        if rebuilt:
            rebuild(world, worker)
        record = held(world)
        assert record is not None
        assert (record.marketing, record.profiling, record.segment) == (0, 0, -1)
        assert (record.age, record.income) == (20, None)
        letters = world.cluster.logs[TopicPartition(DEAD_LETTERS, 0)].entries
        assert len([each for each in letters if each.record is not None]) == 1
        assert faults(world) == []
