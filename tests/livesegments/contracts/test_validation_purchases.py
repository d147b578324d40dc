"""The fast path agrees with the contract: the same values and rejections."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from livesegments.contracts import events, timestamps, validation
from livesegments.contracts.validation import MAX_BYTES
from tests.livesegments.contracts.records import purchase

VALID = purchase(category="bread")
FIELDS = [*VALID, "items", "channel", "unknown"]

LENGTHS = [
    "",
    "x" * 128,
    "x" * 129,
    "é" * 128,
    "9" * 33,
    "0." + "0" * 29 + "1",
    "0." + "0" * 30 + "1",
]
CHARACTERS = ["\n", "a\nb", "\x00", "\x7f", "\x85", "\u2028"]
DECIMALS = ["0.5", "12.345", "01.5", "+1", "-1", "1.", ".5", "1e3", "10000000000", "10000000001"]
INSTANTS = [
    "2026-02-25T06:00:00+01:00",
    "2026-02-30T06:00:00Z",
    "2026-02-25 06:00:00Z",
    "2026-02-25T06:00:00.123456789Z",
    "2026-02-25T06:00:00.1234567890Z",
    "NaT",
]
WORDS = ["US", "usd", "USDX", "refund", "Purchase", " c-1", "c-1\u00a0", "a b", "1.0", "1E+5"]

odd_text = st.sampled_from([*LENGTHS, *CHARACTERS, *DECIMALS, *INSTANTS, *WORDS])
odd_numbers = st.sampled_from(
    [0, 1, -1, 3.0, 0.1 + 0.2, 1e10, 1e10 + 1, 5e-324, 2**53 + 1, 2**63, 2**64, 10**400, -0.0]
)
values = (
    st.none() | st.booleans() | odd_numbers | odd_text | st.text() | st.floats() | st.integers()
)
anything = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
changes = st.dictionaries(st.sampled_from(FIELDS), anything, max_size=3)
edits = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=2)


@st.composite
def records(draw: st.DrawFn) -> tuple[bytes | None, bytes | None]:
    document = {**VALID, **draw(changes)}
    for name in draw(st.sets(st.sampled_from(FIELDS), max_size=1)):
        document.pop(name, None)
    value = bytearray(
        json.dumps(document, ensure_ascii=draw(st.booleans())).encode(errors="replace")
    )
    for at, new in draw(st.just([]) | edits):
        value[at : at + len(new)] = new
    key = draw(st.sampled_from([b"c-1", b"c-1", None, b"x" * (MAX_BYTES + 1)]))
    return key, draw(st.sampled_from([bytes(value), bytes(value), bytes(value), None]))


def assert_same(keys: list[bytes | None], documents: list[bytes | None]) -> None:
    ours, refused = validation.validate_purchases(keys, documents)
    theirs, rejections = validation.validate(events.PURCHASE, keys, documents)
    assert refused == rejections
    assert ours.row.tolist() == theirs.row.tolist()
    for name in VALID:
        found, expected = ours.column(name), theirs.optional(name)
        assert found == expected
        if name == "amount":
            assert [isinstance(each, str) for each in found] == [
                isinstance(each, str) for each in expected
            ]


@given(st.lists(records(), max_size=12))
def test_any_batch_is_judged_as_by_the_contract(
    batch: list[tuple[bytes | None, bytes | None]],
) -> None:
    assert_same([key for key, _ in batch], [value for _, value in batch])


def raw(**fields: str) -> bytes:
    """Encode a valid purchase whose fields may be any bytes of JSON."""
    texts = {**{name: json.dumps(value) for name, value in VALID.items()}, **fields}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}").encode()


@pytest.mark.parametrize(
    "value",
    [
        raw(unknown='"\\ud800"'),
        raw(unknown='"\\ud83d\\ude00"'),
        raw(event_id='"\\ud83d\\ude00"'),
        raw(unknown="[" * 150 + "]" * 150),
        raw(unknown="[" * 250 + "]" * 250),
        raw(unknown="[" * 5_000 + "]" * 5_000),
        raw(unknown='"[[[["'),
        raw(unknown="9" * 4_300),
        raw(unknown="9" * 4_301),
        raw(unknown="[-" + "9" * 5_000 + "]"),
        raw(unknown="1." + "9" * 5_000),
        raw(unknown='"' + "9" * 5_000 + '"'),
        raw(unknown="NaN"),
        *(raw(customer_id=each) for each in ("42", "-0", "-7", "42.0", "1e3", "true", "042")),
        *(raw(customer_id=str(10**each)) for each in (18, 19, 127, 128)),
        raw(event_id="1001"),
        raw(event_id="1001", customer_id="42"),
        raw(unknown="1" * 4_300),
        raw(unknown="1" * 4_301),
        raw(unknown='["' + "1" * 4_301 + '", 0.' + "1" * 4_301 + "]"),
        raw(unknown="1e999"),
        raw(amount="1e999"),
        raw(amount="Infinity"),
        raw(amount="12.340000000000000000000000000000000001"),
        raw(amount="9007199254740993"),
        raw(items="99999999999999999999999"),
        raw(items="3.0"),
        raw(unknown='"%"').replace(b"%", b"\xff"),
        raw(unknown='"%"').replace(b"%", b"\xed\xa0\x80"),
        raw(event_id='"%"').replace(b"%", b"\xff"),
        raw(unknown="1").replace(b"unknown", b"\xc3"),
        b"\xef\xbb\xbf" + raw(),
        raw() + raw(),
        raw() + b" ",
        b"[" + raw() + b"]",
        b"",
        b"null",
    ],
)
def test_the_corners_of_json_are_judged_as_by_the_contract(value: bytes) -> None:
    assert_same([b"c-1"] * 3, [raw(), value, raw()])


@pytest.mark.parametrize(
    ("field", "text"),
    [("occurred_at", "2026-02-25T06:00:00Z"), ("amount", "1.5"), ("currency", "USD")],
)
def test_a_text_of_two_lines_is_not_two_texts(field: str, text: str) -> None:
    two = raw(**{field: json.dumps(f"{text}\n{text}")})
    assert_same([b"c-1"], [two])
    assert_same([b"c-1"] * 3, [raw(), two, raw()])


INSTANT = re.compile(timestamps.PATTERN)
digit_or_not = st.sampled_from("0123459.-+:TZ ")


@given(
    st.sampled_from(
        [
            "2026-02-25T06:00:00Z",
            "2026-12-31T23:59:59.999999999Z",
            "2026-01-01T00:00:00+23:59",
            "2026-10-09T20:19:30.5-00:30",
        ]
    ),
    st.lists(st.lists(st.tuples(st.integers(0, 29), digit_or_not), max_size=2), max_size=6),
)
@example("2026-02-25T06:00:00Z", [[], [(5, "1"), (6, "3")]])
@example("2026-02-25T06:00:00+01:00", [[], [(20, "2"), (21, "4")]])
@example("2026-02-25T06:00:00+01:00", [[], [(24, "9")], [(23, "6")]])
def test_instants_of_one_shape_are_judged_like_single_ones(
    text: str, edits: list[list[tuple[int, str]]]
) -> None:
    texts = [text]
    for each in edits:
        letters = list(text)
        for at, letter in each:
            letters[at % len(text)] = letter
        texts.append("".join(letters))
    documents = [raw(occurred_at=json.dumps(each)) for each in texts]
    purchases, rejections = validation.validate_purchases([b"c-1"] * len(texts), documents)
    assert [row for row, each in enumerate(texts) if INSTANT.search(each)] == purchases.row.tolist()
    assert len(rejections) == len(texts) - len(purchases.row)


@given(st.sets(st.integers(0, 499), max_size=40))
@example(set(range(500)))
def test_of_many_records_just_the_wrong_ones_are_refused(wrong: set[int]) -> None:
    bad = raw(occurred_at='"yesterday"')
    documents = [bad if row in wrong else raw(amount='"1.50"') for row in range(500)]
    purchases, rejections = validation.validate_purchases([b"c-1"] * 500, documents)
    assert {each.row for each in rejections} == wrong
    assert set(purchases.row.tolist()) == set(range(500)) - wrong
