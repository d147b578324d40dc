"""Retention of inactive customers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.topics import INPUTS
from livesegments.features.erasures import marker_key
from livesegments.features.record_codec import decode, encode
from livesegments.features.window import window
from tests.consumers.harness import (
    LAYOUT,
    RULES,
    SHAPE,
    STUDENT,
    STUDENTS,
    World,
    erasure,
    model,
    profile,
    purchase,
    segments,
)
from tests.consumers.test_processor_invariants import batches, customers, logged, shuffled_topics

KEPT = 7
"""Tiles of four days: two more than the window has."""
EMPTY, PAST = 21, 29
"""Days when the window of a day-1 customer is empty and when the retention period is over."""


def world(partitions: tuple[int, ...] = (0,)) -> World:
    return World(partitions, replace(RULES, retention_tiles=KEPT))


def pass_to(w: World, day: float) -> None:
    """Advance the clock with another customer's purchase, and run the sweep that is then due."""
    w.send(purchase("other", day), model=model())
    w.sweep(model())
    w.check()


def test_who_stays_away_is_unassigned_and_then_goes_with_the_state() -> None:
    w = world()
    w.send(purchase("c", 1), model=model())
    [entered] = w.changes
    pass_to(w, EMPTY)
    assert segments(w)[-1] == (entered.segment and entered.segment.id, None, "expiry")
    assert w.states["c"] is not None
    pass_to(w, PAST - 1.5)
    assert "c" in w.customers[0]
    changes = len(w.changes)
    pass_to(w, PAST)
    assert "c" not in w.customers[0]
    assert w.states["c"] is None
    assert len(w.changes) == changes, "it was reported when the segment was left"


def test_during_the_warm_up_who_stays_away_goes_too() -> None:
    w = world()
    w.send(purchase("c", 1), profile("known", 1, **STUDENT), purchase("known", 1))
    w.send(purchase("other", PAST))
    assert w.sweep(None)
    assert set(w.customers[0]) == {"known", "other"}
    assert not w.sweep(None), "once a tile"
    assert w.sweep(model()), "all are scored once there is a model"


def test_when_the_clock_jumps_the_change_is_told_and_no_state_is_left() -> None:
    w = world()
    w.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    w.send(profile("c", 2), model=model())
    pass_to(w, 100)
    assert [c.customer_id for c in w.changes if c.change == "unassigned"] == ["c"]
    assert w.states["c"] is None
    assert list(w.customers[0]) == ["other"]


def test_who_comes_back_is_assigned_anew() -> None:
    w = world()
    w.send(purchase("c", 1), model=model())
    pass_to(w, 100)
    w.send(purchase("c", 101), model=model())
    changes = [change for change in w.changes if change.customer_id == "c"]
    assert [change.change for change in changes] == ["assigned", "unassigned", "assigned"]
    assert changes[2].version > changes[1].version > changes[0].version
    assert w.states["c"] is not None
    assert w.stored("c")["counts"].sum() == 1
    w.check()


def test_of_who_never_had_a_segment_no_null_is_published() -> None:
    w = world()
    w.send(purchase("c", 1, -5.0), model=model())
    pass_to(w, PAST)
    assert "c" not in w.customers[0]
    assert "c" not in w.states


def test_a_profile_keeps_the_record_and_the_purchases_go() -> None:
    w = world()
    w.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    pass_to(w, 400)
    stored = w.stored("c")
    assert stored["age"] == 20
    assert not stored["counts"].any()
    assert not stored["cents"].any()
    assert stored["head"] == 0
    w.send(purchase("c", 401), model=model())
    assert segments(w)[-1] == (None, STUDENTS, "live"), "the profile is known from the start"
    w.check()


@pytest.mark.parametrize("consent", [{"profiling": False}, {"marketing": False}])
def test_a_refusal_stays_however_long_its_customer_is_away(consent: dict[str, bool]) -> None:
    w = world()
    w.send(profile("c", 0, consent=consent), purchase("c", 1), model=model())
    pass_to(w, 400)
    w.send(purchase("c", 401), model=model())
    if "profiling" in consent:
        assert not [change for change in w.changes if change.customer_id == "c"]
    else:
        assert w.changes[-1].consent.marketing is False


def test_a_deleted_profile_keeps_nobody_for_longer_than_a_purchase_would() -> None:
    w = world()
    w.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    w.send(profile("c", 12), model=model())
    pass_to(w, PAST)
    assert "c" not in w.customers[0]
    assert w.states["c"] is None


def test_of_who_is_suppressed_the_record_goes_and_the_suppression_stays() -> None:
    w = world()
    w.send(purchase("c", 1), model=model())
    w.send(erasure("c", 2, "suppress"), purchase("c", 6), model=model())
    pass_to(w, 6 + PAST)
    assert "c" not in w.customers[0]
    assert marker_key("c", RULES.group_id) in w.erasures[0]
    before = len(w.changes)
    w.send(purchase("c", 6 + PAST), model=model())
    assert len(w.changes) == before
    assert w.stored("c")["suppressed"]
    w.check()


def test_a_purchase_that_arrives_after_its_retention_makes_no_record() -> None:
    w = world()
    pass_to(w, PAST)
    w.send(purchase("c", 1), model=model())
    assert "c" not in w.customers[0]
    assert "c" not in w.states
    w.send(purchase("c", 5), model=model())
    assert "c" in w.customers[0], "of one tile later it is kept, though in no window"
    assert "c" not in w.states


def test_a_replay_leaves_the_null_of_who_was_published_to_the_sweep_after_it() -> None:
    w = world()
    w.send(purchase("c", 1), model=model())
    pass_to(w, EMPTY)
    assert w.states["c"] is not None
    record = w.stored("c")
    record["counts"], record["cents"], record["head"] = 0, 0, 0
    w.customers[0]["c"] = encode(record)[0]  # the result of recovering from a state alone
    w.send(profile("c", 1), purchase("other", 22), replay=True)
    assert "c" in w.customers[0]
    w.restart()
    pass_to(w, 60)
    assert "c" not in w.customers[0]
    assert w.states["c"] is None


events = st.one_of(
    st.builds(purchase, customers, st.floats(1, 120).map(round), st.sampled_from([20.0, -30.0])),
    st.builds(purchase, customers, st.floats(1, 120).map(round), st.sampled_from([1.0, 400.0])),
    st.builds(profile, st.sampled_from(["a", "b"]), st.floats(1, 120).map(round), age=st.just(30)),
    st.builds(
        erasure, customers, st.floats(1, 60).map(round), st.sampled_from(["erase", "suppress"])
    ),
)


def kept(w: World) -> dict[str, Any]:
    """The stored data per customer: the profile and the totals of the window."""
    found = {}
    for p, owned in w.owned.items():
        for name, blob in w.customers[p].items():
            record = decode([blob], SHAPE)
            at = window(record, LAYOUT.tile(owned.checkpoint.clock_us), LAYOUT)
            age = np.nan_to_num(record["age"]).tolist()
            found[name] = (at.purchases.tolist(), at.cents.tolist(), age)
    return found


@given(st.lists(events, min_size=1, max_size=30), st.data())
def test_who_is_kept_depends_on_the_log_and_the_clock_alone(
    sent: list[dict[str, Any]], data: st.DataObject
) -> None:
    outcomes = []
    for replayed in (False, False, True):
        w = world((0, 1))
        records = logged(w, list(sent))
        if replayed:
            records = [r for topic in INPUTS for r in records if r.topic == topic]
        else:
            records = shuffled_topics(records, data)
        for batch in batches(records, data):
            w.round(batch, None if replayed else model(), replay=replayed)
            if not replayed and data.draw(st.booleans()):
                w.sweep(model())
                w.check()
        w.restart()
        for p, owned in w.owned.items():
            w.owned[p] = replace(owned, checkpoint=replace(owned.checkpoint, rescore=1))
        w.sweep(model())
        w.check()
        outcomes.append(kept(w))
    assert outcomes[0] == outcomes[1] == outcomes[2]
