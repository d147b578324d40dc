"""The answer about one customer, and its text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from livesegments.analysis.customer.answer import answer, nothing_kept
from livesegments.analysis.customer.lookup import StoredCustomer
from livesegments.analysis.customer.text_view import text
from livesegments.contracts.segments import SegmentChange
from livesegments.domain import Model
from livesegments.features.erasures import Marker, marker_key
from livesegments.store.deployment import Deployment
from tests.consumers.harness import (
    DAY,
    LAYOUT,
    RETIREE,
    RULES,
    SEGMENTS,
    STUDENT,
    World,
    erasure,
    model,
    model_of,
    profile,
    purchase,
    switching,
)

MODEL = model(turn=1)
DEPLOYMENT = Deployment(
    partitions=1,
    window_days=LAYOUT.window_days,
    tiles=LAYOUT.tiles,
    currency="USD",
    dedup_events=0,
    segments=SEGMENTS,
    features=RULES.segmentation.feature_names,
)


def found(world: World, customer: str = "c") -> StoredCustomer:
    marker = world.erasures[0].get(marker_key(customer, RULES.group_id))
    return StoredCustomer(
        customer_id=customer,
        partition=0,
        record=world.stored(customer),
        marker=Marker.from_bytes(marker),
        progress=world.owned[0].checkpoint,
        deployment=DEPLOYMENT,
    )


def searched(changes: list[SegmentChange], records: int, *, whole: bool = False) -> dict[str, Any]:
    found = [change.model_dump(mode="json") for change in changes]
    return {"changes": found, "searched": records, "whole": whole}


def told(
    world: World, by: Model | None = MODEL, history: dict[str, Any] | None = None
) -> dict[str, Any]:
    clock_us = world.owned[0].checkpoint.clock_us
    return answer(found(world), by, world.config, clock_us, history)


def world(*events: dict[str, Any], margin: float = 0.15, dwell: int = 0) -> World:
    made = World(config=switching(RULES, margin=margin, min_dwell_us=dwell))
    for event in events:
        made.send(event, model=MODEL)
    return made


def test_a_customer_is_told_with_segment_window_profile_and_consent() -> None:
    consent = {"marketing": True}
    some = world(
        profile("c", 1, **STUDENT, consent=consent), purchase("c", 99, 20), purchase("c", 103, 5.5)
    )
    told_ = told(some)
    assert told_["status"] == "assigned"
    assert told_["segment"] == {"id": "students", "name": "Students"}
    assert told_["since"] == some.changes[-1].occurred_at.isoformat(
        timespec="microseconds"
    ).replace("+00:00", "Z")
    assert told_["version"] == some.changes[-1].version
    assert (told_["window"]["purchases"], told_["window"]["spend"]) == (2, 25.5)
    assert [tile["purchases"] for tile in told_["window"]["tiles"]] == [1, 1]
    assert (told_["profile"]["age"], told_["profile"]["location"]) == (20, "urban")
    assert told_["consent"] == {"marketing": True, "profiling": None}
    shown = text(told_)
    assert "Students, since" in shown
    assert "2 purchases, 25.50 USD" in shown
    assert "marketing given, profiling not said" in shown


def test_a_name_far_from_its_customers_is_marked() -> None:
    some = told(world(profile("c", 1, **STUDENT), purchase("c", 99, 20)))
    assert some["doubted"] == []
    assert "?" not in text(some)
    shown = text(some | {"doubted": ["students"]})
    assert "Students?, since" in shown
    assert "more than 1 sd from what the name says" in shown


def test_why_adds_up_to_the_distances() -> None:
    some = world(profile("c", 1, age=30), purchase("c", 103, 40))
    why = told(some)["why"]
    assert why is not None
    for side in ("own", "runner_up"):
        assert sum(each[side]["share"] for each in why["features"]) == pytest.approx(1, abs=1e-3)
    values = {each["feature"]: each["value"] for each in why["features"]}
    assert values == {
        "purchases": pytest.approx(1),
        "spend": pytest.approx(40),
        "age": 30,
        "income": None,
        "urbanicity": None,
    }
    distances = [each["distance"] for each in why["distances"]]
    assert distances == sorted(distances)
    assert len(distances) == len(SEGMENTS)
    assert why["distances"][0]["segment"] == why["of"] == why["nearest"]
    assert why["distances"][1]["segment"] == why["runner_up"]
    nearer = 1 - distances[1] / distances[0]
    assert why["margin"]["nearer_by"] == pytest.approx(nearer, abs=1e-3)
    assert {each["feature"] for each in (told(some)["outlook"] or {})["one_feature"]} <= {
        "purchases",
        "spend",
        "age",
    }


def moved(**how: Any) -> World:
    """A student, now similar to a retiree."""
    first = profile("c", 1, **STUDENT)
    return world(first, purchase("c", 103, 20), profile("c", 2, **RETIREE), **how)


def test_a_switch_that_the_margin_holds_back_is_told() -> None:
    told_ = told(moved(margin=0.99))
    assert told_["segment"] == told_["why"]["of"] == {"id": "students", "name": "Students"}
    assert told_["why"]["nearest"] == told_["why"]["runner_up"] != told_["segment"]
    assert told_["why"]["margin"]["held_by"] == "margin"
    assert 0 < told_["why"]["margin"]["nearer_by"] < 0.99
    assert "held back: 99% nearer is needed to switch (SWITCH_MARGIN)" in text(told_)


def test_a_switch_that_the_dwell_holds_back_is_told_with_its_end() -> None:
    told_ = told(moved(dwell=30 * DAY))
    assert told_["why"]["margin"]["held_by"] == "dwell"
    assert told_["why"]["margin"]["dwells_until"][:10] == "1970-05-14"  # 103 + 30 days
    assert "held back until 1970-05-14" in text(told_)
    # The window is empty before the dwell is over.
    assert [each["segment"] for each in told_["outlook"]["time_alone"]] == [None]


def test_a_move_that_is_due_is_told() -> None:
    some = world(profile("c", 1, **STUDENT), purchase("c", 103, 20))
    centroids = np.roll(MODEL.snapshot.centroids, 1, axis=0)
    elsewhere = model_of(replace(MODEL.generation, centroids=centroids))
    told_ = told(some, elsewhere)
    assert told_["outlook"]["moves_when_next_scored"]
    assert f"Due       {told_['outlook']['when_next_scored']['name']}" in text(told_)


@pytest.mark.parametrize(
    ("some", "by", "because", "said"),
    [
        (
            world(purchase("c", 103), profile("c", 2, consent={"profiling": False})),
            MODEL,
            "consent",
            "consent to profiling was denied",
        ),
        (world(profile("c", 2, age=30)), MODEL, "no_purchase", "no purchase in the window"),
        (World(), None, "no_model", "no model yet"),
        (World(), MODEL, "not_scored", "the next purchase or sweep"),
    ],
    ids=["consent", "empty window", "no model", "not scored"],
)
def test_who_has_no_segment_is_told_why(
    some: World, by: Model | None, because: str, said: str
) -> None:
    if not some.customers[0]:
        some.send(purchase("c", 103))
    told_ = told(some, by)
    assert (told_["status"], told_["because"]) == ("unassigned", because)
    assert (told_["segment"], told_["since"], told_["outlook"]) == (None, None, None)
    assert f"none: {said}" in text(told_) or said in text(told_)


@pytest.mark.parametrize("action", ["erase", "suppress"])
def test_of_who_was_erased_or_is_suppressed_nothing_else_is_told(action: str) -> None:
    some = world(profile("c", 1, **STUDENT), purchase("c", 103))
    record = some.stored("c")
    some.send(erasure("c", 104, action), model=MODEL)
    assert "c" not in some.customers[0]
    marker = Marker.from_bytes(some.erasures[0][marker_key("c", RULES.group_id)])
    record["counts"], record["cents"], record["segment"] = 0, 0, -1
    for name in ("age", "income", "urbanicity"):
        record[name] = np.nan
    gone = StoredCustomer("c", 0, record, marker, some.owned[0].checkpoint, DEPLOYMENT)
    told_ = nothing_kept(gone)
    assert told_ is not None
    status = "erased" if action == "erase" else "suppressed"
    assert told_ == {"customer_id": "c", "status": status}
    assert len(text(told_).splitlines()) == 1


def test_who_bought_again_after_an_erasure_is_told_from_then_on() -> None:
    some = world(purchase("c", 90), erasure("c", 95), purchase("c", 103, 7))
    assert nothing_kept(found(some)) is None
    told_ = told(some)
    assert told_["window"]["spend"] == 7
    assert told_["erased_before"] == "1970-04-07T00:00:00.000000Z"  # the tile of day 95 ends there
    assert "nothing before 1970-04-07" in text(told_)


def test_lines_are_no_wider_than_80_columns() -> None:
    some = world(
        profile("c", 1, age=30, income=99_999_999, location="rural"),
        *(purchase("c", 85 + i, 999_999.99) for i in range(18)),
    )
    change: SegmentChange = some.changes[-1]
    told_ = told(some, history=searched([change] * 3, 500))
    assert told_["history"]["changes"][0]["version"] == change.version
    for line in text(told_).splitlines():
        assert len(line) <= 80, line


def test_the_history_says_how_far_back_it_was_looked_for() -> None:
    some = world(purchase("c", 103))
    assert "none among the newest 500" in text(told(some, history=searched([], 500)))
    assert "none earlier in the log" in text(told(some, history=searched([], 500, whole=True)))
    assert told(some)["history"] is None
