"""Scenarios of a store that loses keys under a worker."""

from collections.abc import Callable

from tests.simulation.harness import World
from tests.simulation.scenario_helpers import begun, move, prefix, settle


def emptied_under_its_owner(world: World) -> None:
    """The store is emptied under an owner that reads no record of a customer in a segment."""
    worker = begun(world)
    scripts = world.database.scripts.copy()
    world.database.lose(-1, prefix(0))
    world.database.scripts |= scripts
    move(world, "gojee00", 9_000)
    settle(world, worker)


def evicted_under_its_owner(world: World) -> None:
    """All customers of a partition are evicted, and nothing else of it."""
    worker = begun(world)
    del world.database.hashes[prefix(0) + b"customers"]
    move(world, "gojee00", 9_000)
    settle(world, worker)


STORE_PLANS: dict[str, Callable[[World], None]] = {
    "refusals": emptied_under_its_owner,
    "sizes at a commit": evicted_under_its_owner,
    "sizes at a takeover": evicted_under_its_owner,
}
