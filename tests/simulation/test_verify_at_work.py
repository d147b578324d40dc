"""The verifier beside workers at work, and beside workers that stand still: it reports no fault."""

from random import Random

import pytest

from livesegments.verify import Report, verify
from tests.simulation.by_hand import move, reach, settle
from tests.simulation.world import SETTINGS, World

POINTS = (0, 0, 1, 2, 3, 5, 8, 30)


def report(world: World) -> Report:
    return verify(
        world.client(),  # type: ignore[arg-type]
        {"client_id": "the judge"},
        SETTINGS.group_id,
        retention_days=SETTINGS.days_kept,
        event_clock=world.clock == "event",
    )


def faults(world: World) -> list[str]:
    return [f"{check.name}: {fault}" for check in report(world).checks for fault in check.faults]


def at_work(seed: int) -> World:
    return World(Random(seed), ("event", "wall")[seed % 2])


def start(world: World, instances: str = "ab") -> None:
    for event in world.inputs.first():
        world.send(event)
    workers = [world.start(instance) for instance in instances]
    settle(world, *workers)


def let_go_on(world: World, rng: Random) -> None:
    """Let input come and workers go on a little."""
    if rng.random() < 0.3:
        world.send(world.inputs.next())
    rng.choice(world.workers).step(rng.choice(POINTS))
    world.cluster.now += 0.01
    for _ in range(rng.choice((0, 1, 3))):
        world.cluster.mark_next()


@pytest.mark.parametrize("seed", range(16))
def test_beside_workers_at_work_it_ends_and_reports_nothing(seed: int) -> None:
    rng = Random(seed)
    with at_work(seed).in_place() as world:
        start(world)
        world.let_go_on(lambda: let_go_on(world, rng))
        for _ in range(5):
            assert faults(world) == []
        assert [worker.process.error for worker in world.workers] == [None, None]


@pytest.mark.parametrize("seed", range(16))
def test_beside_workers_that_stand_still_it_says_only_what_is_not_published(seed: int) -> None:
    rng = Random(seed)
    with at_work(seed).in_place() as world:
        start(world)

        def brokers_go_on() -> None:
            world.cluster.expire()
            world.cluster.mark_next()

        world.let_go_on(brokers_go_on)
        for _ in range(8):
            for _ in range(rng.choice((5, 20, 60))):
                let_go_on(world, rng)
            found = faults(world)
            assert all("committed and not published" in fault for fault in found), found


def test_a_transaction_that_hangs_open_is_named() -> None:
    with World(Random(1)).in_place() as world:
        start(world, "a")
        move(world, "c00", 9_000)
        reach(world.workers[0], "before kafka.send_offsets")
        with pytest.raises(TimeoutError, match=r"v1-\d cannot be read past .* hangs open"):
            faults(world)
