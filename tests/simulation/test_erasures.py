"""Pending work of erasures survives a recovery: regressions found by the simulation."""

import json
from collections.abc import Iterator
from random import Random

import pytest
from kafka import TopicPartition

from livesegments.app import processing_config
from livesegments.contracts.topics import CHANGES
from livesegments.features.record_codec import decode, encode
from tests.consumers.harness import erasure, purchase
from tests.simulation.harness import SETTINGS, World
from tests.simulation.invariants import faults
from tests.simulation.scenario_helpers import (
    erase_with_data_since,
    lose_offsets,
    prefix,
    put_out,
    reach,
    rest,
    settle,
)


@pytest.fixture
def world() -> Iterator[World]:
    """A world at rest, with a model."""
    with World(Random(1)).in_place() as world:
        for event in world.inputs.first():
            world.send(event)
        yield world


def test_the_null_of_an_erasure_survives_a_recovery_that_drops_the_outbox(world: World) -> None:
    worker = world.start("a")
    settle(world, worker)
    world.send(world.inputs.event(erasure("gojee00", world.inputs.day), partition=0))
    reach(worker, "after redis.evalsha")
    put_out(world, worker)
    worker.crash()
    lose_offsets(world, 0)
    settle(world, world.start("a"))
    assert faults(world) == []


def test_so_it_does_when_the_customer_had_no_segment_left(world: World) -> None:
    worker = world.start("a")
    settle(world, worker)
    world.inputs.day += 10  # all windows end
    for customer in ("gojee01", "gojee11"):
        at = world.inputs.day
        world.send(world.inputs.event(purchase(customer, at), partition=int(customer[-2])))
    settle(world, worker)
    world.send(world.inputs.event(erasure("gojee00", world.inputs.day), partition=0))
    reach(worker, "after redis.evalsha")
    put_out(world, worker)
    worker.crash()
    lose_offsets(world, 0)
    settle(world, world.start("a"))
    assert faults(world) == []


def test_an_erased_customer_leaves_nothing_in_a_rebuilt_store_without_a_model() -> None:
    with World(Random(1)).in_place() as world:
        world.send(world.inputs.event(purchase("gojee00", world.inputs.day), partition=0))
        world.send(world.inputs.event(erasure("gojee00", world.inputs.day), partition=0))
        worker = world.start("a")
        settle(world, worker)
        world.database.lose(-1, prefix(0))
        settle(world, worker)
        assert faults(world) == []


def changes_of(world: World, customer: str) -> list[str]:
    """The origins of a customer's published changes."""
    records, _ = world.cluster.logs[TopicPartition(CHANGES, 0)].read(0, 1_000)
    return [json.loads(each.value)["origin"] for each in records if each.key == customer.encode()]


def test_a_rollback_to_before_a_return_forgets_nobody_twice(world: World) -> None:
    worker = world.start("a")
    settle(world, worker)
    erase_with_data_since(world, worker)
    reach(worker, "after redis.evalsha")  # the commit of the null
    without_segment = world.database.snapshot()
    rest(world, worker)
    told = changes_of(world, "gojee00")
    assert told[-2:] == ["erasure", "erasure"]
    worker.crash()
    put_out(world, worker)
    world.database.restore(without_segment, prefix(0))
    settle(world, world.start("b"))
    assert changes_of(world, "gojee00") == told
    assert faults(world) == []


@pytest.mark.parametrize("lost", [False, True])
def test_the_null_comes_where_offsets_are_lost_before_it_is_published(
    world: World, lost: bool
) -> None:
    worker = world.start("a")
    settle(world, worker)
    erase_with_data_since(world, worker)
    reach(worker, "after redis.evalsha")  # the commit of the null
    put_out(world, worker)
    worker.crash()
    lose_offsets(world, 0)
    if lost:
        world.database.lose(-1, prefix(0))
    settle(world, world.start("b"))
    assert changes_of(world, "gojee00")[-2:] == ["erasure", "erasure"]
    assert faults(world) == []


def test_purchases_from_before_an_erasure_are_found_where_no_window_has_them(world: World) -> None:
    worker = world.start("a")
    settle(world, worker)
    world.send(world.inputs.event(erasure("gojee00", world.inputs.day), partition=0))
    for customer in ("gojee00", "gojee01"):
        world.inputs.day += 2
        world.send(world.inputs.event(purchase(customer, world.inputs.day), partition=0))
    settle(world, worker)
    assert faults(world) == []

    shape = processing_config(SETTINGS).record_shape
    stored = world.database.hashes[prefix(0) + b"customers"]
    records = decode([stored[b"gojee00"]], shape)
    [head] = records["head"].tolist()
    records["counts"][0, (head - 3) % SETTINGS.tiles] = 1
    [stored[b"gojee00"]] = encode(records)
    [fault] = faults(world)
    assert fault.startswith("erasures")
