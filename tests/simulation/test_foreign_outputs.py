"""Outputs that no worker of the group wrote."""

from collections.abc import Iterable
from random import Random

import pytest
from kafka import TopicPartition

from livesegments.contracts import dead_letters
from livesegments.contracts.cloudevents import NONCE, VERSION
from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, PURCHASES
from tests.simulation.harness import SETTINGS, World
from tests.simulation.inputs import Event
from tests.simulation.invariants import faults
from tests.simulation.scenario_helpers import begun, lose_offsets, prefix, put_out, settle

ORIGIN = [(NONCE, b"0" * 16), (VERSION, b"9" * 25)]
OF_SOURCE = [
    *dead_letters.headers(
        ORIGIN,
        topic="shop.orders",
        partition=0,
        offset=3,
        timestamp_ms=0,
        reason=Reason.NOT_JSON,
        message="value: is no JSON",
    ),
    (dead_letters.SOURCE, b"orders"),
]

BAD: Event = (PURCHASES, 0, b"gojee00", b"{")


@pytest.mark.parametrize("headers", [OF_SOURCE, [], ORIGIN])
def test_a_recovery_passes_over_what_no_worker_wrote(
    headers: list[tuple[str, bytes | None]],
) -> None:
    with World(Random(1)).in_place() as world:
        worker = begun(world)
        log = world.cluster.logs[TopicPartition(DEAD_LETTERS, 0)]
        log.append(b"1", b"{", headers, world.inputs.wall_us // 1_000)
        worker.crash()
        put_out(world, worker)
        world.database.lose(-1, prefix(0))
        lose_offsets(world, 0)
        settle(world, world.start("b"))
        assert faults(world) == []


def run_another_group(world: World, events: Iterable[Event]) -> None:
    """Let another group work on the same topics, with its own store and offsets, and end."""
    offsets, world.cluster.group.offsets = world.cluster.group.offsets, {}
    world.group_id = "another"
    worker = world.start("another")
    for event in events:
        world.send(event)
        worker.step(20)
        world.cluster.now += 0.3
    for _ in range(200):
        worker.step(20)
        world.cluster.now += 0.3
    worker.crash()
    put_out(world, worker)
    world.cluster.group.offsets, world.group_id = offsets, SETTINGS.group_id


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("topic", [CHANGES, DEAD_LETTERS])
def test_a_group_that_returns_goes_on_from_what_another_has_published(
    topic: str, is_lost: bool
) -> None:
    with World(Random(3)).in_place() as world:
        worker = begun(world)
        worker.crash()
        put_out(world, worker)
        log = world.cluster.logs[TopicPartition(topic, 0)]
        before = log.end
        events = (world.inputs.next() for _ in range(40))
        run_another_group(world, [BAD] * 3 if topic == DEAD_LETTERS else events)
        assert log.end > before
        if is_lost:
            world.database.lose(-1, prefix(0))
        for name in ("b", "c"):
            worker = world.start(name)
            settle(world, worker)
            assert faults(world, offsets_lost=True) == []
            worker.crash()
            put_out(world, worker)
