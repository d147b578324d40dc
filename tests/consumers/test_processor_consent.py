"""Consent: no segment without consent to profiling; each output states consent to marketing."""

import pytest

from livesegments.contracts.segments import SegmentState
from livesegments.contracts.topics import PROFILES
from tests.consumers.harness import (
    DAY,
    RETIREE,
    STUDENT,
    STUDENTS,
    World,
    erasure,
    model,
    profile,
    purchase,
    segments,
)

REFUSED = {"marketing": False}
GIVEN = {"marketing": True}


def state(world: World, customer: str = "c") -> SegmentState:
    found = world.states[customer]
    assert found is not None
    return found


@pytest.mark.parametrize("marketing", [True, False, None])
def test_the_consent_to_marketing_goes_with_every_change_and_state(marketing: bool | None) -> None:
    consent = {} if marketing is None else {"consent": {"marketing": marketing}}
    world = World()
    world.send(profile("c", 0, **STUDENT, **consent))
    world.send(purchase("c", 1), model=model())
    assert state(world).consent.marketing is marketing
    world.send(profile("c", 2, **RETIREE, **consent), model=model())
    world.sweep(model(2, turn=1))
    world.send(purchase("other", 40), model=model(2, turn=1))
    world.sweep(model(2, turn=1))
    told = [change for change in world.changes if change.customer_id == "c"]
    assert [change.change for change in told] == ["assigned", "reassigned", "unassigned"]
    assert {change.consent.marketing for change in told} == {marketing}
    assert state(world).consent.marketing is marketing
    assert state(world).segment is None


def test_a_consent_withdrawn_is_told_by_a_state_though_nobody_moves() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent=GIVEN), purchase("c", 1), model=model())
    before = state(world)
    world.send(profile("c", 2, **STUDENT, consent=REFUSED), model=model())
    after = state(world)
    assert len(world.changes) == 1
    assert (before.consent.marketing, after.consent.marketing) == (True, False)
    assert (after.segment, after.since, after.version) == (
        before.segment,
        before.since,
        before.version,
    )
    assert after.confidence is not None
    commits = len(world.commits)
    world.send(profile("c", 3, **STUDENT, consent=REFUSED), model=model())
    assert not world.commits[commits].entry, "and once only"
    world.check()


def test_a_consent_that_comes_with_a_move_is_told_once() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent=GIVEN), purchase("c", 1), model=model())
    world.send(profile("c", 2, **RETIREE, consent=REFUSED), model=model())
    assert (entry := world.commits[-1].entry)
    assert len(entry.outputs) == 2
    assert world.changes[-1].consent.marketing is False
    assert state(world).consent.marketing is False
    world.check()


def test_who_is_in_no_segment_is_told_of_when_a_state_says_otherwise() -> None:
    world = World()
    world.send(profile("c", 0, consent=GIVEN), purchase("c", 1), model=model())
    world.send(purchase("other", 40), model=model())
    world.sweep(model())
    assert state(world).segment is None
    world.send(profile("c", 41, consent=REFUSED), model=model())
    assert (state(world).segment, state(world).consent.marketing) == (None, False)
    assert state(world).confidence is None
    world.send(profile("new", 41, consent=REFUSED), model=model())
    assert "new" not in world.states, "which has no state yet"
    world.check()


def test_an_erased_consent_is_not_known_any_more() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent=GIVEN), purchase("c", 9), model=model())
    world.send(erasure("c", 2), model=model())
    world.sweep(model())
    assert state(world).segment is not None
    assert state(world).consent.marketing is None
    world.check()


def test_nothing_is_told_of_consents_in_a_replay() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent=GIVEN), purchase("c", 1), model=model())
    world.send(profile("c", 2, **STUDENT, consent=REFUSED), replay=True)
    assert world.commits[-1].entry is None


def test_who_refuses_before_the_first_purchase_is_never_assigned_nor_counted() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent={"profiling": False}))
    world.send(purchase("c", 1), purchase("other", 1), model=model())
    world.sweep(model(2, turn=1))
    assert [change.customer_id for change in world.changes if change.customer_id == "c"] == []
    assert world.owned[0].estimators[2].statistics.members.sum() == 1
    assert world.stored("c")["counts"].sum() == 1, "it counts from when the consent is given"
    world.send(profile("c", 2, **STUDENT, consent={"profiling": True}), model=model(2, turn=1))
    assert segments(world)[-1] == (None, STUDENTS, "profile")
    world.check()


def test_a_deleted_profile_leaves_the_segment_to_the_purchases() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent=GIVEN), purchase("c", 1), model=model())
    deleted = world.record((PROFILES, b"c", None), timestamp_ms=2 * DAY // 1_000)
    world.round([deleted], model())
    stored = world.stored("c")
    assert [stored[name][0] for name in ("marketing", "profiling")] == [-1, -1]
    assert stored["age"] != stored["age"]
    assert state(world).segment is not None
    assert state(world).consent.marketing is None
    assert world.owned[0].estimators[1].statistics.known.sum() == 2, "purchases and spend"
    world.check()


def test_a_refusal_that_is_deleted_with_its_profile_holds_no_longer() -> None:
    world = World()
    world.send(profile("c", 0, consent={"profiling": False}), purchase("c", 1), model=model())
    assert not world.changes
    world.round([world.record((PROFILES, b"c", None), timestamp_ms=2 * DAY // 1_000)], model())
    assert world.changes[-1].change == "assigned"
    world.check()
