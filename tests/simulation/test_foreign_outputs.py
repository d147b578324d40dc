"""Records on the topic of dead letters that no worker wrote."""

from random import Random

import pytest
from kafka import TopicPartition

from livesegments.contracts import dead_letters
from livesegments.contracts.cloudevents import NONCE, VERSION
from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.topics import DEAD_LETTERS
from tests.simulation.harness import World
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
