import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.contracts import cloudevents, dead_letters
from livesegments.contracts.dead_letters import (
    CUT_BYTES,
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    DeadLetter,
    Reason,
    fitting,
)
from livesegments.contracts.schemas import MESSAGES
from livesegments.contracts.topics import DEAD_LETTERS
from tests.livesegments.contracts.schemas import faults_of_headers


def letter(
    original: list[tuple[str, bytes | None]], *, offset: int = 7, message: str = "amount: missing"
) -> list[tuple[str, bytes | None]]:
    return dead_letters.headers(
        original,
        topic="purchases.v1",
        partition=3,
        offset=offset,
        timestamp_ms=1_772_000_000_000,
        reason=Reason.SCHEMA_INVALID,
        message=message,
    )


def test_headers_are_those_of_the_record_and_then_where_it_was_and_why() -> None:
    assert letter([("trace", b"abc"), ("empty", None), ("trace", b"def")]) == [
        ("trace", b"abc"),
        ("empty", None),
        ("trace", b"def"),
        ("livesegments-original-topic", b"purchases.v1"),
        ("livesegments-original-partition", b"3"),
        ("livesegments-original-offset", b"7"),
        ("livesegments-original-timestamp", b"1772000000000"),
        ("livesegments-reason", b"schema_invalid"),
        ("livesegments-message", b"amount: missing"),
    ]


def test_the_headers_of_a_source_keep_their_schema_too() -> None:
    [message] = [each for each in MESSAGES if each.topic == DEAD_LETTERS]
    ours = dict(letter([])) | {dead_letters.TOPIC: b"shop.orders", dead_letters.SOURCE: b"orders"}
    found = {name: (value or b"").decode() for name, value in ours.items()}
    assert faults_of_headers(message, found) == []
    assert faults_of_headers(message, {**found, dead_letters.OFFSET: "x"})


names = st.text(max_size=8) | st.sampled_from(
    [dead_letters.TOPIC, dead_letters.OFFSET, dead_letters.REASON, cloudevents.VERSION]
)


@given(st.lists(st.tuples(names, st.none() | st.binary(max_size=8)), max_size=6), st.text())
def test_what_was_written_is_read_back_whatever_headers_the_record_had(
    original: list[tuple[str, bytes | None]], message: str
) -> None:
    message = message.encode(errors="replace").decode()
    published = [*letter(original, message=message), *cloudevents.provenance("0" * 16, 42)]
    assert dead_letters.parse(published) == DeadLetter(
        topic="purchases.v1",
        partition=3,
        offset=7,
        timestamp_ms=1_772_000_000_000,
        reason="schema_invalid",
        message=message,
        original_headers=original,
    )
    assert cloudevents.read_provenance(published) == ("0" * 16, 42)


def test_a_letter_that_came_back_tells_of_its_last_journey() -> None:
    assert dead_letters.parse(letter(letter([("trace", b"abc")]), offset=99)).offset == 99


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("trace", b"abc")],
        letter([])[1:],
        letter([])[:-1],
        [*letter([]), ("livesegments-original-offset", b"x")],
        [*letter([]), ("livesegments-reason", b"\xff")],
    ],
)
def test_other_headers_are_no_dead_letter(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(ValueError, match="not a dead letter"):
        dead_letters.parse(headers)


def test_a_record_that_fits_keeps_all_and_a_larger_one_is_cut() -> None:
    named: list[tuple[str, bytes | None]] = [("name", b"x" * 1_000)]
    value = b"v" * (MAX_RECORD_BYTES - 1_005 - HEADER_BYTES)
    assert fitting(b"k", value, named) == (b"k", value, named)
    assert fitting(b"kk", value, named) == (b"kk", value[:CUT_BYTES], ())
    assert fitting(None, None, [("n", b"x" * MAX_RECORD_BYTES)]) == (None, None, ())


def test_headers_without_name_and_value_take_room_too() -> None:
    assert fitting(b"k", None, [("", None)] * 1_000_000) == (b"k", None, ())
