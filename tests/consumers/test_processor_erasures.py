"""Processing of erasure requests, live and in a replay."""

from dataclasses import replace

import numpy as np
import pytest

from livesegments.consumers.partition_state import start_sweep
from livesegments.contracts.topics import ERASURES
from livesegments.features.erasures import marker_key
from livesegments.features.record_codec import NEVER, encode
from livesegments.store.checkpoint import AFTER_RECOVERY
from tests.consumers.harness import (
    DAY,
    RULES,
    STUDENT,
    STUDENTS,
    World,
    erasure,
    model,
    profile,
    purchase,
    segments,
)

REFUSED = {"profiling": False}


def test_an_erasure_unassigns_and_leaves_nothing_but_a_null() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    world.send(erasure("c", 2), model=model())
    assert segments(world)[1:] == [(STUDENTS, None, "erasure")]
    cause = world.changes[-1].cause
    assert cause is not None
    assert (cause.topic, cause.event_id) == (ERASURES, "c-2")
    assert world.states == {"c": None}
    assert world.customers[0] == {}
    assert world.owned[0].estimators[1].statistics.members.sum() == 0
    assert list(world.erasures[0]) == [marker_key("c", RULES.group_id)]
    world.check()


def test_an_erased_event_that_arrives_later_does_not_count() -> None:
    world = World()
    world.send(erasure("c", 2), model=model())
    assert world.states == {"c": None}
    tally = world.send(purchase("c", 1), profile("c", 1, **STUDENT), model=model())
    assert tally.erased == 2
    assert world.customers[0] == {}
    assert world.changes == []
    world.check()


@pytest.mark.parametrize("together", [False, True])
def test_what_a_customer_does_after_an_erasure_counts_as_somebody_news(together: bool) -> None:
    world = World()
    before = [profile("c", 0, **STUDENT), purchase("c", 1, 20.0)]
    since = [purchase("c", 9, 30.0), profile("c", 9, **STUDENT)]
    world.send(*before, *(() if together else since), model=model())
    world.sweep(model())
    world.send(erasure("c", 2), *(since if together else ()), model=model())
    assert segments(world)[1:] == [(STUDENTS, None, "erasure")]
    assert world.states == {"c": None}
    assert world.stored("c")["cents"].sum() == 3_000
    assert world.stored("c")["age"] == 20
    world.check()
    world.restart()
    world.sweep(model())
    assert segments(world)[2:] == [(None, STUDENTS, "erasure")]
    assert world.changes[-1].cause is None
    state = world.states["c"]
    assert state is not None
    assert state.segment is not None
    assert world.owned[0].checkpoint.rescore == 0
    world.check()


def test_who_buys_again_right_after_an_erasure_waits_for_no_sweep() -> None:
    world = World()
    world.send(purchase("c", 1), purchase("c", 9), model=model())
    world.send(erasure("c", 2), model=model())
    world.send(purchase("c", 10), model=model())
    assert segments(world)[-1][::2] == (None, "live")
    told = len(world.changes)
    world.sweep(model())
    assert len(world.changes) == told
    world.check()


def test_a_request_that_erases_nothing_new_ends_no_state() -> None:
    world = World()
    world.send(erasure("c", 2, "suppress"), erasure("c", 2, "restore"), model=model())
    world.send(purchase("c", 9), model=model())
    for repeated in ("erase", "restore"):
        world.send(erasure("c", 2, repeated), model=model())
    assert len(world.changes) == 1
    assert world.states["c"] is not None
    assert world.owned[0].checkpoint.rescore == 0
    world.check()


def test_who_comes_back_during_a_sweep_is_assigned_by_one_more() -> None:
    world, customers = World(), "abcdefgh"  # in several chunks of a sweep
    for customer in customers:
        world.send(purchase(customer, 1), purchase(customer, 9), model=model())
    world.owned[0] = start_sweep(world.owned[0], 1, world.config, 0)
    world.round(model=model())
    assert world.owned[0].sweep is not None
    world.send(*(erasure(customer, 2) for customer in customers), model=model())
    assert world.states == dict.fromkeys(customers)
    world.sweep(model())
    assert None not in world.states.values()
    assert world.owned[0].checkpoint.rescore == 0
    world.check()


def test_a_null_that_the_broker_lost_is_published_again_after_the_recovery() -> None:
    world = World()
    world.send(purchase("c", 1), purchase("c", 9), model=model())
    world.sweep(model())
    [published] = world.stored("c")
    world.send(erasure("c", 2), model=model())
    # As a recovery leaves it: the last published state, and the record as it is in the store.
    record = world.stored("c")
    record["segment"], record["version"] = published["segment"], published["version"]
    [world.customers[0]["c"]] = encode(record)
    world.restart()
    world.sweep(model())
    assert world.states["c"] is not None
    assert [change.change for change in world.changes] == [
        "assigned",
        *["unassigned"] * 2,
        "assigned",
    ]


def test_an_erased_record_does_not_tell_whether_the_erasure_or_the_purchase_came_first() -> None:
    one, other, together = World(), World(), World()
    one.send(purchase("c", 9), model=model())
    one.send(erasure("c", 2), model=model())
    other.send(erasure("c", 2), model=model())
    other.send(purchase("c", 9), model=model())
    together.send(purchase("c", 9), erasure("c", 2), model=model())
    for world in (one, other, together):
        world.sweep(model())
        assert not world.stored("c")["erased"][0]
        for name in ("head", "counts", "cents", "profile_updated", "vector", "suppressed"):
            assert world.stored("c")[name].tolist() == one.stored("c")[name].tolist()


def test_an_erasure_of_somebody_unknown_publishes_its_null() -> None:
    world = World()
    world.send(erasure("nobody", 2))
    assert world.states == {"nobody": None}
    assert world.customers[0] == {}
    world.check()


def test_an_erasure_in_the_batch_of_a_first_purchase_leaves_nothing() -> None:
    world = World()
    world.send(purchase("c", 1), profile("c", 1, **STUDENT), erasure("c", 2), model=model())
    assert world.changes == []
    assert world.states == {"c": None}
    assert world.customers[0] == {}


def test_a_suppressed_customer_is_not_assigned_by_events_or_sweeps_until_restored() -> None:
    world = World()
    world.send(purchase("c", 1), model=model())
    world.send(erasure("c", 2, "suppress"), model=model())
    assert segments(world)[1:] == [(segments(world)[0][1], None, "erasure")]
    world.send(purchase("c", 6), purchase("other", 6), model=model())
    world.restart()
    world.sweep(model())
    world.sweep(model(2, turn=2))
    assert [c.customer_id for c in world.changes].count("c") == 2
    assert world.owned[0].estimators[2].statistics.members.sum() == 1
    world.send(erasure("c", 9, "restore"), model=model(2, turn=2))
    world.send(purchase("c", 11.9), model=model(2, turn=2))
    assert [c.customer_id for c in world.changes].count("c") == 2, "of the time before the restore"
    world.send(purchase("c", 12), model=model(2, turn=2))
    assert world.changes[-1].customer_id == "c"
    assert world.changes[-1].change == "assigned"
    world.check()


def test_a_restore_of_who_was_not_suppressed_changes_nothing() -> None:
    world = World()
    world.send(purchase("c", 1), model=model())
    before = world.stored("c")
    world.send(erasure("c", 2, "restore"), model=model())
    assert encode(world.stored("c")) == encode(before)
    assert len(world.changes) == 1
    state = world.states["c"]
    assert state is not None
    world.check()


def test_a_profile_after_an_erasure_is_kept_though_nothing_was_bought() -> None:
    world = World()
    world.send(purchase("c", 1), model=model())
    world.send(erasure("c", 2), profile("c", 9, **STUDENT), model=model())
    assert segments(world)[-1][1:] == (None, "erasure")
    assert world.states == {"c": None}
    world.sweep(model())
    assert world.states == {"c": None}
    assert world.stored("c")["profile_updated"] == 9 * DAY
    assert not world.stored("c")["erased"][0]
    world.check()


def test_of_who_is_erased_and_whose_profile_was_deleted_later_the_state_is_null() -> None:
    for erased_first in (True, False):
        world = World()
        world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
        deletion, request = profile("c", 9), erasure("c", 2)
        first, second = (request, deletion) if erased_first else (deletion, request)
        world.send(first, model=model())
        world.send(second, model=model())
        assert world.states["c"] is None
        assert world.changes[-1].change == "unassigned"
        told = len(world.changes)
        assert world.customers[0] == {}
        world.sweep(model(2, turn=1))
        assert len(world.changes) == told
        world.check()
        world.send(profile("c", 10, **STUDENT), purchase("c", 11), model=model(2, turn=1))
        assert segments(world)[-1] == (None, STUDENTS, "live")
        world.check()


def test_an_erased_refusal_is_kept_without_a_state_and_holds_in_later_tiles() -> None:
    for requests in (
        [profile("c", 0, **STUDENT, consent=REFUSED), purchase("c", 1), erasure("c", 2)],
        [purchase("c", 1), erasure("c", 2), profile("c", 3, **STUDENT, consent=REFUSED)],
        [erasure("c", 2), profile("c", 0, **STUDENT, consent=REFUSED), purchase("c", 1)],
        [
            erasure("c", 2, "suppress"),
            profile("c", 5, **STUDENT, consent=REFUSED),
            erasure("c", 6, "restore"),
        ],
    ):
        world = World()
        for request in requests:
            world.send(request, model=model())
        assert world.states == {"c": None}
        assert np.isnan(world.stored("c")["age"][0])
        assert not world.stored("c")["version"].any()
        world.send(purchase("c", 9), model=model())
        world.sweep(model(2, turn=1))
        assert not world.changes or world.changes[-1].segment is None
        assert world.states == {"c": None}
        world.check()
        world.send(profile("c", 10, consent={"profiling": True}), model=model(2, turn=1))
        assert world.changes[-1].change == "assigned"


def test_who_refuses_marketing_is_stated_as_such_after_an_erasure() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent={"marketing": False}), purchase("c", 1))
    world.send(erasure("c", 2), model=model())
    assert world.states == {"c": None}
    world.send(purchase("c", 9), model=model())
    state = world.states["c"]
    assert state is not None
    assert state.segment is not None
    assert state.consent.marketing is False
    world.check()


def test_a_replay_publishes_nothing_and_leaves_the_null_to_the_sweep_after_it() -> None:
    world = World()
    tally = world.send(purchase("c", 1), purchase("d", 1), erasure("c", 2), replay=True)
    assert world.commits[-1].entry is None
    assert tally.changes == []
    assert world.stored("c")["erased"][0]
    assert world.stored("c")["profile_updated"] == NEVER
    world.sweep(model())
    assert world.states["c"] is None
    assert list(world.customers[0]) == ["d"]
    world.check()


def test_a_replayed_erasure_takes_back_what_was_published_in_the_sweep_after_it() -> None:
    world = World()
    world.send(purchase("c", 1), model=model())
    world.send(erasure("c", 2), replay=True)
    assert len(world.changes) == 1
    owned = world.owned[0]
    world.owned[0] = replace(owned, checkpoint=replace(owned.checkpoint, rescore=AFTER_RECOVERY))
    world.sweep(model())
    assert segments(world)[1:] == [(segments(world)[0][1], None, "erasure")]
    assert world.states["c"] is None
    assert world.customers[0] == {}
    assert world.owned[0].checkpoint.rescore == 0
    world.check()


def test_a_replayed_erasure_of_who_came_back_leaves_no_null_due() -> None:
    world = World()
    world.send(erasure("c", 2), replay=True)
    world.send(purchase("c", 9), replay=True)
    world.sweep(model())
    assert not world.stored("c")["erased"][0]
    assert world.changes[-1].change == "assigned"
    world.check()


def test_a_replayed_erasure_takes_nothing_back_of_who_came_back_since() -> None:
    world = World()
    world.send(erasure("c", 2), purchase("c", 9), model=model())
    world.send(erasure("c", 3), replay=True)
    owned = world.owned[0]
    world.owned[0] = replace(owned, checkpoint=replace(owned.checkpoint, rescore=AFTER_RECOVERY))
    world.sweep(model())
    assert segments(world)[1:] == []
    world.check()


def test_an_erasure_that_nobody_has_decided_publishes_its_null_after_a_recovery() -> None:
    world = World()
    world.send(purchase("c", 1), purchase("c", 9), model=model())
    world.sweep(model())
    world.send(erasure("c", 2), replay=True, undecided=True)
    owned = world.owned[0]
    world.owned[0] = replace(owned, checkpoint=replace(owned.checkpoint, rescore=AFTER_RECOVERY))
    world.sweep(model())
    assert [change.origin for change in world.changes[1:]] == ["erasure", "erasure"]
    assert [change.change for change in world.changes[1:]] == ["unassigned", "assigned"]
    world.check()


def test_a_purchase_is_not_named_as_what_ended_a_state_from_before_an_erasure() -> None:
    world = World()
    world.send(purchase("c", 1), purchase("c", 9), model=model())
    world.send(erasure("c", 2), replay=True, undecided=True)
    world.send(purchase("c", 10), model=model())
    assert segments(world)[-1][1:] == (None, "erasure")
    assert world.changes[-1].cause is None
    world.sweep(model())
    assert world.states["c"] is not None
    world.check()
