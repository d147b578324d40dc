"""The verifier reports no fault while workers run or are paused.

``make explore`` runs many more seeds.
"""

import os
from random import Random
from unittest.mock import patch

import pytest

from livesegments.contracts.partitioning import Partitioning
from livesegments.operations.verify import Report, reading, run, verify
from livesegments.operations.verify.partition import Partition
from livesegments.operations.verify.reading import Records
from tests.simulation.cluster import PARTITIONS
from tests.simulation.harness import SETTINGS, World
from tests.simulation.mutations import Edit
from tests.simulation.scenario_helpers import move, reach, settle

PARTITIONING = Partitioning("murmur2", PARTITIONS)
SEEDS = range(int(os.environ.get("LIVESEGMENTS_SIMULATION_RUNS", "3")))
POINTS = (0, 0, 1, 2, 3, 5, 8, 30)


def report(world: World) -> Report:
    return verify(
        world.client(),  # type: ignore[arg-type]
        {"client_id": "the judge"},
        SETTINGS.group_id,
        retention_days=SETTINGS.days_kept,
        event_clock=world.clock == "event",
        now_us=lambda: world.inputs.wall_us,
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
    """Let input arrive, at times of a new customer, and workers advance a little."""
    if rng.random() < 0.3:
        world.send(world.inputs.next())
    if rng.random() < 0.1:
        name = f"new{rng.randrange(1_000)}"
        move(world, name, 90, PARTITIONING.of_customer(name))
    rng.choice(world.workers).step(rng.choice(POINTS))
    world.cluster.now += 0.01
    for _ in range(rng.choice((0, 1, 3))):
        world.cluster.mark_next()


def reported_beside_work(seed: int) -> list[str]:
    """Return the findings of some verifications while two workers advance between any two calls."""
    rng = Random(seed)
    with at_work(seed).in_place() as world:
        start(world)
        world.let_go_on(lambda: let_go_on(world, rng))
        found = [fault for _ in range(5) for fault in faults(world)]
        assert [worker.process.error for worker in world.workers] == [None, None]
        return found


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_workers_at_work_it_ends_and_reports_nothing(seed: int) -> None:
    assert reported_beside_work(seed) == []


@pytest.mark.parametrize("seed", SEEDS)
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
        move(world, "gojee00", 9_000)
        reach(world.workers[0], "before kafka.send_offsets")
        with pytest.raises(TimeoutError, match=r"v1-\d cannot be read past .* hangs open"):
            faults(world)


CUTS = {
    "each record is compared at its own cut": (
        Edit(
            Records,
            "cut",
            "return self.found[name][1] if name in self.found else self.last",
            "return self.last",
        ),
        "records",
    ),
    "customers who came during the last look are read": (
        Edit(run, "read_records", "if name not in records.found", "if False"),
        "records",
    ),
    "outputs are compared up to where all of them are read": (
        Edit(
            Partition,
            "bound",
            "inf if self.at_rest else min(self.records.cut(name).version, self.published)",
            "inf",
        ),
        "state",
    ),
    "statistics are compared where no customer has had events since": (
        Edit(reading, "_are_of_one_version", "cut.version != last.version", "False"),
        "statistics",
    ),
    "statistics are compared where no sweep was under way": (
        Edit(reading, "_are_steady", "return not earlier or", "return True or"),
        "statistics",
    ),
    "dead letters are due where they are published": (
        Edit(
            Partition,
            "decided",
            "return self.committed.offsets[topic] if self.committed.version else 0",
            "return self.inputs.read[topic]",
        ),
        "dead letters",
    ),
}
FIRST = {"statistics are compared where no customer has had events since": 30}
"""Seeds known to report a fault, tried before the others; any other would do."""


@pytest.mark.parametrize("rule", CUTS)
def test_without_a_rule_of_the_cut_it_would_report_what_is_no_fault(rule: str) -> None:
    edit, check = CUTS[rule]
    seeds = (FIRST.get(rule, 0), *range(100))
    with patch.object(edit.owner, edit.name, edit.mutated()):
        assert any(
            fault.startswith(check) for seed in seeds for fault in reported_beside_work(seed)
        )
