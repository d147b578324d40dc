"""Worlds led step by step, for schedules that chance would take long to find."""

from kafka import TopicPartition

from contracts.topics import INPUTS
from tests.simulation.judge import unsettled
from tests.simulation.world import SETTINGS, Worker, World

PATIENCE = 5_000


def reach(world: World, worker: Worker, point: str) -> None:
    """Let a worker go on until it stands at a point, and the cluster do what it does by itself."""
    for _ in range(PATIENCE):
        if worker.process.point == point:
            return
        worker.step()
        world.cluster.mark_next()
    raise AssertionError(f"{worker.name} never comes to {point}, but to {worker.process.point}")


def settle(world: World, *workers: Worker) -> None:
    """Let workers go on, by turns, until nothing is left to do."""
    for _ in range(PATIENCE // 20):
        for worker in workers:
            worker.step(20)
            assert worker.process.error is None, worker.process.error
        world.cluster.now += 0.3
        world.cluster.expire()
        while world.cluster.mark_next():
            pass
        if not unsettled(world):
            return
    raise AssertionError(f"does not come to rest: {unsettled(world)}")


def put_out(world: World, worker: Worker) -> None:
    """Take a worker out of the group, which it does not know yet."""
    assert worker.consumer is not None
    world.cluster.group.leave(worker.consumer.member)


def lose_offsets(world: World, partition: int) -> None:
    """Lose the group's offsets of one partition."""
    for topic in INPUTS:
        world.cluster.group.offsets.pop(TopicPartition(topic, partition), None)


def prefix(partition: int) -> bytes:
    """Return what the keys of a partition start with."""
    return f"{SETTINGS.group_id}:{{{partition}}}:".encode()
