"""Updates of customers as lines of text and as JSON."""

import json

from livesegments.client import Update
from livesegments.contracts.segments import Explanation, SegmentChange
from livesegments.operations.subscribe import to_json, to_line
from tests.livesegments.test_client import SEGMENTS, change, state


def test_a_line_says_who_moved_where_and_why() -> None:
    moved = change("1234", 0, 4).model_copy(
        update={
            "previous_segment": SEGMENTS[1],
            "explanation": (Explanation(feature="purchases", direction="above", z_score=1.3),),
        }
    )
    line = to_line(Update("change", "1234", moved))
    assert "12:03:44  customer 1234  " in line
    assert f"{SEGMENTS[1].name} -> {SEGMENTS[4].name}" in line
    assert "live, confidence 0.62, purchases +1.3 sd" in line
    assert to_line(Update("forgotten", "1234", None)) == "customer 1234  forgotten"
    assert SEGMENTS[2].name in to_line(Update("state", "1234", state("1234", 0, 2)))


def test_json_is_one_object_with_the_fields_of_the_contract() -> None:
    moved = change("1234", 7, 4)
    written = json.loads(to_json(Update("change", "1234", moved)))
    assert written.pop("type") == "change"
    assert SegmentChange.model_validate(written) == moved
    forgotten = json.loads(to_json(Update("forgotten", "1234", None)))
    assert forgotten == {"type": "forgotten", "customer_id": "1234"}


def test_names_that_are_doubted_are_marked() -> None:
    update = Update("state", "c", state("c", 0, 2))
    assert to_line(update, {SEGMENTS[2].id}).endswith(f"is in {SEGMENTS[2].name}?")
    assert to_line(update, {SEGMENTS[1].id}).endswith(f"is in {SEGMENTS[2].name}")
    moved = Update("change", "c", change("c", 1, 2))
    assert f"-> {SEGMENTS[2].name}?  (" in to_line(moved, {SEGMENTS[2].id})


def test_an_id_does_nothing_to_a_terminal() -> None:
    named = change("\u202egnp", 0, 4).model_copy(
        update={"segment": SEGMENTS[4].model_copy(update={"name": "\x1b[31mred"})}
    )
    for payload in (None, named, state("\u202egnp", 0, 2)):
        line = to_line(Update("change", "\u202egnp", payload))
        assert line.isprintable()
        assert "customer \\u202egnp" in line
