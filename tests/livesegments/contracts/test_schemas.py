"""The published schemas of the inputs, compared with the decoder."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import decode_erasures, decode_profiles, decode_purchases
from livesegments.contracts.schemas import MESSAGES
from tests.livesegments.contracts.records import TIMESTAMP_MS, dumped, erasure, profile, purchase
from tests.livesegments.contracts.schemas import faults_of_value
from tests.livesegments.contracts.test_hostile_purchases import SCHEMA_INVALID

NAMED = {message.name: message for message in MESSAGES}
Decode = Callable[[bytes], list[Rejection]]
Make = Callable[..., dict[str, Any]]

INPUTS: dict[str, tuple[Make, Decode]] = {
    "purchase": (
        purchase,
        lambda value: decode_purchases([b"c-1"], [value], [TIMESTAMP_MS], currency="USD")[1],
    ),
    "customer-profile": (
        profile,
        lambda value: decode_profiles([b"c-1"], [value], [TIMESTAMP_MS])[1],
    ),
    "customer-erasure": (
        erasure,
        lambda value: decode_erasures([b"c-1"], [value], [TIMESTAMP_MS])[1],
    ),
}
BEYOND_A_SCHEMA = ("no date of the calendar", "birth_year: must give", "write ids as text")
"""Values invalid by the calendar, by two fields together, or as ids that were numbers."""
NOT_CHECKED = ("items", "channel")


def no_number(text: str) -> float:
    raise ValueError(text)


def judged(name: str, value: bytes) -> tuple[bool, bool] | None:
    """Return whether the schema and the decoder accept a value; None if a schema cannot tell."""
    _, decode = INPUTS[name]
    rejections = [each for each in decode(value) if each.reason is not Reason.KEY_MISMATCH]
    if any(beyond in each.message for each in rejections for beyond in BEYOND_A_SCHEMA):
        return None
    if any(each.reason is Reason.NOT_JSON for each in rejections):
        return None
    refused = any(each.reason is Reason.SCHEMA_INVALID for each in rejections)
    document = json.loads(value, parse_constant=no_number)
    return not faults_of_value(NAMED[name], document), not refused


@pytest.mark.parametrize("name", INPUTS)
def test_a_valid_record_keeps_its_schema_also_with_unknown_fields(name: str) -> None:
    make, _ = INPUTS[name]
    for changes in ({}, {"added": {"later": [1]}}):
        assert judged(name, dumped(make, **changes)) == (True, True)


@pytest.mark.parametrize(("field", "changes"), SCHEMA_INVALID)
def test_a_purchase_that_is_refused_breaks_the_schema(field: str, changes: dict[str, Any]) -> None:
    value = dumped(purchase, **changes)
    if any(isinstance(each, float) and not math.isfinite(each) for each in changes.values()):
        with pytest.raises(ValueError, match=r"NaN|Infinity"):
            json.loads(value, parse_constant=no_number)
    else:
        assert judged("purchase", value) in ((False, False), None)


def test_a_whole_number_written_with_a_fraction_is_all_that_a_schema_takes_and_we_do_not() -> None:
    assert judged("customer-profile", dumped(profile, birth_year=1988.0)) == (True, False)
    assert judged("customer-profile", dumped(profile, birth_year=1988)) == (True, True)


@pytest.mark.parametrize(
    "changes",
    [
        *({"items": -1}, {"items": 1.5}, {"items": "3"}, {"items": True}, {"items": ["a"]}),
        *({"channel": "x" * 129}, {"channel": 7}, {"channel": {"a": "b"}}),
        *({"event_id": 7}, {"occurred_at": "2026-02-25 06:00+00"}),
    ],
)
def test_the_decoder_takes_more_than_the_schema_asks_for(changes: dict[str, Any]) -> None:
    assert judged("purchase", dumped(purchase, **changes)) == (False, True)


odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 3000),
    st.sampled_from([0.5, -0.5, 130.5, 130, 10**10, 10**10 + 1, 10**12, 10**13]),
    st.text(max_size=3),
    st.sampled_from(
        [
            *("urban", "erase", "restore", "refund", "EUR", "12.5", "0", "00.5", "1e3", "x" * 129),
            *("2026-02-25T06:00:00Z", "2026-02-25T06:00:00.5+05:30", "2026-02-25 06:00:00Z"),
            *("2026-02-25T06:00:00Z\n", "\n", "2026-02-25", "٣"),
        ]
    ),
    st.lists(st.booleans(), max_size=1),
    st.dictionaries(st.sampled_from(["marketing", "profiling", "x"]), st.none() | st.booleans()),
    st.fixed_dictionaries({"marketing": st.sampled_from(["yes", 1, None, True])}),
)
fields = {
    "purchase": [*purchase(), "items", "category", "channel"],
    "customer-profile": [*profile(), "age", "birth_year", "income", "location", "consent"],
    "customer-erasure": [*erasure()],
}


@given(st.data())
@pytest.mark.parametrize("name", INPUTS)
def test_schema_and_decoder_agree_on_any_fields(name: str, data: st.DataObject) -> None:
    make, _ = INPUTS[name]
    names = st.sampled_from(fields[name])
    changes = data.draw(st.dictionaries(names, odd | st.just(...), max_size=3))
    verdicts = judged(name, dumped(make, **changes))
    if verdicts == (False, True):
        # The schema asks for one form of a value that is read in many.
        plain = {field: value for field, value in changes.items() if not is_lenient(field, value)}
        verdicts = judged(name, dumped(make, **plain))
    assert verdicts is None or verdicts[0] == verdicts[1]


def is_lenient(field: str, value: object) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_id = field.endswith("_id") and is_number
    return field in NOT_CHECKED or is_id or field.endswith("_at")
