"""Predicted moves of a customer, checked with the service's own processing."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from livesegments.analysis.customer.counterfactuals import expiries, feature_changes, more_purchases
from livesegments.consumers.scoring import NONE, Scores, score
from livesegments.domain import Model
from tests.consumers.harness import (
    DAY,
    LAYOUT,
    RULES,
    SEGMENTS,
    World,
    model,
    model_of,
    profile,
    purchase,
    switching,
)

MARGIN = RULES.switching.margin
TILE = LAYOUT.window_days / LAYOUT.tiles
TODAY = 103.0

people = st.fixed_dictionaries(
    {},
    optional={
        "age": st.integers(18, 90),
        "income": st.integers(8_000, 200_000),
        "location": st.sampled_from(["urban", "suburban", "rural"]),
    },
)
histories = st.lists(
    st.tuples(st.sampled_from([0, 3, 4, 7, 9, 13, 19]), st.integers(1, 300)),
    min_size=1,
    max_size=12,
)
quick = settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])


def told(person: dict[str, Any], history: list[tuple[int, int]], dwell: int = 0) -> World:
    """A customer with some purchases, each a number of days ago."""
    world = World(config=switching(RULES, min_dwell_us=dwell))
    events = [
        purchase("c", TODAY - days, amount, event_id=f"e{i}")
        for i, (days, amount) in enumerate(history)
    ]
    world.send(profile("c", 1, **person), *events, purchase("clock", TODAY), model=MODEL)
    return world


def scores_of(world: World, by: Model) -> Scores:
    """The customer's score at the clock."""
    clock_us = world.owned[0].checkpoint.clock_us
    return score(
        world.stored("c"),
        np.array([LAYOUT.tile(clock_us)]),
        np.array([clock_us]),
        by,
        world.config,
    )


def segment(world: World) -> int:
    return int(world.stored("c")["segment"][0])


def cluster(world: World) -> int:
    return int(np.argsort(MODEL.segment_of_cluster)[segment(world)])


MODEL = model(turn=2)


@quick
@given(people, histories)
def test_so_many_purchases_like_theirs_move_a_customer_and_fewer_do_not(
    person: dict[str, Any], history: list[tuple[int, int]]
) -> None:
    world = told(person, history)
    before = segment(world)
    clock_us = world.owned[0].checkpoint.clock_us
    found = more_purchases(
        world.stored("c"), clock_us, scores_of(world, MODEL), cluster(world), MODEL, RULES
    )
    assume(found is not None)
    assert found is not None
    amount = found.cents_each / 100
    more = [purchase("c", TODAY, amount, event_id=f"more{i}") for i in range(found.purchases)]
    world.send(*more[:-1], purchase("clock", TODAY + 1e-6), model=MODEL)
    assert segment(world) == before
    world.send(more[-1], model=MODEL)
    assert segment(world) == found.segment != before


@quick
@given(people, histories)
def test_a_profile_that_differs_as_said_moves_a_customer_and_one_a_step_nearer_does_not(
    person: dict[str, Any], history: list[tuple[int, int]]
) -> None:
    world = told(person, history)
    before = segment(world)
    found = [
        each
        for each in feature_changes(scores_of(world, MODEL), cluster(world), MODEL, RULES)
        if each.feature in ("age", "income")
    ]
    assume(found)
    for each in found:
        step = 1 if each.then > each.now else -1
        changed, nearly = told(person, history), told(person, history)
        nearer = {each.feature: each.then - step}
        nearly.send(profile("c", 2, **{**person, **nearer}), model=MODEL)
        changed.send(profile("c", 2, **{**person, each.feature: each.then}), model=MODEL)
        assert segment(nearly) != each.segment
        assert segment(changed) == each.segment != before


@quick
@given(people, histories, st.sampled_from([0, 9 * DAY]))
def test_time_alone_moves_a_customer_when_it_is_said_to(
    person: dict[str, Any], history: list[tuple[int, int]], dwell: int
) -> None:
    world = told(person, history, dwell)
    start = len(world.changes)
    clock_us = world.owned[0].checkpoint.clock_us
    moments = expiries(world.stored("c"), clock_us, MODEL, world.config)

    before, moves = segment(world), []
    for moment in moments:
        if moment.segment != before:
            moves.append((moment.time_us, moment.segment))
        before = moment.segment
    # The clock advances tile by tile, by purchases of another customer.
    first = LAYOUT.end(LAYOUT.tile(clock_us))
    for tile in range(LAYOUT.tiles + 1):
        day = first / DAY + tile * TILE
        world.send(purchase("clock", day, event_id=f"tick{tile}"), model=MODEL)
        world.sweep(MODEL)
    changes = [change for change in world.changes[start:] if change.customer_id == "c"]
    assert [
        (
            round(change.occurred_at.timestamp() * 1e6),
            SEGMENTS.index(change.segment.id) if change.segment else NONE,
        )
        for change in changes
    ] == moves
    assert moments[-1].segment == NONE
    assert moments[-1].purchases == 0


def test_each_purchase_that_leaves_the_window_is_a_moment() -> None:
    world = told({}, [(19, 10), (9, 20), (0, 30)])
    clock_us = world.owned[0].checkpoint.clock_us
    moments = expiries(world.stored("c"), clock_us, MODEL, RULES)
    assert [(each.purchases, each.cents) for each in moments] == [(2, 5_000), (1, 3_000), (0, 0)]


def test_without_a_purchase_that_would_do_it_none_is_said() -> None:
    world = told({}, [(0, 10)])
    lone = model_of(replace(MODEL.generation, variance=np.zeros(5)))
    clock_us, scores = world.owned[0].checkpoint.clock_us, scores_of(world, MODEL)
    assert more_purchases(world.stored("c"), clock_us, scores, cluster(world), lone, RULES) is None
    assert feature_changes(scores, cluster(world), lone, RULES) == []
