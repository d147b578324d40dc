"""Relevance of records deleted from the inputs, inferred from the remaining logs."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from kafka import TopicPartition

from livesegments.app import processing_config
from livesegments.consumers.data_loss import DataLossError, LossCheck
from livesegments.consumers.log_reader import LogReader
from livesegments.consumers.recovery.ownership import Committed, Extent
from livesegments.contracts.topics import PURCHASES
from livesegments.store.checkpoint import Checkpoint, Offsets
from tests.consumers.harness import DAY, purchase
from tests.simulation.harness import SETTINGS, World
from tests.simulation.logs import Log

FIRST_DAY = 20_000.0


@pytest.fixture
def world() -> Iterator[World]:
    with World(Random(1)).in_place() as world:
        yield world


def _log(world: World) -> Log:
    return world.cluster.logs[TopicPartition(PURCHASES, 0)]


def _send(world: World, *days: float, late: float = 0) -> None:
    """Send a purchase on each of some days, for purchases made a number of days earlier."""
    for day in days:
        world.inputs.day = day
        at = world.inputs.day - late
        world.send(
            world.inputs.event(purchase("gojee00", at, event_id=f"{day}-{late}"), partition=0)
        )


def _unread(world: World, *, event_clock: bool = True, now_day: float = FIRST_DAY) -> bool:
    """Return whether the deletion of unread purchases is harmless."""
    log = _log(world)
    how = replace(processing_config(SETTINGS), event_clock=event_clock)
    inputs = Extent(Offsets(log.start, 0, 0), Offsets(log.end, 0, 0), "")
    with LogReader({"client_id": "the test"}) as reader:
        check = LossCheck(reader, how, lambda: round(now_day * DAY), lambda: None)
        try:
            check.check_unread(0, inputs, Checkpoint())
        except DataLossError:
            return False
        return True


def test_what_arrived_before_the_window_of_the_logs_end_is_no_loss(world: World) -> None:
    _send(world, FIRST_DAY, FIRST_DAY, FIRST_DAY + 5)
    _log(world).delete_before(1)
    assert _unread(world)


def test_what_may_have_arrived_within_it_is(world: World) -> None:
    _send(world, FIRST_DAY, FIRST_DAY + 2, FIRST_DAY + 5)
    _log(world).delete_before(1)
    assert not _unread(world)


def test_a_late_event_that_is_left_says_nothing_of_those_before_it(world: World) -> None:
    _send(world, FIRST_DAY + 5)
    _send(world, FIRST_DAY + 5, late=5)
    _log(world).delete_before(1)
    assert not _unread(world)


def test_nor_does_one_with_a_time_that_its_producer_set(world: World) -> None:
    for day in (FIRST_DAY + 5, FIRST_DAY, FIRST_DAY + 5):
        event = purchase("gojee00", day, event_id=str(_log(world).end))
        _, _, key, value = world.inputs.event(event, partition=0)
        _log(world).append(key, value, [], round(day * DAY / 1_000), timestamp_type=0)
    _log(world).delete_before(1)
    assert not _unread(world)


def test_late_events_at_the_end_do_not_hide_how_far_the_clock_is(world: World) -> None:
    _send(world, FIRST_DAY, FIRST_DAY, FIRST_DAY + 5)
    _send(world, FIRST_DAY + 5, late=4)
    _log(world).delete_before(1)
    assert _unread(world)


def test_where_no_purchase_is_left_nothing_is_known(world: World) -> None:
    _send(world, FIRST_DAY)
    _log(world).delete_before(1)
    assert not _unread(world, event_clock=False, now_day=FIRST_DAY + 100)


def test_the_wall_clock_moves_the_window_where_it_is_the_clock(world: World) -> None:
    _send(world, FIRST_DAY, FIRST_DAY)
    _log(world).delete_before(1)
    assert not _unread(world, now_day=FIRST_DAY + 5)
    assert _unread(world, event_clock=False, now_day=FIRST_DAY + 5)


@pytest.mark.parametrize("topic", [1, 2], ids=["profiles", "erasures"])
def test_profiles_and_erasures_count_for_good(topic: int) -> None:
    starts = [0, 0, 0]
    starts[topic] = 1
    inputs = Extent(Offsets(*starts), Offsets(9, 9, 9), "")
    with World(Random(1)).in_place(), LogReader({"client_id": "the test"}) as reader:
        check = LossCheck(reader, processing_config(SETTINGS), lambda: 0, lambda: None)
        with pytest.raises(DataLossError, match="begins at offset 1"):
            check.check_unread(0, inputs, Checkpoint())
        with pytest.raises(DataLossError, match="counts for good"):
            check.check_window(0, inputs, lambda: False)


def test_offsets_beyond_an_end_are_named_the_stores_and_kafkas() -> None:
    inputs = Extent(Offsets(0, 0, 0), Offsets(9, 9, 9), "")
    with World(Random(1)).in_place(), LogReader({"client_id": "the test"}) as reader:
        check = LossCheck(reader, processing_config(SETTINGS), lambda: 0, lambda: None)
        check.check_ends(0, inputs, Checkpoint(purchases=9), Committed(Offsets(9, 9, 9), "", 1))
        with pytest.raises(DataLossError, match=r"purchases\.v1 ends at offset 9, and was read up"):
            check.check_ends(0, inputs, Checkpoint(purchases=10), None)
        with pytest.raises(DataLossError, match="erasures"):
            check.check_ends(0, inputs, None, Committed(Offsets(9, 9, 10), "", 1))
