"""Rounds, each through the decoder, with their commits applied and held against the contracts."""

from dataclasses import replace

import pytest

from consumers.owned import Sweep
from contracts.dead_letters import parse
from contracts.segments import SegmentRef
from contracts.topics import DEAD_LETTERS, ERASURES, PROFILES, PURCHASES
from features.erasures import marker_key
from features.record import NEVER, encode
from model.statistics import dequantize
from tests.consumers.world import (
    BUCKETS,
    DAY,
    HIGH_VALUE,
    LAYOUT,
    RETIREES,
    RULES,
    SEGMENTS,
    STUDENTS,
    World,
    erasure,
    model,
    profile,
    purchase,
    switching,
)

STUDENT = {"age": 20, "income": 20_000, "location": "urban"}
RETIREE = {"age": 72, "income": 25_000, "location": "rural"}


def segments(world: World) -> list[tuple[str | None, str | None, str]]:
    """(before, after, origin) of every change."""
    return [(_id(c.previous_segment), _id(c.segment), c.origin) for c in world.changes]


def _id(segment: SegmentRef | None) -> str | None:
    return None if segment is None else segment.id


def test_without_a_model_rounds_only_fold() -> None:
    world = World()
    world.send(purchase("c", 1), profile("c", 1, **STUDENT))
    assert world.changes == []
    assert world.stored("c")["counts"].sum() == 1
    assert world.stored("c")["age"] == 20
    assert world.owned[0].progress.offsets == (1, 1, 0)
    assert world.owned[0].progress.clock_us == DAY
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
    z_scores = [abs(each.z_score) for each in change.explanation]
    assert sorted(z_scores, reverse=True) == z_scores
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
    assert (commit.records, commit.outputs, commit.statistics) == ({}, [], {})
    assert commit.progress.profiles == 2
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


def test_who_is_known_by_a_profile_only_is_kept_and_not_assigned() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), model=model())
    assert world.changes == []
    assert world.stored("c")["cluster"] == -1
    world.check()


def test_who_denies_profiling_is_unassigned_and_leaves_the_statistics() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    assert world.owned[0].statistics[1].members.sum() == 1
    world.send(profile("c", 2, **STUDENT, consent={"profiling": False}), model=model())
    assert segments(world)[1:] == [(STUDENTS, None, "profile")]
    change = world.changes[-1]
    assert change.change == "unassigned"
    assert (change.confidence, change.distance, change.runner_up) == (None, None, None)
    assert change.explanation == ()
    state = world.states["c"]
    assert state is not None
    assert state.segment is None
    assert world.owned[0].statistics[1].members.sum() == 0
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
    assert world.owned[0].statistics[1].members.sum() == 1
    assert world.owned[0].progress.swept_tile == LAYOUT.tile(30 * DAY)
    assert "c" in world.customers[0], "the profile is still known"
    world.check()


def test_the_wall_clock_empties_windows_without_any_event() -> None:
    world = World(rules=replace(RULES, event_clock=False))
    world.send(purchase("c", 1), model=model(), now_us=2 * DAY)
    assert world.owned[0].progress.clock_us == 2 * DAY
    world.sweep(model(), now_us=40 * DAY)
    assert segments(world)[-1][1:] == (None, "expiry")
    assert world.owned[0].progress.clock_us == 40 * DAY
    world.send(purchase("c", 3), model=model(), now_us=39 * DAY)
    assert world.owned[0].progress.clock_us == 40 * DAY, "it never goes back"


def test_a_stretch_of_a_sweep_without_a_change_commits_nothing() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1) for i in range(20)), model=model())
    world.sweep(model())
    commits = len(world.commits)
    world.send(purchase("c-0", 5), model=model())
    rounds = world.sweep(model())
    assert rounds == BUCKETS
    # One for the purchase, one that says that the sweep is through.
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
    assert world.owned[0].statistics[1].members.sum() == 10
    assert world.owned[0].progress.swept_generation == 1


def test_a_sweep_is_not_over_in_a_round_that_did_not_walk() -> None:
    world = World()
    world.owned[0] = replace(world.owned[0], sweep=Sweep(generation=1, tile=0, cursor=2))
    round_ = world.decide(model=model())
    owned, part, reading = round_._work[0]
    round_._work = [(owned, part, replace(reading, cursor=None))]
    [decision] = round_.decide()
    assert decision.owned.sweep == owned.sweep
    assert decision.commit is None


def test_a_new_generation_moves_everyone_and_drops_the_old_statistics() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1, 10.0 * i) for i in range(1, 9)), model=model())
    world.sweep(model())
    world.send(purchase("c-1", 2), model=model(2, turn=1))
    assert set(world.owned[0].statistics) == {1, 2}
    assert world.owned[0].progress.settled_generation == 0
    world.check()
    world.sweep(model(2, turn=1))
    assert set(world.owned[0].statistics) == set(world.statistics[0]) == {2}
    assert world.owned[0].progress.settled_generation == 2
    world.check()


def test_the_first_generation_assigns_in_its_sweep_with_origin_model() -> None:
    world = World()
    world.send(profile("c", 0, **STUDENT), purchase("c", 1))
    world.sweep(model())
    assert segments(world) == [(None, STUDENTS, "model")]
    world.check()


# -- hysteresis


def test_a_segment_gives_way_only_to_one_nearer_by_the_margin() -> None:
    world = World(rules=switching(RULES, margin=0.3))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    held = 0
    for step in range(1, 50):
        age, income = 20 + step, 20_000 * 1.02**step
        known = profile("c", 1 + step / 50, age=age, income=income, location="urban")
        held += world.send(known, model=model()).held_by_margin
        vector = dequantize(world.stored("c")["vector"])
        [distances] = model().view.assign(vector).distances
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
    world = World(rules=switching(RULES, min_dwell_us=3 * DAY))
    world.send(profile("c", 0, **STUDENT), purchase("c", 1), model=model())
    tally = world.send(profile("c", 1, **RETIREE), purchase("other", 3.9), model=model())
    assert (tally.held_by_dwell, tally.held_by_margin) == (1, 0)
    assert len([c for c in world.changes if c.customer_id == "c"]) == 1
    world.send(profile("c", 1, **RETIREE), purchase("other", 4), model=model())
    assert world.changes[-1].segment is not None
    assert world.changes[-1].segment.id == RETIREES
    world.check()


def test_neither_margin_nor_dwell_keep_who_must_go() -> None:
    world = World(rules=switching(RULES, margin=0.9, min_dwell_us=100 * DAY))
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


# -- erasure


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
    assert world.owned[0].statistics[1].members.sum() == 0
    assert list(world.erasures[0]) == [marker_key("c", RULES.group_id)]
    world.check()


def test_an_erased_event_that_arrives_later_does_not_count() -> None:
    world = World()
    world.send(erasure("c", 2), model=model())
    assert world.states == {"c": None}
    tally = world.send(purchase("c", 1), profile("c", 1, **STUDENT), model=model())
    assert (tally.erased, tally.stale_profiles) == (1, 1)
    assert world.customers[0] == {}
    assert world.changes == []
    world.check()


def test_what_a_customer_does_after_an_erasure_stays() -> None:
    world = World()
    world.send(
        purchase("c", 1, 20.0), purchase("c", 9, 30.0), profile("c", 9, **STUDENT), model=model()
    )
    world.send(erasure("c", 2), model=model())
    assert world.stored("c")["cents"].sum() == 3_000
    assert world.stored("c")["age"] == 20
    state = world.states["c"]
    assert state is not None
    assert state.segment is not None
    world.check()


def test_an_erased_record_does_not_tell_whether_the_erasure_or_the_purchase_came_first() -> None:
    one, other, together = World(), World(), World()
    one.send(purchase("c", 9), model=model())
    one.send(erasure("c", 2), model=model())
    other.send(erasure("c", 2), model=model())
    other.send(purchase("c", 9), model=model())
    together.send(purchase("c", 9), erasure("c", 2), model=model())
    for world in (one, other, together):
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
    assert world.owned[0].statistics[2].members.sum() == 1
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
    state = world.states["c"]
    assert state is not None
    assert state.segment is None
    assert world.stored("c")["profile_updated"] == 9 * DAY
    assert not world.stored("c")["erased"][0]
    world.check()


# -- replay


def test_a_replay_publishes_nothing_and_leaves_the_null_to_the_sweep_after_it() -> None:
    world = World()
    tally = world.send(purchase("c", 1), purchase("d", 1), erasure("c", 2), replay=True)
    assert world.commits[-1].outputs == []
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
    world.owned[0] = replace(owned, progress=replace(owned.progress, rescore=1))
    world.sweep(model())
    assert segments(world)[1:] == [(segments(world)[0][1], None, "recovery")]
    assert world.states["c"] is None
    assert world.customers[0] == {}
    assert world.owned[0].progress.rescore == 0
    world.check()


def test_a_replayed_erasure_of_who_came_back_leaves_no_null_due() -> None:
    world = World()
    world.send(erasure("c", 2), replay=True)
    world.send(purchase("c", 9), replay=True)
    world.sweep(model())
    assert not world.stored("c")["erased"][0]
    assert world.changes[-1].change == "assigned"
    world.check()


# -- dead letters, partitions, order


def test_a_refused_record_becomes_a_dead_letter_with_its_bytes_and_the_reason() -> None:
    world = World()
    original = [("trace", b"1"), ("empty", None)]
    bad = world.record((PURCHASES, b"c", b"{not json"), headers=original, timestamp_ms=5)
    tally = world.round([bad, world.record(purchase("c", 1))], model())
    [output] = world.dead_letters
    assert (output.topic, output.key, output.value) == (DEAD_LETTERS, b"c", b"{not json")
    letter = parse(output.headers)
    assert (letter.topic, letter.partition, letter.offset) == (PURCHASES, 0, 0)
    assert (letter.timestamp_ms, letter.reason) == (5, "not_json")
    assert letter.original_headers == [("trace", b"1"), ("empty", b"")]
    assert tally.dead_letters == ["not_json"]
    assert len(world.changes) == 1, "the others of its batch go on"
    assert world.owned[0].progress.purchases == 2


def test_a_batch_of_nothing_but_dead_letters_moves_the_offsets() -> None:
    world = World()
    world.send((ERASURES, b"c", None), (PURCHASES, None, None), (PURCHASES, None, b"{}"))
    assert world.owned[0].progress.offsets == (2, 0, 1)
    assert [(out.key, out.value) for out in world.dead_letters] == [
        (None, b""),  # Kafka's client sends no record of two nulls
        (None, b"{}"),
        (b"c", None),
    ]
    assert world.customers[0] == {}


def test_partitions_of_one_round_are_decided_each_by_itself() -> None:
    world = World(partitions=(0, 2, 5))
    records = [
        world.record(purchase("b", 50, 30.0), 5),
        world.record(profile("b", 49, **RETIREE), 5),
        world.record((PURCHASES, b"x", b"x"), 2),
        world.record(purchase("a", 1, 70.0), 0),
        world.record(profile("a", 0, **STUDENT), 0),
        world.record(purchase("a2", 2, 80.0), 0),
        world.record(erasure("gone", 3), 5),
    ]
    world.round(records, model())
    assert sorted(world.customers[0]) == ["a", "a2"]
    assert list(world.customers[5]) == ["b"]
    assert world.customers[2] == {}
    assert world.stored("a", 0)["cents"].sum() == 7_000
    assert world.stored("b", 5)["cents"].sum() == 3_000
    assert world.stored("b", 5)["age"] == 72
    clocks = {p: owned.progress.clock_us // DAY for p, owned in world.owned.items()}
    assert clocks == {0: 2, 2: 0, 5: 50}
    offsets = {p: owned.progress.offsets for p, owned in world.owned.items()}
    assert offsets == {0: (2, 1, 0), 2: (1, 0, 0), 5: (1, 1, 1)}
    assert [owned.progress.version for owned in world.owned.values()] == [1, 1, 1]
    assert {p for p in world.erasures if world.erasures[p]} == {5}
    assert world.owned[5].statistics[1].members.sum() == 1
    assert {c.cause.partition for c in world.changes if c.cause} == {0, 5}
    world.check()


def test_versions_rise_by_one_with_every_commit_and_stamp_what_it_publishes() -> None:
    world = World()
    for day in range(1, 4):
        world.send(purchase(f"c-{day}", day), model=model())
    assert [change.version for change in world.changes] == [1, 2, 3]
    assert [commit.progress.version for commit in world.commits] == [1, 2, 3]


def test_published_versions_leave_the_outbox_with_the_next_commit() -> None:
    world = World()
    world.send(purchase("a", 1), model=model())
    world.send(purchase("b", 1), model=model())
    assert world.outbox[0] == {1, 2}
    assert [version for version, _ in world.owned[0].unpublished] == [1, 2]
    world.owned[0] = world.owned[0].confirmed()
    assert world.owned[0].unpublished == ()
    world.send(purchase("c", 1), model=model())
    assert world.outbox[0] == {3}
    assert world.owned[0].published == 2
    world.check()


def test_a_refused_commit_leaves_the_owners_knowledge_as_it_was() -> None:
    world = World()
    world.send(*(purchase(f"c-{i}", 1, 9.0 * i) for i in range(1, 9)), model=model())
    owned = world.owned[0]
    before = {number: counted.to_bytes() for number, counted in owned.statistics.items()}
    records = [world.record(purchase(f"c-{i}", 2, 400.0)) for i in range(20)]
    # The same generation, then another: both move members out of the statistics kept.
    for scored_under in (model(), model(2, turn=1)):
        world.decide(records, scored_under).decide()
    assert world.owned[0] is owned
    assert {n: counted.to_bytes() for n, counted in owned.statistics.items()} == before
    first, second = (world.decide(records, model()).decide()[0].commit for _ in range(2))
    assert first == second, "and it can be decided anew"


def test_a_customer_who_spends_more_moves_up() -> None:
    world = World()
    known = {"age": 50, "income": 90_000, "location": "urban"}
    world.send(profile("c", 0, **known), purchase("c", 1, 20.0), model=model())
    world.send(*(purchase("c", 2, 300.0 + i) for i in range(40)), model=model())
    assert segments(world)[-1][1] == HIGH_VALUE
    assert segments(world)[0][1] != HIGH_VALUE
    world.check()
