"""Predicted moves of a customer, checked with the service's own processing."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from livesegments.analysis.customer.explanation import Explanation, instant
from livesegments.domain import Model
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.record_codec import empty
from livesegments.model.generation import Generation
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
from tests.segmentations import RFM

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


def explained(world: World, by: Model) -> Explanation:
    """The customer compared with a model at the clock."""
    clock_us = world.owned[0].checkpoint.clock_us
    return Explanation(world.stored("c"), by, world.config, clock_us, [*REFS, None])


def segment(world: World) -> dict[str, str] | None:
    return [*REFS, None][int(world.stored("c")["segment"][0])]


REFS = [{"id": each} for each in SEGMENTS]
MODEL = model(turn=2)


@quick
@given(people, histories)
def test_so_many_purchases_like_theirs_move_a_customer_and_fewer_do_not(
    person: dict[str, Any], history: list[tuple[int, int]]
) -> None:
    world = told(person, history)
    before = segment(world)
    found = explained(world, MODEL).more_purchases()
    assume(found is not None)
    assert found is not None
    more = [
        purchase("c", TODAY, found["spend_each"], event_id=f"more{i}")
        for i in range(found["purchases"])
    ]
    world.send(*more[:-1], purchase("clock", TODAY + 1e-6), model=MODEL)
    assert segment(world) == before
    world.send(more[-1], model=MODEL)
    assert segment(world) == found["segment"] != before


@quick
@given(people, histories)
def test_a_profile_that_differs_as_said_moves_a_customer_and_one_a_step_nearer_does_not(
    person: dict[str, Any], history: list[tuple[int, int]]
) -> None:
    world = told(person, history)
    before = segment(world)
    found = [
        each
        for each in explained(world, MODEL).feature_changes()
        if each["feature"] in ("age", "income")
    ]
    assume(found)
    for each in found:
        step = 1 if each["change"] > 0 else -1
        changed, nearly = told(person, history), told(person, history)
        nearer = {each["feature"]: each["to"] - step}
        nearly.send(profile("c", 2, **{**person, **nearer}), model=MODEL)
        changed.send(profile("c", 2, **{**person, each["feature"]: each["to"]}), model=MODEL)
        assert segment(nearly) != each["segment"]
        assert segment(changed) == each["segment"] != before


@quick
@given(people, histories, st.sampled_from([0, 9 * DAY]))
def test_time_alone_moves_a_customer_when_it_is_said_to(
    person: dict[str, Any], history: list[tuple[int, int]], dwell: int
) -> None:
    world = told(person, history, dwell)
    start = len(world.changes)
    clock_us = world.owned[0].checkpoint.clock_us
    moments = explained(world, MODEL).expiries()

    before, moves = segment(world), []
    for moment in moments:
        if moment["segment"] != before:
            moves.append((moment["at"], moment["segment"]))
        before = moment["segment"]
    # The clock advances tile by tile, by purchases of another customer.
    first = LAYOUT.end(LAYOUT.tile(clock_us))
    for tile in range(LAYOUT.tiles + 1):
        day = first / DAY + tile * TILE
        world.send(purchase("clock", day, event_id=f"tick{tile}"), model=MODEL)
        world.sweep(MODEL)
    changes = [change for change in world.changes[start:] if change.customer_id == "c"]
    assert [
        (
            instant(round(change.occurred_at.timestamp() * 1e6)),
            {"id": change.segment.id} if change.segment else None,
        )
        for change in changes
    ] == moves
    assert moments[-1]["segment"] is None
    assert moments[-1]["purchases"] == 0


def test_each_purchase_that_leaves_the_window_is_a_moment() -> None:
    world = told({}, [(19, 10), (9, 20), (0, 30)])
    moments = explained(world, MODEL).expiries()
    assert [(each["purchases"], each["spend"]) for each in moments] == [(2, 50), (1, 30), (0, 0)]


def test_without_a_purchase_that_would_do_it_none_is_said() -> None:
    world = told({}, [(0, 10)])
    lone = model_of(replace(MODEL.generation, variance=np.zeros(5)))
    assert explained(world, lone).more_purchases() is None
    assert explained(world, lone).feature_changes() == []


def test_spend_that_refunds_took_below_nothing_is_made_up_for_first() -> None:
    world = told({}, [(9, 10)])
    world.send(purchase("c", TODAY, 100, event_id="r", kind="refund"), model=MODEL)
    found = explained(world, MODEL).feature_changes()
    [spend, *_] = [each for each in found if each["feature"] == "spend"]
    assert (spend["from"], spend["change"]) == (-90, round(spend["to"] + 90, 4))
    assert spend["to"] > 0


def test_a_recency_is_one_that_a_customer_can_have() -> None:
    config = replace(RULES, segmentation=RFM)
    places = np.array([[0.7, 2.0, days] for days in (0.0, 12.0, 500.0, 600.0, 700.0)])
    moments, sizes = (np.zeros(3), np.ones(3)), (1,) * 5
    fitted = Generation(1, places, *moments, sizes, RFM.segment_ids)
    record = empty(1, config.record_shape)
    record["head"], record["counts"][:, 0], record["segment"] = LAYOUT.tiles, 1, 0
    clock_us = LAYOUT.tiles * LAYOUT.tile_us
    by = Model.of(RFM.estimator(fitted), RFM.segment_ids)
    found = Explanation(record, by, config, clock_us, [*REFS, None]).feature_changes()
    [recency] = [each for each in found if each["feature"] == "recency"]
    step, _ = BY_NAME["recency"].steps(LAYOUT)
    assert (recency["from"], recency["to"], recency["segment"]) == (0, step, REFS[1])
