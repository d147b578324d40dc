"""Scenarios that need one protection of the protocol each."""

from collections.abc import Callable
from functools import partial

from kafka import TopicPartition

from livesegments.contracts.topics import CHANGES, PURCHASES
from tests.consumers.harness import erasure, profile, purchase
from tests.simulation.breakage import DAY_US
from tests.simulation.cluster import PARTITIONS
from tests.simulation.database import Snapshot
from tests.simulation.harness import World
from tests.simulation.log_plans import LOG_PLANS
from tests.simulation.outbox_plans import (
    a_part_is_published,
    a_part_is_published_and_the_store_lost,
    a_part_of_another_line_is_published,
    a_part_of_another_line_is_published_without_offsets,
    outputs_fail_for_long,
)
from tests.simulation.scenario_helpers import (
    RestlessError,
    begun,
    erase_with_data_since,
    lose_offsets,
    move,
    prefix,
    put_out,
    reach,
    rest,
    settle,
    started,
)
from tests.simulation.store_plans import STORE_PLANS

COMMITTED = "after redis.evalsha"
SENDING = "before kafka.send_offsets"
COMMITTING = "before redis.pipeline of evalsha"


def version(stored: Snapshot, partition: int = 0) -> int:
    """Return the version of a partition's last commit."""
    return int(stored[0][prefix(partition) + b"progress"][b"version"])


def same_number_again(world: World) -> None:
    """A store that lost a commit reaches the same version under another owner."""
    zombie = started(world)
    # A commit without output, and the next: within a second of the last offsets.
    seg = zombie.worker
    assert seg is not None
    reach(
        zombie,
        "before kafka.poll",
        lambda: world.cluster.now - seg._publications._offsets_at < 0.5 and not _waits(world, 0),
    )
    move(world, "gojee00", 0.01)
    reach(zombie, COMMITTED)
    assert not world.database.hashes.get(prefix(0) + b"outbox")
    move(world, "gojee01", 0.01)
    reach(zombie, COMMITTING)
    put_out(world, zombie)
    was = version(world.database.snapshot())
    world.database.lose(1, prefix(0))
    owner = world.start("b")
    reach(owner, COMMITTED, lambda: version(world.database.snapshot()) == was)
    zombie.step(200)
    settle(world, owner, zombie)


def another_line(world: World) -> None:
    """A store comes back with a higher version than Kafka's, but from another lineage."""
    worker = begun(world)
    before = world.database.snapshot()
    move(world, "gojee00", 9_000)
    reach(worker, COMMITTED, lambda: _waits(world, 0))
    worker.crash()
    put_out(world, worker)
    for _ in range(20):  # failed takeovers raise the version
        worker = world.start("a")
        was = version(world.database.snapshot())
        raised = partial(_is_above, world, was)
        reach(worker, COMMITTED, raised)
        worker.crash()
        put_out(world, worker)
    ahead = world.database.snapshot()
    world.database.restore(before)
    worker = world.start("a")
    settle(world, worker)
    world.inputs.day += 1
    move(world, "gojee01", 90_000)
    move(world, "gojee02", 0.01)
    settle(world, worker)
    worker.crash()
    put_out(world, worker)
    assert version(ahead) > version(world.database.snapshot())
    world.database.restore(ahead)
    settle(world, world.start("a"))


def _is_above(world: World, was: int) -> bool:
    return version(world.database.snapshot()) > was


def publishes_after_the_group_went_on(world: World) -> None:
    """A worker learns between its commit and its transaction that it was removed from the group."""
    zombie = begun(world)
    move(world, "gojee00", 9_000)
    reach(zombie, COMMITTED, lambda: _waits(world, 0))
    put_out(world, zombie)
    owner = world.start("b")
    settle(world, owner)
    put_out(world, zombie, told=True)
    zombie.step(200)
    settle(world, owner, zombie)


def takes_over_when_it_is_out(world: World) -> None:
    """A worker learns of its removal right after its poll, and is asked to stop."""
    first = begun(world)
    move(world, "gojee00", 9_000)
    reach(first, COMMITTED, lambda: _waits(world, 0))
    first.crash()
    put_out(world, first)
    zombie = world.start("a")
    polls = 0
    while polls < 2 or not (zombie.consumer and zombie.consumer.assignment()):
        zombie.step()
        polls += zombie.process.point == "after kafka.poll" and zombie.worker is not None
        if zombie.process.point == "between rounds":
            polls = 0  # a loop iteration polls twice
    put_out(world, zombie, told=True)
    reach(zombie, SENDING)
    owner = world.start("b")
    owner.step(600)
    assert zombie.worker is not None
    zombie.worker.stop()
    zombie.step(200)
    settle(world, owner)


def publishes_before_its_new_partitions_are_known(world: World) -> None:
    """A worker has the new generation, while its old partitions already belong to another."""
    zombie = begun(world)
    for partition in range(PARTITIONS):
        move(world, f"gojee{partition}0", 9_000, partition)
    reach(zombie, COMMITTED, lambda: all(_waits(world, p) for p in range(PARTITIONS)))
    owner = world.start("b")
    reach(owner, "after kafka.poll", lambda: bool(owner.consumer and owner.consumer.assignment()))
    assert zombie.consumer is not None
    zombie.consumer.synced = False
    for _ in range(1_000):
        zombie.step()
        generation = zombie.consumer.group_metadata().generation_id
        if generation == world.cluster.group.generation and zombie.process.point == SENDING:
            break
    owner.step(600)
    zombie.consumer.synced = True
    zombie.step(200)
    settle(world, owner, zombie)


def _waits(world: World, partition: int) -> bool:
    return bool(world.database.hashes.get(prefix(partition) + b"outbox"))


def offsets_on_their_way(world: World) -> None:
    """A partition is taken over while its last owner's transaction is about to be committed."""
    zombie = begun(world)
    move(world, "gojee00", 9_000)
    reach(zombie, "before kafka.commit_transaction")
    put_out(world, zombie)
    owner = world.start("b")
    for _ in range(300):
        owner.step()
    settle(world, zombie, owner)


def markers_on_their_way(world: World) -> None:
    """The store is lost when a transaction's offsets are visible and its records are not yet."""
    worker = begun(world)
    move(world, "gojee00", 9_000)
    world.while_waiting = lambda: None
    reach(worker, "after kafka.commit_transaction")
    [transaction] = world.cluster.transactions()
    assert any(log and log.tp.topic == CHANGES for log in transaction.unmarked)
    world.cluster.mark(transaction, None)
    worker.crash()
    put_out(world, worker)
    for partition in range(PARTITIONS):
        world.database.lose(-1, prefix(partition))
    owner = world.start("b")
    owner.step(300)
    settle(world, owner)


def a_decision_in_the_outbox(world: World) -> None:
    """The first segment of a customer is dropped with the outbox."""
    worker = begun(world)
    move(world, "gojee09", 9_000)
    reach(worker, COMMITTED, lambda: _waits(world, 0))
    worker.crash()
    put_out(world, worker)
    lose_offsets(world, 0)
    settle(world, world.start("a"))


def a_consent_in_the_outbox(world: World) -> None:
    """The state with a withdrawn consent is dropped with the outbox."""
    worker = begun(world)
    for marketing in (True, False):
        told = profile("gojee01", world.inputs.day, age=33, consent={"marketing": marketing})
        world.send(world.inputs.event(told, partition=0))
        if marketing:
            settle(world, worker)
    reach(worker, COMMITTED)
    worker.crash()
    put_out(world, worker)
    lose_offsets(world, 0)
    settle(world, world.start("a"))


def only_the_topics_are_left(world: World) -> None:
    """Store and offsets are lost at once, and a customer leaves who arrived at a high version."""
    worker = begun(world)
    for customer in ("gojee01", "gojee02", "gojee03", "gojee04") * 4:
        move(world, customer, 0.01)
        settle(world, worker)
    move(world, "gojee09", 9_000)
    settle(world, worker)
    put_out(world, worker)
    worker.crash()
    world.database.lose(-1)
    for partition in range(PARTITIONS):
        lose_offsets(world, partition)
    worker = world.start("a")
    settle(world, worker)
    world.send(world.inputs.event(erasure("gojee09", world.inputs.day), partition=0))
    settle(world, worker)


def lost_without_traffic(world: World) -> None:
    """The store loses commits while no input arrives."""
    worker = begun(world)
    kept = world.database.snapshot()
    move(world, "gojee10", 0.01, partition=1)
    rest(world, worker)
    # Another worker may have loaded the script on the server that lost the commits.
    scripts = world.database.scripts.copy()
    world.database.restore(kept, prefix(1))
    world.database.scripts |= scripts
    settle(world, worker)


def lost_beside_traffic(world: World) -> None:
    """The store loses commits of one partition while input arrives in another all the time."""
    worker = begun(world)
    kept = world.database.snapshot()
    move(world, "gojee10", 0.01, partition=1)
    rest(world, worker)
    was = version(world.database.snapshot(), 1)
    scripts = world.database.scripts.copy()
    world.database.restore(kept, prefix(1))
    world.database.scripts |= scripts
    for _ in range(50):
        world.send((PURCHASES, 0, b"gojee00", b"{"))  # moves no centroid, which would begin a sweep
        reach(worker, "between rounds")
        world.cluster.now += 0.3
    is_recovered = version(world.database.snapshot(), 1) > was
    settle(world, worker)
    if not is_recovered:
        raise RestlessError("does not come to rest: partition 1 is not recovered")


def a_clock_that_is_behind(world: World) -> None:
    """The only worker's wall clock is two years behind, while a customer buys."""
    wrong = begun(world)
    wrong.clock_error_us = -730 * DAY_US
    move(world, "gojee00", 9_000)
    wrong.step(1_000)
    owner = world.start("b")
    settle(world, owner, wrong)


def two_clocks_that_are_behind(world: World) -> None:
    """The only worker's clock and the store's are two years behind; the broker's is right."""
    worker = begun(world)
    world.store_clock_error_us = worker.clock_error_us = -730 * DAY_US
    move(world, "gojee00", 9_000)
    worker.step(1_000)
    world.store_clock_error_us = worker.clock_error_us = 0
    settle(world, worker)


def a_clock_that_jumps(world: World) -> None:
    """A worker's wall clock jumps two years ahead, and back, between a read and its commit."""
    world.clock = "wall"
    worker = begun(world)
    move(world, "gojee00", 9_000)
    bought = TopicPartition(PURCHASES, 0)
    end, consumer = world.cluster.logs[bought].end, worker.consumer
    assert consumer is not None
    # The read of the batch, not the check for another writer.
    reach(worker, "before redis.pipeline of hmget", lambda: consumer.position(bought) == end)
    worker.clock_error_us = 730 * DAY_US
    reach(worker, COMMITTED)
    worker.clock_error_us = 0
    settle(world, worker)


def a_purchase_far_ahead(world: World) -> None:
    """A purchase is dated two years ahead, as is its record, by its sender's clock."""
    worker = begun(world)
    at = world.inputs.day + 730
    topic, partition, key, value = world.inputs.event(purchase("gojee00", at, 90.0), 0)
    log = world.cluster.logs[TopicPartition(topic, partition)]
    log.append(key, value, [], round(at * DAY_US / 1_000), timestamp_type=0)
    settle(world, worker)
    worker.crash()
    put_out(world, worker)
    world.database.lose(-1, prefix(0))
    settle(world, world.start("b"))


def a_published_change_is_lost(world: World) -> None:
    """A store loses a change that is published: its place is that of the change before."""
    worker = begun(world)
    before = world.database.snapshot()
    move(world, "gojee00", 9_000)
    rest(world, worker)
    worker.crash()
    put_out(world, worker)
    world.database.restore(before, prefix(0))
    settle(world, world.start("b"))


def only_a_refusal_is_left(world: World) -> None:
    """A customer whose refusal outlived an erasure buys again, and then stays away for good."""
    worker = begun(world)
    day, refused = world.inputs.day, {"marketing": False}
    for event in (profile("gojee00", day, consent=refused), erasure("gojee00", day)):
        world.send(world.inputs.event(event, partition=0))
        settle(world, worker)
    for customer in ("gojee00", "gojee01"):
        world.inputs.day += 20  # longer than the retention
        move(world, customer, 50)
        rest(world, worker)


def erased_with_data_since(world: World) -> None:
    """An erasure arrives when a purchase from after it is known."""
    worker = begun(world)
    erase_with_data_since(world, worker)
    rest(world, worker)


PLANS: dict[str, Callable[[World], None]] = {
    "nonce": same_number_again,
    "seen": another_line,
    "membership at poll": publishes_after_the_group_went_on,
    "generation at poll": takes_over_when_it_is_out,
    "assignment at poll": publishes_before_its_new_partitions_are_known,
    "stable offsets": offsets_on_their_way,
    "uncommitted end": markers_on_their_way,
    "consent stated again": a_consent_in_the_outbox,
    "scoring after a recovery": a_decision_in_the_outbox,
    "version above all published": only_the_topics_are_left,
    "look at the store when idle": lost_without_traffic,
    "look at the store of idle partitions": lost_beside_traffic,
    **STORE_PLANS,
    "nothing is added to an outbox that waits": outputs_fail_for_long,
    "oldest versions first": a_part_is_published,
    "metadata as of the version": a_part_is_published,
    "offsets as of the version": a_part_is_published_and_the_store_lost,
    "offsets not before Kafka's": a_part_of_another_line_is_published,
    "dead letters kept have their offsets": a_part_of_another_line_is_published,
    "dead letters of a replay go together": a_part_of_another_line_is_published_without_offsets,
    **LOG_PLANS,
    "clocks compared": a_clock_that_is_behind,
    "newest purchase compared": two_clocks_that_are_behind,
    "bound of the wall clock": a_clock_that_jumps,
    "bound of a partition's clock": a_purchase_far_ahead,
    "places in a recovery": a_published_change_is_lost,
    "a segment again after an erasure": erased_with_data_since,
    "a null state beside a refusal": only_a_refusal_is_left,
}
