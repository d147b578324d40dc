"""Micro-batches through the decoder, with commits applied and checked against the contracts."""

from dataclasses import replace
from typing import Any

import pytest

from livesegments.consumers.clocks import TOLERANCE_US
from livesegments.consumers.partition_state import Sweep
from livesegments.consumers.processor import process
from livesegments.contracts.topics import PROFILES, PURCHASES
from livesegments.model.vectors import dequantize
from tests.consumers.harness import (
    BUCKETS,
    DAY,
    HIGH_VALUE,
    LAYOUT,
    RETIREE,
    RETIREES,
    RULES,
    SEGMENTS,
    STUDENT,
    STUDENTS,
    World,
    erasure,
    model,
    profile,
    purchase,
    segments,
    switching,
)


def test_without_a_model_rounds_only_fold() -> None:
    world = World()
    world.send(purchase("c", 1), profile("c", 1, **STUDENT))
    assert world.changes == []
    assert world.stored("c")["counts"].sum() == 1
    assert world.stored("c")["age"] == 20
    assert world.owned[0].checkpoint.offsets == (1, 1, 0)
    assert world.owned[0].checkpoint.clock_us == DAY
    world.check()


def test_a_purchase_assigns_its_customer() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT, consent={"marketing": True}))
    tally = world.send(purchase("c", 1, 40.0), model=model())
    [change] = world.changes
    assert segments(world) == [(None, STUDENTS, "live")]
    assert change.change == "assigned"
    assert change.occurred_at.timestamp() == 86_400
    assert change.cause is not None
    assert change.cause.model_dump() == {
        "event_id": "c-1-40.0",
        "topic": PURCHASES,
        "partition": 0,
        "offset": 0,
    }
    assert change.consent.marketing is True
    assert change.model.model_dump() == {"generation": 1, "version": 2}
    assert change.confidence is not None
    assert change.distance is not None
    assert change.runner_up is not None
    assert change.runner_up.id not in (STUDENTS, None)
    parts = [each.contribution or 0.0 for each in change.explanation]
    assert parts == sorted(parts, reverse=True)
    assert change.explanation[0].feature in ("age", "income")
    assert change.explanation[0].direction == "below"
    assert tally.changes == [("none", STUDENTS, "live")]
    [state] = world.states.values()
    assert state is not None
    assert (state.since, state.confidence) == (change.occurred_at, change.confidence)
    world.check()


@pytest.mark.parametrize("turn", range(5))
def test_segments_keep_their_names_however_the_clusters_are_numbered(turn: int) -> None:
    world = World()
    world.send(profile("s", 0, **STUDENT), profile("r", 0, **RETIREE))
    world.send(purchase("s", 1, 40.0), purchase("r", 1, 2.0), model=model())
    world.send(purchase("s", 2, 41.0), purchase("r", 2, 3.0), model=model(2, turn))
    assert segments(world) == [(None, STUDENTS, "live"), (None, RETIREES, "live")]
    world.check()


def test_nothing_is_written_or_published_of_who_did_not_move() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    again = profile("c", 0, **STUDENT)
    world.send(again, model=model())
    commit = world.commits[-1]
    assert (commit.records, commit.entry, commit.statistics) == ({}, None, {})
    assert commit.checkpoint.profiles == 2
    assert world.changes[0].version == world.stored("c")["version"][0]


def test_a_profile_changes_the_vector_and_may_change_the_segment() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1, 20.0), model=model())
    before = world.stored("c")["vector"].copy()
    world.send(profile("c", 2, **RETIREE), model=model())
    assert segments(world)[1:] == [(STUDENTS, RETIREES, "profile")]
    change = world.changes[-1]
    assert change.change == "reassigned"
    assert change.cause is not None
    assert (change.cause.topic, change.cause.event_id) == (PROFILES, None)
    assert (world.stored("c")["vector"] != before).any()
    world.check()


@pytest.mark.parametrize("timestamp_ms", [3 * 86_400_000, 0, -1, -(2**62)])
def test_a_record_without_a_time_tells_nothing_of_latency(timestamp_ms: int) -> None:
    world = World()
    world.send(purchase("c", 1), profile("c", 1, **STUDENT), model=model())
    record = world.record(profile("c", 2, **RETIREE), timestamp_ms=timestamp_ms)
    tally = world.round([record], model())
    assert tally.arrived_ms == ([timestamp_ms] if timestamp_ms > 0 else [])
    assert segments(world)[-1] == (STUDENTS, RETIREES, "profile")


def test_who_is_known_by_a_profile_only_is_kept_and_not_assigned() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), model=model())
    assert world.changes == []
    assert world.stored("c")["cluster"] == -1
    world.check()


def test_who_denies_profiling_is_unassigned_and_leaves_the_statistics() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    assert world.owned[0].estimators[1].statistics.members.sum() == 1
    world.send(profile("c", 2, **STUDENT, consent={"profiling": False}), model=model())
    assert segments(world)[1:] == [(STUDENTS, None, "profile")]
    change = world.changes[-1]
    assert change.change == "unassigned"
    assert (change.confidence, change.distance, change.runner_up) == (None, None, None)
    assert change.explanation == ()
    state = world.states["c"]
    assert state is not None
    assert state.segment is None
    assert world.owned[0].estimators[1].statistics.members.sum() == 0
    world.send(purchase("c", 3), model=model())
    assert len(world.changes) == 2
    world.send(profile("c", 4, **STUDENT, consent={"profiling": True}), model=model())
    assert segments(world)[2:] == [(None, STUDENTS, "profile")]
    world.check()


def test_a_window_that_runs_empty_unassigns_at_a_sweep() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    world.send(purchase("other", 30), model=model())
    world.sweep(model())
    assert segments(world)[-1] == (STUDENTS, None, "expiry")
    change = world.changes[-1]
    assert change.cause is None
    assert change.occurred_at.timestamp() == 30 * 86_400
    assert world.owned[0].estimators[1].statistics.members.sum() == 1
    assert world.owned[0].checkpoint.swept_tile == LAYOUT.tile(30 * DAY)
    assert "c" in world.customers[0], "the profile is still known"
    world.check()


def test_what_time_alone_did_has_no_cause_though_a_dropped_event_came_with_it() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 5), model=model())
    world.send(purchase("other", 30), purchase("c", 6), purchase("c", 5), model=model())
    assert segments(world)[-1] == (STUDENTS, None, "expiry")
    change = world.changes[-1]
    assert change.cause is None
    assert change.occurred_at.timestamp() == 30 * 86_400
    world.check()


def test_an_erased_purchase_is_no_cause() -> None:
    world = World()
    world.send(erasure("c", 20), purchase("c", 25), profile("c", 25, **STUDENT), model=model())
    world.send(purchase("other", 50), purchase("c", 19), model=model())
    assert segments(world)[-1] == (STUDENTS, None, "expiry")
    assert world.changes[-1].cause is None
    world.check()


def test_the_wall_clock_empties_windows_without_any_event() -> None:
    world = World(config=replace(RULES, event_clock=False))
    world.send(purchase("c", 1), model=model(), now_us=2 * DAY)
    assert world.owned[0].checkpoint.clock_us == 2 * DAY
    world.sweep(model(), now_us=40 * DAY)
    assert segments(world)[-1][1:] == (None, "expiry")
    assert world.owned[0].checkpoint.clock_us == 40 * DAY
    world.send(purchase("c", 3), model=model(), now_us=39 * DAY)
    assert world.owned[0].checkpoint.clock_us == 40 * DAY, "it never goes back"


def test_what_is_older_than_the_window_on_arrival_is_counted() -> None:
    world = World()
    assert world.send(purchase("c", 1), purchase("other", 50)).older_than_window == 0
    late = world.send(purchase("new", 1), purchase("c", 2), purchase("other", 1), purchase("c", 49))
    assert late.older_than_window == 3
    assert world.stored("c")["counts"].sum() == 1


def test_no_clock_moves_a_partition_beyond_what_the_store_s_bears_out() -> None:
    world = World(config=replace(RULES, event_clock=False))
    world.store_us = 2 * DAY
    world.send(purchase("c", 1), model=model(), now_us=700 * DAY)
    assert world.owned[0].checkpoint.clock_us == 2 * DAY + TOLERANCE_US


def test_a_purchase_dated_ahead_of_every_clock_counts_and_moves_none() -> None:
    world = World()
    world.store_us = 2 * DAY
    world.send(purchase("c", 1), purchase("d", 700), purchase("e", 1.5), model=model())
    assert world.owned[0].checkpoint.clock_us == 1.5 * DAY
    assert {segments(world)[i][0] for i in range(3)} == {None}
    assert all(state is not None and state.segment for state in world.states.values())


def test_a_change_after_a_clock_that_was_wrong_begins_now() -> None:
    world = World(config=switching(RULES, min_dwell_us=DAY))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), purchase("c", 700), model=model())
    wrong = world.owned[0]
    world.owned[0] = replace(wrong, checkpoint=replace(wrong.checkpoint, clock_us=2 * DAY))
    world.send(profile("c", 2, **RETIREE), model=model())
    assert world.changes[-1].segment is not None
    assert world.stored("c")["since"] == 2 * DAY


def test_a_stretch_of_a_sweep_without_a_change_commits_nothing() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1) for i in range(20)), model=model())
    world.sweep(model())
    commits = len(world.commits)
    world.send(purchase("c-0", 5), model=model())
    rounds = world.sweep(model())
    assert rounds == BUCKETS
    # One for the purchase, one that marks the sweep as finished.
    assert len(world.commits) == commits + 2
    assert world.sweep(model()) == 0, "and no sweep is due until the clock or the model move on"


def test_a_sweep_scores_who_is_polled_meanwhile_once() -> None:
    names = [f"c-{i}" for i in range(10)]
    world = World()
    world.send(*(purchase(name, 1) for name in names))
    world.owned[0] = replace(world.owned[0], sweep=Sweep(generation=1, tile=0))
    for _ in range(BUCKETS):
        world.send(*(purchase(name, 1) for name in names), model=model())
        world.check()
    assert [world.stored(name)["counts"].sum() for name in names] == [1 + BUCKETS] * 10
    assert world.owned[0].estimators[1].statistics.members.sum() == 10
    assert world.owned[0].checkpoint.swept_generation == 1


def test_a_sweep_is_not_over_in_a_round_that_did_not_walk() -> None:
    world = World()
    world.owned[0] = replace(world.owned[0], sweep=Sweep(generation=1, tile=0, cursor=2))
    work = world.work(model=model())
    [read] = work.readings
    stands = replace(work, readings=[replace(read, cursor=None)])
    [result] = process(stands).partitions
    assert result.state.sweep == world.owned[0].sweep
    assert result.commit is None


def test_a_new_generation_moves_everyone_and_drops_the_old_statistics() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1, 10.0 * i) for i in range(1, 9)), model=model())
    world.sweep(model())
    world.send(purchase("c-1", 2), model=model(2, turn=1))
    assert set(world.owned[0].estimators) == {1, 2}
    assert world.owned[0].checkpoint.settled_generation == 0
    world.check()
    world.sweep(model(2, turn=1))
    assert set(world.owned[0].estimators) == set(world.statistics[0]) == {2}
    assert world.owned[0].checkpoint.settled_generation == 2
    world.check()


def test_the_first_generation_assigns_in_its_sweep_with_origin_model() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1))
    world.sweep(model())
    assert segments(world) == [(None, STUDENTS, "model")]
    world.check()


def test_a_segment_gives_way_only_to_one_nearer_by_the_margin() -> None:
    world = World(config=switching(RULES, margin=0.3))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    held = 0
    for step in range(1, 50):
        age, income = 20 + step, 20_000 * 1.02**step
        known = profile("c", 1 + step / 50, age=age, income=income, location="urban")
        held += world.send(known, model=model()).held_by_margin
        vector = dequantize(world.stored("c")["vector"])
        [distances] = model().kmeans.predict_arrays(vector).distances
        student = distances[SEGMENTS.index(STUDENTS)]
        if len(world.changes) == 1:
            assert distances.min() > 0.7 * student
        else:
            assert distances.min() <= 0.7 * student
            break
    assert held > 0, "the cluster moved before the segment did"
    assert world.changes[-1].change == "reassigned"
    world.check()


def test_a_segment_stays_for_the_dwell() -> None:
    world = World(config=switching(RULES, min_dwell_us=3 * DAY))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    tally = world.send(profile("c", 1, **RETIREE), purchase("other", 3.9), model=model())
    assert (tally.held_by_dwell, tally.held_by_margin) == (1, 0)
    assert len([c for c in world.changes if c.customer_id == "c"]) == 1
    world.send(profile("c", 1, **RETIREE), purchase("other", 4), model=model())
    assert world.changes[-1].segment is not None
    assert world.changes[-1].segment.id == RETIREES
    world.check()


@pytest.mark.parametrize("late", [profile("c", 2, **RETIREE), purchase("c", 2, 90_000.0)])
def test_a_late_event_does_not_shorten_the_dwell(late: dict[str, Any]) -> None:
    world = World(config=switching(RULES, margin=0.0, min_dwell_us=3 * DAY))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), purchase("other", 10), model=model())
    world.send(late, model=model())
    assert world.changes[-1].change == "reassigned"
    assert world.stored("c")["since"] == 10 * DAY
    back = [profile("c", 3, **STUDENT), purchase("c", 2.1, -90_000.0)]
    assert not world.send(*back, purchase("other", 12.9), model=model()).changes
    world.send(*back[:1], purchase("other", 13), model=model())
    assert [change.customer_id for change in world.changes].count("c") == 3
    world.check()


def test_without_a_dwell_a_segment_begins_with_its_event_however_late() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), purchase("other", 10), model=model())
    world.send(profile("c", 2, **RETIREE), model=model())
    assert world.stored("c")["since"] == 2 * DAY


def test_neither_margin_nor_dwell_keep_who_must_go() -> None:
    world = World(config=switching(RULES, margin=0.9, min_dwell_us=100 * DAY))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    world.send(profile("c", 1, consent={"profiling": False}), model=model())
    assert segments(world)[-1] == (STUDENTS, None, "profile")


def test_since_never_goes_back_for_a_late_event() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 10), model=model())
    world.send(profile("c", 4, **RETIREE), model=model())
    change = world.changes[-1]
    assert change.occurred_at.timestamp() == 4 * 86_400
    state = world.states["c"]
    assert state is not None
    assert state.since.timestamp() == 10 * 86_400
    assert world.stored("c")["since"] == 10 * DAY


def test_a_cause_dated_ahead_of_the_clock_does_not_hold_its_customer_until_then() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    world.send(profile("c", 500, **RETIREE), model=model())
    assert world.stored("c")["since"] == 1 * DAY
    tally = world.send(profile("c", 501, **STUDENT), purchase("other", 2), model=model())
    assert tally.held_by_dwell == 0
    assert segments(world)[-1][:2] == (RETIREES, STUDENTS)


def test_a_customer_who_spends_more_moves_up() -> None:
    world = World()
    known = {"age": 50, "income": 90_000, "location": "urban"}
    world.send(profile("c", 0, **known), purchase("c", 1, 20.0), model=model())
    world.send(*(purchase("c", 2, 300.0 + i) for i in range(40)), model=model())
    assert segments(world)[-1][1] == HIGH_VALUE
    assert segments(world)[0][1] != HIGH_VALUE
    world.check()
