"""Scenarios in which an input has lost records, at its start or its end."""

import json
from collections.abc import Callable

from kafka import TopicPartition

from livesegments.consumers.data_loss import DataLossError
from livesegments.consumers.worker import IDLE_CHECK_SECONDS
from livesegments.contracts.topics import CHANGES, PURCHASES
from tests.simulation.harness import SimulatedWorker, World
from tests.simulation.logs import Log
from tests.simulation.scenario_helpers import (
    PATIENCE,
    RestlessError,
    move,
    prefix,
    put_out,
    settle,
    started,
)


def _end(world: World, worker: SimulatedWorker) -> None:
    put_out(world, worker)
    worker.crash()


def _purchases(world: World) -> Log:
    return world.cluster.logs[TopicPartition(PURCHASES, 0)]


def _refuses(world: World) -> None:
    """Start a worker that must exit and name the remedy; the next one accepts the loss."""
    worker = world.start("b")
    for _ in range(PATIENCE):
        worker.step(20)
        world.cluster.now += 0.3
        if worker.process.ended:
            break
    if not isinstance(worker.process.error, DataLossError):
        raise RestlessError(
            f"continues without the lost records, or ends by {worker.process.error!r}"
        )
    assert "--accept-loss" in str(worker.process.error)
    worker.process.error = None
    put_out(world, worker)
    world.loss_accepted = True


def _origins(world: World, start: int) -> set[str]:
    records, _ = world.cluster.logs[TopicPartition(CHANGES, 0)].read(start, 1_000)
    return {json.loads(record.value)["origin"] for record in records}


def deleted_unread_and_old(world: World) -> None:
    """The records deleted unread are older than any window by now: nothing is lost."""
    _end(world, started(world))
    for customer in ("gojee01", "gojee02", "gojee03"):
        move(world, customer, 50)
    _purchases(world).delete_before(_purchases(world).end - 1)
    world.inputs.day += 10
    move(world, "gojee04", 50)
    settle(world, world.start("a"))


def only_a_marker_deleted(world: World) -> None:
    """All records were read; beyond them only a transaction marker was deleted."""
    worker = started(world)
    _purchases(world).mark()
    settle(world, worker)
    world.cluster.now += 10
    worker.step(200)
    settle(world, worker)
    _end(world, worker)
    _purchases(world).delete_before(_purchases(world).end)
    settle(world, world.start("a"))


def a_marker_deleted_after_a_stop(world: World) -> None:
    """The same when the worker is asked to stop before it has been idle for long."""
    worker = started(world)
    _purchases(world).mark()
    assert worker.worker is not None
    assert worker.consumer is not None
    worker.worker._check_due = world.cluster.now + IDLE_CHECK_SECONDS
    while worker.consumer.position(_purchases(world).tp) < _purchases(world).end:
        worker.step()
    worker.worker.stop()
    worker.step(500)
    settle(world, worker)
    _purchases(world).delete_before(_purchases(world).end)
    settle(world, world.start("a"))


def deleted_unread(world: World) -> None:
    """The records deleted unread count; accepting the loss keeps the store."""
    _end(world, started(world))
    before = dict(world.database.hashes[prefix(0) + b"customers"])
    move(world, "gojee01", 9_000)
    _purchases(world).delete_before(_purchases(world).end)
    _refuses(world)
    settle(world, world.start("a"))
    if world.database.hashes[prefix(0) + b"customers"] != before:
        raise RestlessError("the store was emptied")


def nothing_left_for_a_lost_store(world: World) -> None:
    """All purchases and the store are lost: customers would silently lose their segments."""
    _end(world, started(world))
    _purchases(world).delete_before(_purchases(world).end)
    world.database.lose(-1, prefix(0))
    _refuses(world)
    told = world.cluster.logs[TopicPartition(CHANGES, 0)].end
    settle(world, world.start("a"))
    if _origins(world, told) != {"recovery"}:
        raise RestlessError(f"changes say {_origins(world, told)}, not recovery")


def one_left_for_a_lost_store(world: World) -> None:
    """The store is lost, and one purchase of a window is left."""
    _end(world, started(world))
    _purchases(world).delete_before(_purchases(world).end - 1)
    world.database.lose(-1, prefix(0))
    _refuses(world)
    settle(world, world.start("a"))


def idle_past_the_window(world: World) -> None:
    """The window of an idle partition has moved past all deleted records, by the wall clock."""
    world.clock = "wall"
    worker = started(world)
    move(world, "gojee01", 50)
    settle(world, worker)
    world.inputs.day += 10
    settle(world, worker)
    _end(world, worker)
    _purchases(world).delete_before(_purchases(world).end - 2)
    world.database.lose(-1, prefix(0))
    settle(world, world.start("a"))


def end_cut_off(world: World) -> None:
    """A log ends before the offset up to which it was read."""
    _end(world, started(world))
    _purchases(world).cut(_purchases(world).end - 2)
    _refuses(world)
    settle(world, world.start("a"))


def end_cut_off_and_store_lost(world: World) -> None:
    """Kafka's offsets, up to which a lost store is rebuilt, are beyond the log's end."""
    _end(world, started(world))
    _purchases(world).cut(_purchases(world).end - 2)
    world.database.lose(-1, prefix(0))
    _refuses(world)
    settle(world, world.start("a"))


def inputs_created_again(world: World) -> None:
    """A topic is deleted and created again, empty."""
    _end(world, started(world))
    _purchases(world).cut(0)
    del world.cluster.group.offsets[_purchases(world).tp]
    world.cluster.created_again.add(PURCHASES)
    _refuses(world)
    settle(world, world.start("a"))


LOG_PLANS: dict[str, Callable[[World], None]] = {
    "pause before a takeover": deleted_unread_and_old,
    "offsets past markers": only_a_marker_deleted,
    "offsets past markers at a stop": a_marker_deleted_after_a_stop,
    "unread records": deleted_unread,
    "a store with unread records gone is kept": deleted_unread,
    "a window of a lost store": one_left_for_a_lost_store,
    "no purchase left": nothing_left_for_a_lost_store,
    "origin of a recovery": nothing_left_for_a_lost_store,
    "wall clock of a lost store": idle_past_the_window,
    "ends of logs": end_cut_off,
    "replay within the log": end_cut_off_and_store_lost,
    "topics created again": inputs_created_again,
}
