import json
from typing import Any

import pytest

from livesegments.contracts.dead_letters import Reason
from livesegments.contracts.validation import MAX_BYTES
from tests.livesegments.contracts.records import (
    TIMESTAMP_MS,
    Record,
    accepted,
    decoded,
    dumped,
    purchase,
    refused,
)

NOT_JSON = {
    "empty": b"",
    "truncated": dumped(purchase)[:-5],
    "truncated in a string": dumped(purchase)[:20],
    "binary": bytes(range(256)),
    "avro-like": b"\x00\x00\x00\x00\x01" + dumped(purchase),
    "bad utf-8": dumped(purchase, category="X").replace(b"X", b"\xff"),
    "utf-16": json.dumps(purchase()).encode("utf-16"),
    "two byte order marks": b"\xef\xbb\xbf" * 2 + dumped(purchase),
    "two documents": dumped(purchase) * 2,
    "opens in one record": b'{"x":[1',
    "closes in the next": b"2]}",
    "nested 10,000 deep": b"[" * 10_000,
    "nested 10,000 deep and closed": b"[" * 10_000 + b"]" * 10_000,
    "nested in an ignored field": dumped(purchase, x="X").replace(
        b'"X"', b"[" * 10_000 + b"]" * 10_000
    ),
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "integer of 5,000 digits": dumped(purchase, amount="X").replace(b'"X"', b"9" * 5000),
    "lone surrogate": dumped(purchase, customer_id="\ud800"),
    "lone surrogate in an ignored field": dumped(purchase, extra="\udfff"),
    "raw line feed in a string": dumped(purchase, extra="X").replace(b"X", b"\n"),
    "single quotes": b"{'event_id': 'e-1'}",
}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_document_is_not_json(value: bytes) -> None:
    assert refused(value).reason is Reason.NOT_JSON


SCHEMA_INVALID: list[tuple[str, dict[str, Any]]] = [
    *((name, {name: ...}) for name in purchase() if name != "kind"),
    *((name, {name: None}) for name in purchase() if name != "kind"),
    *((name, {name: []}) for name in purchase()),
    *((name, {name: {}}) for name in purchase()),
    *((name, {name: True}) for name in purchase()),
    *((name, {name: ""}) for name in purchase()),
    ("event_id", {"event_id": 1.0}),
    ("event_id", {"event_id": 2**5000}),
    ("event_id", {"event_id": "600001.0"}),
    ("event_id", {"event_id": "e" * 129}),
    ("event_id", {"event_id": "e\0"}),
    ("event_id", {"event_id": "e\n"}),
    ("event_id", {"event_id": "\u0085"}),
    ("customer_id", {"customer_id": 15001.0}),
    *(
        ("customer_id", {"customer_id": text})
        for text in (
            *("15001.0", "15001.00", "-1.0", "1.5001e+04", "1E+16", " c-1", "c-1 ", "\u00a0c-1"),
            *(" ", "\u3000"),
        )
    ),
    ("customer_id", {"customer_id": "é" * 129}),
    ("customer_id", {"customer_id": "c\n1"}),
    ("customer_id", {"customer_id": "\x7f"}),
    ("kind", {"kind": "gift"}),
    ("kind", {"kind": "Purchase"}),
    *(
        ("amount", {"amount": amount})
        for amount in (
            *(-1, -0.01, 10_000_000_000.01, 1e300, 10**400, 10**30),
            *(float("nan"), float("inf"), float("-inf")),
            *("-1", "-0", "00", "(1)", "+1", "1e3", "NaN", "Infinity", "1,5", "1_000", " 1", "1\n"),
            *(".5", "5.", "007", "0x10", "٣", "10000000000.01", "10000000001", "1." + "0" * 31),
        )
    ),
    ("currency", {"currency": "US"}),
    ("currency", {"currency": "USDT"}),
    ("currency", {"currency": "U$D"}),
    ("currency", {"currency": 840}),
    ("category", {"category": "x" * 129}),
    ("category", {"category": 7}),
    *(
        ("occurred_at", {"occurred_at": text})
        for text in (
            *(1_772_000_000, "1772000000", "2026-02-25", "06:00:00Z", "now", "20260225T060000Z"),
            *("2026-02-25T06:00:00", "2026-02-25T06:00:00.5", "2026-02-25T06:00:00+1"),
            *("2026-02-30T06:00:00Z", "2025-02-29T06:00:00+01:00", "2026-04-31T06:00:00.5-01:00"),
            *("2026-13-01T06:00:00Z", "2026-00-01T06:00:00Z", "2026-01-00T06:00:00Z"),
            *("2026-01-01T24:00:01Z", "2026-01-01T06:60:00Z", "2026-01-01T06:00:60Z"),
            *("2026-01-01T06:00:00+24:00", "2026-01-01T06:00:00+01:60", "2026-01-01T06:00:00."),
            *("2026-01-01T06:00:00Z\n", " 2026-01-01T06:00:00Z", "2026-01-01T06:00:00.1234567890Z"),
            *("+2026-01-01T06:00:00Z", "٢٠٢٦-01-01T06:00:00Z", "NaT", "today"),
        )
    ),
]


@pytest.mark.parametrize(("field", "changes"), SCHEMA_INVALID)
def test_a_wrong_field_is_schema_invalid_and_named(field: str, changes: dict[str, Any]) -> None:
    rejection = refused(dumped(purchase, **changes))
    assert rejection.reason is Reason.SCHEMA_INVALID
    assert rejection.message.startswith(f"{field}: ")


@pytest.mark.parametrize("value", [b"null", b"1", b'"text"', b"[]", b"true", b"NaN"])
def test_a_document_that_is_no_object_is_schema_invalid(value: bytes) -> None:
    assert refused(value).reason is Reason.SCHEMA_INVALID


def test_every_wrong_field_is_named() -> None:
    rejection = refused(dumped(purchase, kind="gift", amount=-1, category=1))
    assert all(f"{field}: " in rejection.message for field in ("kind", "amount", "category"))


@pytest.mark.parametrize("key", [None, b"", b"c-2", b"C-1", b"c-1 ", b"\xff", b"c-1\n", b"c" * 500])
def test_a_key_other_than_the_customer_is_a_key_mismatch(key: bytes | None) -> None:
    rejection = refused(dumped(purchase), key=key)
    assert rejection.reason is Reason.KEY_MISMATCH
    assert rejection.message.startswith("key: ")


@pytest.mark.parametrize("keys", [(b"a\nb", b""), (b"ab", b""), (b"", b"a\nb"), (b"a", b"\nb")])
def test_keys_that_join_to_much_the_same_bytes_are_told_apart(keys: tuple[bytes, bytes]) -> None:
    customers = ("a", "b")
    records = [
        (key, dumped(purchase, customer_id=customer_id), 0)
        for key, customer_id in zip(keys, customers, strict=True)
    ]
    purchases, rejections = decoded(records)
    assert purchases.customer_id == [key.decode() for key in keys if key == b"a"]
    assert {rejection.reason for rejection in rejections} == {Reason.KEY_MISMATCH}


@pytest.mark.parametrize("currency", ["EUR", "eur", "XXX"])
def test_another_currency_is_a_bad_currency(currency: str) -> None:
    assert refused(dumped(purchase, currency=currency)).reason is Reason.BAD_CURRENCY


def test_a_null_value_is_refused() -> None:
    assert refused(None).reason is Reason.NULL_VALUE


def test_size_is_bounded_before_anything_is_parsed() -> None:
    document = dumped(purchase)
    fits = document + b" " * (MAX_BYTES - len(document))
    assert accepted(fits).cents.tolist() == [1234]
    assert refused(fits + b" ").reason is Reason.TOO_LARGE
    assert refused(b"{" * (MAX_BYTES + 1)).reason is Reason.TOO_LARGE
    assert refused(document, key=b"k" * (MAX_BYTES + 1)).reason is Reason.TOO_LARGE
    assert refused(document, key=b"k" * MAX_BYTES).reason is Reason.KEY_MISMATCH
    assert refused(None, key=b"k" * (MAX_BYTES + 1)).reason is Reason.TOO_LARGE


def test_five_minutes_ahead_of_the_broker_are_tolerated() -> None:
    at_most = "2026-02-25T06:18:20Z"
    beyond = "2026-02-25T06:18:20.000001Z"
    assert accepted(dumped(purchase, occurred_at=at_most)).row.tolist() == [0]
    assert refused(dumped(purchase, occurred_at=beyond)).reason is Reason.FUTURE_DATED
    for none in (0, -1):
        assert accepted(dumped(purchase, occurred_at=beyond), timestamp_ms=none).row.tolist() == [0]


@pytest.mark.parametrize("timestamp_ms", [2**63 - 1, 2**62, 2**64 // 1000 + 1, -(2**63)])
def test_an_absurd_broker_timestamp_overflows_nothing(timestamp_ms: int) -> None:
    assert accepted(dumped(purchase), timestamp_ms=timestamp_ms).row.tolist() == [0]


def test_times_before_1970_are_too_old() -> None:
    for text in (
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+00:01",
        "0000-01-01T00:00:00Z",
    ):
        assert refused(dumped(purchase, occurred_at=text)).reason is Reason.TOO_OLD
    assert accepted(dumped(purchase, occurred_at="1970-01-01T00:00:00Z")).occurred_at[0] == 0


def test_the_first_fault_in_the_order_of_the_reasons_is_given() -> None:
    wrong = {"occurred_at": "1960-01-01T00:00:00Z", "currency": "EUR", "kind": "gift"}
    assert refused(dumped(purchase, **wrong), key=None).reason is Reason.SCHEMA_INVALID
    wrong["kind"] = "refund"
    assert refused(dumped(purchase, **wrong), key=None).reason is Reason.KEY_MISMATCH
    assert refused(dumped(purchase, **wrong)).reason is Reason.BAD_CURRENCY
    wrong["currency"] = "USD"
    assert refused(dumped(purchase, **wrong)).reason is Reason.TOO_OLD
    wrong["occurred_at"] = "2026-02-30T00:00:00Z"
    assert refused(dumped(purchase, **wrong), key=None).reason is Reason.SCHEMA_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {name: value}
        for name in (*purchase(), "category")
        for value in ("SECRET\n" + "x" * 200, ["SECRET"], {"SECRET": "SECRET"})
    ],
)
def test_messages_hold_no_values(changes: dict[str, Any]) -> None:
    assert "SECRET" not in refused(dumped(purchase, **changes)).message


@pytest.mark.parametrize(
    "value",
    [
        b"SECRET",
        b'{"SECRET',
        b'"SECRET',
        b'"SECRET"',
        b'["SECRET"]',
        b'{"a": SECRET}',
        b'{"SECRET":}',
    ],
)
def test_messages_about_broken_documents_hold_no_values(value: bytes) -> None:
    assert "SECRET" not in refused(value, key=b"SECRET").message


def test_messages_about_keys_currencies_and_times_hold_no_values() -> None:
    assert "SECRET" not in refused(dumped(purchase), key=b"SECRET").message
    assert "EUR" not in refused(dumped(purchase, currency="EUR")).message
    assert "2999" not in refused(dumped(purchase, occurred_at="2999-01-01T00:00:00Z")).message


def odd_records() -> list[tuple[Record, Reason]]:
    """One record of each kind of fault, with its expected reason."""
    good = dumped(purchase)
    return [
        *(((b"c-1", value, TIMESTAMP_MS), Reason.NOT_JSON) for value in NOT_JSON.values()),
        *(
            ((b"c-1", dumped(purchase, **changes), TIMESTAMP_MS), Reason.SCHEMA_INVALID)
            for _, changes in SCHEMA_INVALID
        ),
        ((None, good, TIMESTAMP_MS), Reason.KEY_MISMATCH),
        ((b"c-2", good, TIMESTAMP_MS), Reason.KEY_MISMATCH),
        ((b"c-1", None, TIMESTAMP_MS), Reason.NULL_VALUE),
        ((b"c-1", b" " * (MAX_BYTES + 1), TIMESTAMP_MS), Reason.TOO_LARGE),
        ((b"k" * (MAX_BYTES + 1), good, TIMESTAMP_MS), Reason.TOO_LARGE),
        ((b"c-1", dumped(purchase, currency="EUR"), TIMESTAMP_MS), Reason.BAD_CURRENCY),
        (
            (b"c-1", dumped(purchase, occurred_at="1969-01-01T00:00:00Z"), TIMESTAMP_MS),
            Reason.TOO_OLD,
        ),
        (
            (b"c-1", dumped(purchase, occurred_at="2026-03-01T00:00:00Z"), TIMESTAMP_MS),
            Reason.FUTURE_DATED,
        ),
    ]
