import json
from dataclasses import replace
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.consumer.fetcher import ConsumerRecord
from msgspec import Struct
from msgspec.structs import asdict

from livesegments.consumers.modelling.definitions import to_definitions
from livesegments.contracts.cloudevents import event_ids, read_provenance
from livesegments.contracts.dead_letters import Reason, Rejection, parse
from livesegments.contracts.segments import SegmentChange, SegmentDefinition, SegmentState
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, PURCHASES, STATES
from livesegments.domain import Change, FeatureReason, OtherParts, Trigger
from livesegments.features.segmentation import Segmentation
from livesegments.producers.serializers import Serializer
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.outbox import Output
from tests.consumers.harness import RULES, model, record
from tests.segmentations import PERSONAS

NONCE = "00000000000000aa"
SECOND = 1_000_000
SEGMENTS = {each.id: each for each in PERSONAS.segments}
TWO = Segmentation(PERSONAS.features, (SEGMENTS["students"], SEGMENTS["families"]))
MESSAGES = Serializer(
    replace(RULES, segmentation=TWO),
    partition=3,
    checkpoint=Checkpoint(version=42, nonce=NONCE, generation=7),
    decided_at_us=10 * SECOND + 5,
)
CAUSE = Trigger("e-1", PURCHASES, 3, 99, arrived_ms=9_000, traceparent=b"00-trace")


def change(**fields: Any) -> Change:
    return Change(
        **{
            "customer_id": "c",
            "previous": -1,
            "segment": 1,
            "origin": "live",
            "time_us": 9 * SECOND,
            "since_us": 8 * SECOND,
            "confidence": 0.5,
            "distance": 1.25,
            "runner_up": 0,
            "explanation": [
                FeatureReason("age", "below", -2.0, 0.5, 1.25),
                FeatureReason("spend", "above", 0.0, nan, -0.5),
            ],
            "others": OtherParts(0.25, 0.0),
            "marketing": 0,
            **fields,
        }
    )


def headers(output: Output) -> dict[str, bytes]:
    assert len(dict(output.headers)) == len(output.headers)
    return dict(output.headers)


def read_back(part: Struct) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in asdict(part).items()}


numbers = st.floats(0, 1) | st.sampled_from([0.0, 1e-05, 5e-324, 1.0])


parts = st.floats(-1e9, 1e9)
unknown = st.just(nan) | parts
figures = st.tuples(parts, unknown, parts)


@given(st.text(), st.none() | st.text(), numbers, st.lists(figures, max_size=5), unknown)
def test_whatever_is_filled_in_is_read_back(
    customer_id: str,
    event_id_: str | None,
    number: float,
    found: list[tuple[float, float, float]],
    model_part: float,
) -> None:
    names = ("age", "spend", "income", "purchases", "urbanicity")
    explained = [
        FeatureReason(name, "above", *each) for name, each in zip(names, found, strict=False)
    ]
    made = change(
        customer_id=customer_id,
        confidence=number,
        distance=number,
        explanation=explained,
        others=OtherParts(model_part, number),
    )
    first, second = MESSAGES.changes([(made, CAUSE._replace(event_id=event_id_))])
    told, state = json.loads(first.value or b""), json.loads(second.value or b"")
    assert told["customer_id"] == state["customer_id"] == customer_id
    assert first.key == customer_id.encode()
    assert told["cause"]["event_id"] == event_id_
    assert told["confidence"] == told["distance"] == state["confidence"] == number
    assert told["explanation"] == [read_back(each) for each in explained]
    assert told["other_contributions"] == read_back(OtherParts(model_part, number))


def test_a_change_and_its_state_keep_the_contract() -> None:
    first, second = MESSAGES.changes([(change(), CAUSE)])
    assert (first.topic, second.topic) == (CHANGES, STATES)
    assert first.key == second.key == b"c"
    assert first.value is not None
    assert second.value is not None
    published = SegmentChange.model_validate_json(first.value).model_dump(mode="json")
    assert published == {
        "customer_id": "c",
        "change": "assigned",
        "previous_segment": None,
        "segment": {"id": "families", "name": "Families"},
        "occurred_at": "1970-01-01T00:00:09.000000Z",
        "decided_at": "1970-01-01T00:00:10.000005Z",
        "version": 42,
        "origin": "live",
        "cause": {"event_id": "e-1", "topic": PURCHASES, "partition": 3, "offset": 99},
        "confidence": 0.5,
        "distance": 1.25,
        "runner_up": {"id": "students", "name": "Students"},
        "explanation": [
            {
                "feature": "age",
                "direction": "below",
                "z_score": -2.0,
                "previous_z_score": 0.5,
                "contribution": 1.25,
            },
            {
                "feature": "spend",
                "direction": "above",
                "z_score": 0.0,
                "previous_z_score": None,
                "contribution": -0.5,
            },
        ],
        "other_contributions": {"model": 0.25, "profile": 0.0},
        "model": {"generation": 7, "version": 42},
        "consent": {"marketing": False},
    }
    assert SegmentState.model_validate_json(second.value).model_dump(mode="json") == {
        "customer_id": "c",
        "segment": {"id": "families", "name": "Families"},
        "since": "1970-01-01T00:00:08.000000Z",
        "version": 42,
        "confidence": 0.5,
        "consent": {"marketing": False},
        "model": {"generation": 7, "version": 42},
    }


@pytest.mark.parametrize(
    ("previous", "segment", "kind"),
    [(-1, 0, "assigned"), (0, 1, "reassigned"), (1, -1, "unassigned")],
)
def test_a_change_tells_before_and_after(previous: int, segment: int, kind: str) -> None:
    [first, _] = MESSAGES.changes([(change(previous=previous, segment=segment), None)])
    assert first.value is not None
    published = SegmentChange.model_validate_json(first.value)
    ids = [
        None if ref is None else ref.id for ref in (published.previous_segment, published.segment)
    ]
    names = ["students", "families", None]
    assert (published.change, ids) == (kind, [names[previous], names[segment]])
    assert published.cause is None


@pytest.mark.parametrize(("marketing", "published"), [(-1, None), (0, False), (1, True)])
def test_consent_to_marketing_goes_along(marketing: int, published: bool | None) -> None:
    first, second = MESSAGES.changes([(change(marketing=marketing), None)])
    assert first.value is not None
    assert second.value is not None
    assert SegmentChange.model_validate_json(first.value).consent.marketing is published
    assert SegmentState.model_validate_json(second.value).consent.marketing is published


def test_headers_are_those_of_cloudevents_with_the_commit_behind_them() -> None:
    found = headers(MESSAGES.changes([(change(), CAUSE)])[0])
    assert found == {
        "ce_specversion": b"1.0",
        "ce_id": event_ids(CHANGES, 3, 42, [b"c"])[0],
        "ce_type": b"io.livesegments.segment-change.v1",
        "ce_source": b"/livesegments/group",
        "ce_time": b"1970-01-01T00:00:10.000005Z",
        "content-type": b"application/json",
        "livesegments-nonce": NONCE.encode(),
        "livesegments-version": b"42",
        "traceparent": b"00-trace",
    }


def test_no_two_outputs_of_a_commit_share_an_id() -> None:
    changes = [change(customer_id=name) for name in "abc"]
    outputs = MESSAGES.changes(
        list(zip(changes, [CAUSE, None, None], strict=True)), forgotten={"b"}
    )
    outputs += MESSAGES.tombstones(["b", "never-known"])
    ids = [headers(output)["ce_id"] for output in outputs]
    assert len(set(ids)) == len(ids)
    assert [(o.topic, o.key, o.value is None) for o in outputs if o.key == b"b"] == [
        (CHANGES, b"b", False),
        (STATES, b"b", True),
    ]


def test_a_tombstone_is_a_null_state() -> None:
    [output] = MESSAGES.tombstones(["c"])
    assert (output.topic, output.key, output.value) == (STATES, b"c", None)
    assert headers(output)["ce_type"] == b"io.livesegments.segment-state.v1"
    assert read_provenance(output.headers) == (NONCE, 42)


def test_definitions_keep_the_contract() -> None:
    now = model()
    outputs = MESSAGES.definitions(to_definitions(now, PERSONAS))
    assert {output.topic for output in outputs} == {DEFINITIONS}
    for output in outputs:
        assert output.value is not None
        definition = SegmentDefinition.model_validate_json(output.value)
        assert output.key == definition.id.encode()
        assert definition.version == 42


def dead_letter(refused: ConsumerRecord) -> Output:
    return MESSAGES.dead_letter(refused, Rejection(0, Reason.NOT_JSON, "value: not JSON"))


def test_a_dead_letter_has_the_bytes_of_its_record_and_says_where_it_was_and_why() -> None:
    original = [("a", b"1"), ("a", b"2"), ("livesegments-version", b"forged")]
    output = dead_letter(
        record(PURCHASES, 7, b"\xff", b"\x00{", partition=3, timestamp_ms=11, headers=original)
    )
    assert (output.topic, output.key, output.value) == (DEAD_LETTERS, b"\xff", b"\x00{")
    letter = parse(output.headers)
    assert (letter.topic, letter.partition, letter.offset) == (PURCHASES, 3, 7)
    assert (letter.timestamp_ms, letter.reason, letter.message) == (
        11,
        "not_json",
        "value: not JSON",
    )
    assert letter.original_headers == original
    assert read_provenance(output.headers) == (NONCE, 42)


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [(b"k", None, None), (None, b"v", b"v"), (None, b"", b""), (None, None, b"")],
)
def test_a_dead_letter_is_never_a_record_of_two_nulls(
    key: bytes | None, value: bytes | None, sent: bytes | None
) -> None:
    output = dead_letter(record(PURCHASES, 0, key, value))
    assert (output.key, output.value) == (key, sent)


def test_a_dead_letter_that_is_refused_again_tells_of_the_last_time() -> None:
    once = dead_letter(record(PURCHASES, 7, b"k", b"v"))
    again = dead_letter(record(PURCHASES, 9, once.key, once.value, headers=once.headers))
    assert parse(again.headers).offset == 9
    assert read_provenance(again.headers) == (NONCE, 42)


def test_a_null_header_becomes_an_empty_one() -> None:
    output = dead_letter(record(PURCHASES, 7, b"k", b"v", headers=[("gone", None)]))
    assert ("gone", b"") in output.headers
