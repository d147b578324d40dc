"""Worlds advanced step by step, for schedules that random runs would rarely find."""

from collections.abc import Callable

from kafka import TopicPartition

from livesegments.contracts.topics import INPUTS
from tests.consumers.harness import erasure, purchase
from tests.simulation.harness import SETTINGS, SimulatedWorker, World
from tests.simulation.invariants import unsettled

PATIENCE = 5_000


class RestlessError(AssertionError):
    """A world does not come to rest."""


def reach(
    worker: SimulatedWorker, point: str, when: Callable[[], bool] = lambda: True, *, times: int = 1
) -> None:
    """Run a worker until it has come to a point, once or a given number of times."""
    for _ in range(PATIENCE):
        worker.step()
        times -= worker.process.point == point and when()
        if not times:
            return
    raise AssertionError(f"{worker.name} never comes to {point}, but to {worker.process.point}")


def settle(world: World, *workers: SimulatedWorker) -> None:
    """Run workers in turn until no work is left."""
    for _ in range(PATIENCE // 20):
        for worker in workers:
            worker.step(20)
            if worker.process.error is not None:
                raise RestlessError(f"a worker ended by {worker.process.error!r}")
        world.cluster.now += 0.3
        world.cluster.expire()
        while world.cluster.mark_next():
            pass
        if not unsettled(world):
            return
    raise RestlessError(f"does not come to rest: {unsettled(world)}")


def started(world: World) -> SimulatedWorker:
    """Return a worker with a model, all customers in a segment, and nothing to publish."""
    for event in world.inputs.first():
        world.send(event)
    worker = world.start("a")
    settle(world, worker)
    return worker


def begun(world: World) -> SimulatedWorker:
    """Return a worker with a model, all customers in a segment, and no work left at all."""
    worker = started(world)
    rest(world, worker)
    return worker


def rest(world: World, worker: SimulatedWorker) -> None:
    """Run a worker until idle, with refit done and outbox trimmed; no connection is in use."""
    for _ in range(3):
        settle(world, worker)
        world.cluster.now += 10
        reach(worker, "between rounds", times=3)
    settle(world, worker)
    reach(worker, "between rounds")


def put_out(world: World, worker: SimulatedWorker, *, told: bool = False) -> None:
    """Remove a worker from the group; it knows only if a heartbeat has reported it."""
    assert worker.consumer is not None
    world.cluster.group.leave(worker.consumer.member)
    if told:
        worker.consumer.put_out()


def move(world: World, customer: str, amount: float, partition: int = 0) -> None:
    """Send a purchase that, if large enough, changes a customer's segment."""
    event = purchase(customer, world.inputs.day, amount)
    world.send(world.inputs.event(event, partition))


def erase_with_data_since(world: World, worker: SimulatedWorker) -> None:
    """Send the erasure of a customer from before a purchase that is known."""
    day = world.inputs.day
    world.inputs.day += 4  # in a later tile
    move(world, "gojee00", 50)
    rest(world, worker)
    world.send(world.inputs.event(erasure("gojee00", day), partition=0))


def lose_offsets(world: World, partition: int) -> None:
    """Lose the group's offsets of one partition."""
    for topic in INPUTS:
        world.cluster.group.offsets.pop(TopicPartition(topic, partition), None)


def prefix(partition: int) -> bytes:
    """Return the prefix of a partition's keys."""
    return f"{SETTINGS.group_id}:{{{partition}}}:".encode()
