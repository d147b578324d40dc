"""Scenarios in which an outbox is published in part, or not at all for a long time."""

from kafka import TopicPartition

from livesegments.contracts.topics import DEAD_LETTERS, PROFILES, PURCHASES
from tests.simulation.harness import SimulatedWorker, World
from tests.simulation.scenario_helpers import begun, lose_offsets, prefix, put_out, reach, settle

COMMITTED = "after redis.evalsha"


def bad(world: World, size: int, partition: int = 0) -> None:
    """Send a record that becomes a dead letter of about the given size."""
    world.send((PURCHASES, partition, b"c", b"x" * (size - 900)))


def outputs_fail_for_long(world: World) -> None:
    """Dead letters are rejected while more and more of them are pending."""
    worker = begun(world)
    world.cluster.refusing.add(DEAD_LETTERS)
    for _ in range(30):
        bad(world, 3_000)
        reach(worker, "after kafka.abort_transaction")
        world.cluster.now += 6
    world.cluster.refusing.clear()
    settle(world, worker)


def two_versions_wait(world: World) -> SimulatedWorker:
    """Return a worker that has just published the first of two versions in its outbox."""
    worker = begun(world)
    world.is_late = lambda: True
    for _ in range(3):
        bad(world, 1_100)
    while not _first_of_several_is_published(world, worker):
        worker.step()
        if worker.process.point == COMMITTED:  # more work is pending, so that it does not wait
            for _ in range(3):
                bad(world, 1_100)
    worker.crash()
    put_out(world, worker)
    world.is_late = lambda: False
    return world.start("a")


def _first_of_several_is_published(world: World, worker: SimulatedWorker) -> bool:
    """Return whether the version just published was not the last one when publishing began."""
    if worker.process.point != "after kafka.commit_transaction":
        return False
    while world.cluster.mark_next():
        pass
    committed = world.cluster.group.offsets[TopicPartition(PURCHASES, 0)]
    published = int(committed.metadata.partition(":")[2])
    versions = sorted(map(int, world.database.hashes.get(prefix(0) + b"outbox", ())))
    # The next commit drops the previous one: there was none since publishing began.
    return versions[:1] < [published] < versions[-1:]


def a_part_is_published(world: World) -> None:
    """A worker dies after publishing one of two versions."""
    settle(world, two_versions_wait(world))


def a_part_is_published_and_the_store_lost(world: World) -> None:
    """A worker dies after publishing one of two versions, and the store is lost too."""
    worker = two_versions_wait(world)
    world.database.lose(-1, prefix(0))
    settle(world, worker)


def two_lines(world: World) -> SimulatedWorker:
    """Return a worker whose store has dead letters of purchases, and Kafka those of profiles."""
    worker = begun(world)
    kept = world.database.snapshot()
    world.is_late = lambda: True
    while len(world.database.hashes.get(prefix(0) + b"outbox", ())) < 3:
        for _ in range(3):
            bad(world, 1_100)
        reach(worker, COMMITTED)
    worker.crash()
    put_out(world, worker)
    world.is_late = lambda: False
    here = world.database.snapshot()
    world.database.restore(kept, prefix(0))
    for _ in range(3):
        world.send((PROFILES, 0, b"c", b"x"))
    other = world.start("a")
    reach(other, "between rounds", lambda: bool(other.worker and other.worker.ready))
    assert other.consumer is not None
    other.consumer.pause(TopicPartition(PURCHASES, 0))
    profiles = TopicPartition(PROFILES, 0)
    while world.cluster.group.offsets[profiles].offset < world.cluster.logs[profiles].end:
        other.step()
        while world.cluster.mark_next():
            pass
    other.crash()
    put_out(world, other)
    world.database.restore(here, prefix(0))
    return world.start("a")


def publish_a_part(world: World, worker: SimulatedWorker) -> None:
    """Let a worker publish some of the dead letters, then end it and the store."""
    log = world.cluster.logs[TopicPartition(DEAD_LETTERS, 0)]
    before = log.stable_end
    while log.stable_end == before or worker.process.point != "after kafka.commit_transaction":
        worker.step()
        while world.cluster.mark_next():
            pass
    assert len(world.database.hashes[prefix(0) + b"outbox"]) > 1
    worker.crash()
    put_out(world, worker)
    world.database.lose(-1, prefix(0))


def a_part_of_another_line_is_published(world: World) -> None:
    """The store's lineage differs from Kafka's offsets: ahead in one input, behind in another.

    Its dead letters take several transactions; after the first one the worker dies and the store is
    lost.
    """
    publish_a_part(world, two_lines(world))
    settle(world, world.start("a"))


def a_part_of_another_line_is_published_without_offsets(world: World) -> None:
    """The same, with the group's offsets lost before."""
    worker = two_lines(world)
    lose_offsets(world, 0)
    publish_a_part(world, worker)
    settle(world, world.start("a"))
