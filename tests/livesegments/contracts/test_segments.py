import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from livesegments.contracts.segments import (
    FittedModel,
    SegmentChange,
    SegmentDefinition,
    SegmentState,
    encode,
    read,
)
from tests.livesegments.history.made import change_record

FAMILIES = {"id": "families", "name": "Families"}
STUDENTS = {"id": "students", "name": "Students"}
MODEL = {"generation": 2, "version": 40}

CHANGE: dict[str, Any] = {
    "customer_id": "c-1",
    "change": "reassigned",
    "previous_segment": STUDENTS,
    "segment": FAMILIES,
    "occurred_at": "2026-02-25T06:00:00.000000Z",
    "decided_at": "2026-02-25T06:00:01.250000Z",
    "version": 42,
    "origin": "live",
    "cause": {"event_id": "e-1", "topic": "purchases.v1", "partition": 3, "offset": 7},
    "confidence": 0.75,
    "distance": 1.5,
    "runner_up": STUDENTS,
    "explanation": [
        {
            "feature": "age",
            "direction": "above",
            "z_score": 1.25,
            "previous_z_score": None,
            "contribution": 0.5,
        }
    ],
    "other_contributions": {"model": -0.25, "profile": 0.0},
    "model": MODEL,
    "consent": {"marketing": None},
}
STATE: dict[str, Any] = {
    "customer_id": "c-1",
    "segment": FAMILIES,
    "since": "2026-02-25T06:00:01.250000Z",
    "version": 42,
    "confidence": 0.75,
    "consent": {"marketing": True},
    "model": MODEL,
}
DEFINITION: dict[str, Any] = {
    "id": "families",
    "name": "Families",
    "description": "Middle-aged, suburban",
    "centroid": {
        "purchases": 9.5,
        "spend": 310.0,
        "age": None,
        "income": None,
        "urbanicity": 0.5,
        "recency": None,
        "basket": None,
    },
    "size": 120,
    "generation": 2,
    "cluster": 4,
    "persona_distance": 0.5,
    "named_by": ["purchases", "spend"],
    "model": {
        "features": ["purchases", "spend", "age", "income", "urbanicity"],
        "centroid": [2.25, 5.5, None, None, 0.5],
        "mean": [2.0, 5.0, 40.0, 10.5, 0.5],
        "variance": [1.0, 1.0, 100.0, 0.25, 0.125],
        "size": 118,
        "histograms": [{"edges": [1.5, 2.0], "counts": [100, 200, 100, 0]}] * 5,
        "provisional": True,
    },
    "version": 40,
}
ALL = [(SegmentChange, CHANGE), (SegmentState, STATE), (SegmentDefinition, DEFINITION)]


@pytest.mark.parametrize(("event", "document"), ALL)
def test_a_subscriber_reads_what_a_publisher_encodes(
    event: type[BaseModel], document: dict[str, Any]
) -> None:
    read = event.model_validate_json(encode(document))
    assert json.loads(encode(read)) == json.loads(read.model_dump_json()) == document


@pytest.mark.parametrize(("event", "document"), ALL)
def test_a_subscriber_ignores_later_additions(
    event: type[BaseModel], document: dict[str, Any]
) -> None:
    assert event.model_validate(document | {"added": 1}) == event.model_validate(document)


@pytest.mark.parametrize(("event", "document"), ALL)
def test_events_cannot_be_altered(event: type[BaseModel], document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        event.model_validate(document).version = 1  # type: ignore[attr-defined]


def test_the_first_assignment_and_the_last_leaving_have_null_sides() -> None:
    changes = {"cause": None, "confidence": None, "distance": None, "runner_up": None}
    assigned = CHANGE | changes | {"change": "assigned", "previous_segment": None}
    assert SegmentChange.model_validate(assigned).previous_segment is None
    unassigned = CHANGE | changes | {"change": "unassigned", "segment": None, "explanation": []}
    assert SegmentChange.model_validate(unassigned).segment is None


def test_a_change_of_an_earlier_release_is_read() -> None:
    [now] = CHANGE["explanation"]
    then = {name: now[name] for name in ("feature", "direction", "z_score")}
    earlier = {name: CHANGE[name] for name in CHANGE if name != "other_contributions"}
    read = SegmentChange.model_validate(earlier | {"explanation": [then]})
    assert read.other_contributions is None
    assert read.explanation[0].contribution is None


def test_times_are_utc_with_microseconds() -> None:
    local = datetime(2026, 2, 25, 7, tzinfo=timezone(timedelta(hours=1)))
    state = SegmentState.model_validate(STATE | {"since": local})
    assert state.since == datetime(2026, 2, 25, 6, tzinfo=UTC)
    assert json.loads(encode(state))["since"] == "2026-02-25T06:00:00.000000Z"


@pytest.mark.parametrize(
    "changes",
    [
        {"change": "moved"},
        {"occurred_at": "2026-02-25T06:00:00"},
        {"confidence": 1.5},
        {"confidence": math.nan},
        {"distance": math.inf},
        {"customer_id": ""},
        {"version": -1},
    ],
)
def test_a_change_outside_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SegmentChange.model_validate(CHANGE | changes)


def test_nan_is_written_as_null_and_never_as_invalid_json() -> None:
    assert json.loads(encode(CHANGE | {"distance": math.nan}))["distance"] is None


doubles = st.lists(
    st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=5
)


@given(doubles, doubles, doubles)
def test_a_fitted_model_keeps_every_bit(
    centroid: list[float | None], mean: list[float | None], variance: list[float | None]
) -> None:
    document = {"centroid": centroid, "mean": mean, "variance": variance, "size": 1}
    read = FittedModel.model_validate_json(encode(document))
    assert [repr(x) for x in (*read.centroid, *read.mean, *read.variance)] == [
        repr(x) for x in (*centroid, *mean, *variance)
    ]


def test_a_subscriber_reads_what_a_later_release_adds() -> None:
    """Enumerations grow, as docs/contracts.md says."""
    later = [{**CHANGE["explanation"][0], "feature": "returns"}] * 8
    change = {**CHANGE, "origin": "merge", "explanation": later}
    read = SegmentChange.model_validate_json(json.dumps(change))
    assert (read.origin, read.explanation[0].feature) == ("merge", "returns")
    definition = {**DEFINITION, "named_by": ["returns"]}
    assert SegmentDefinition.model_validate_json(json.dumps(definition)).named_by == ("returns",)


def test_a_record_of_another_producer_is_none_and_a_worker_s_is_named() -> None:
    record = change_record(SegmentChange.model_validate(CHANGE), 7, 3)
    assert read(SegmentChange, record) == SegmentChange.model_validate(CHANGE)
    broken = record._replace(value=b"{}")
    assert read(SegmentChange, broken._replace(headers=[])) is None
    with pytest.raises(
        ValueError, match=r"segment-changes.v1, partition 3, offset 7: is no Segment"
    ):
        read(SegmentChange, broken)
