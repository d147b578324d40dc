"""Inputs as they come in real life, on the topic and in a file: read, or refused in a sentence."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.decode import decode_profiles, decode_purchases
from livesegments.ingest.file_formats import FileError, FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from tests.livesegments.contracts.records import dumped, purchase
from tests.livesegments.ingest.rows import PURCHASE, WRITERS, csv_of

CASES = Path(__file__).parents[2] / "cases"
NO_PATTERN = re.compile(r"\[0-9\]|\^|\\d|[Ii]nput should|should match|union|str\b|float\b")


def lines_of(name: str) -> list[bytes]:
    return (CASES / name).read_bytes().splitlines()


def on_topic(values: Sequence[bytes], keys: Sequence[bytes] | None = None) -> dict[int, Rejection]:
    """Row -> rejection of purchases, each by itself and all together."""
    keys = keys or [str(json.loads(value)["customer_id"]).encode() for value in values]
    together = decode_purchases(keys, values, [0] * len(values), currency="USD")[1]
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        alone = decode_purchases([key], [value], [0], currency="USD")[1]
        assert [each.message for each in alone] == [e.message for e in together if e.row == row]
    assert not any(NO_PATTERN.search(each.message) for each in together)
    return {each.row: each for each in together}


def in_file(path: Path) -> tuple[list[str], dict[int, str]]:
    """The customers that are read from a file, and line -> field and reason of the other rows."""
    broken: list[BrokenRowError] = []
    read = list(read_events(path, "purchases", currency="USD", on_broken=broken.append))
    return (
        [record.key.decode() for record in read],
        {each.line: f"{each.field}: {each.why}" for each in broken},
    )


def test_times_as_languages_print_them() -> None:
    refused = on_topic(lines_of("instants.jsonl"))
    assert set(refused) == {3, 4}
    assert refused[3].message.startswith("occurred_at: has no UTC offset; add one")
    assert refused[4].message.startswith("occurred_at: is a number, like seconds since 1970; send")
    customers, broken = in_file(CASES / "instants.jsonl")
    assert customers == ["42"] * 3
    assert broken[4].startswith("occurred_at: has no UTC offset; add one")
    assert broken[4].endswith("name the file's time zone: --timezone UTC")
    assert broken[5].startswith("occurred_at: is a number, like seconds since 1970; send")


def test_compact_times_are_never_another_moment() -> None:
    customers, broken = in_file(CASES / "compact-times.csv")
    assert customers == []
    assert broken == {
        2: 'occurred_at: is a time without separators; send it like "2026-03-01T08:30:00Z"'
    }
    refused = on_topic([dumped(purchase, occurred_at="20230808120000Z", customer_id="42")])
    assert refused[0].message == broken[2]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    value = (CASES / "byte-order-mark.bin").read_bytes()
    assert on_topic([value], [b"42"]) == {}
    (tmp_path / "p.jsonl").write_bytes(value)
    assert in_file(tmp_path / "p.jsonl") == (["42"], {})


@pytest.mark.parametrize("name", ["schema-registry-avro.bin", "schema-registry-json.bin"])
def test_a_schema_registry_prefix_is_named_with_its_schema(name: str) -> None:
    value = (CASES / name).read_bytes()
    [refused] = on_topic([value], [b"42"]).values()
    assert refused.reason is Reason.NOT_JSON
    assert refused.message.startswith(
        "value: starts with a Schema Registry prefix (magic byte 0, schema id 7)"
    )
    _, [profile] = decode_profiles([b"42"], [value], [0])
    assert profile.message == refused.message
    [key] = on_topic([dumped(purchase, customer_id="42")], [b"\0\0\0\0\x0742xx"]).values()
    assert key.message.startswith("key: starts with a Schema Registry prefix (schema id 7)")


def test_envelopes_of_change_data_capture_are_named() -> None:
    rows = [re.split(rb"\s{2,}", line)[:2] for line in lines_of("change-data-capture.txt")[1:5]]
    keys = [key for key, _ in rows]
    keys[3] = (42).to_bytes(8)
    messages = [each.message for each in on_topic([value for _, value in rows], keys).values()]
    assert messages[0].startswith("value: is a change event of Debezium; unwrap it")
    assert messages[1].startswith("value: is a Kafka Connect envelope (schema and payload); send")
    assert messages[2].startswith("key: is a JSON string; send the customer_id in UTF-8")
    assert messages[3].startswith("key: is a binary number of 8 bytes; send the customer_id")
    purchase_42 = dumped(purchase, customer_id="42")
    others = [b'{"customer_id":42}', b'{"schema":{"type":"string"},"payload":"42"}', None]
    for key, why in zip(others, ["a JSON object", "a Kafka Connect env", "null"], strict=True):
        [refused] = decode_purchases([key], [purchase_42], [0], currency="USD")[1]
        assert refused.message.startswith(f"key: is {why}")


@pytest.mark.parametrize("value", [b"", b"null", b'"null"', b" NULL\n", b'""', b"{}"])
def test_a_deletion_that_is_no_null_says_to_send_one(value: bytes) -> None:
    profiles, [refused] = decode_profiles([b"42"], [value], [0])
    assert not len(profiles.row)
    assert "to delete the profile send a null value" in refused.message
    profiles, rejections = decode_profiles([b"42"], [None], [0])
    assert (profiles.deleted.tolist(), rejections) == ([True], [])


def test_webhooks_of_the_contracts_shape_are_read_and_others_named() -> None:
    values = lines_of("webhooks.jsonl")
    refused = on_topic(values, [b"42", b"500000042", b"42", b"42", b"42"])
    assert set(refused) == {0, 1}
    assert refused[0].message == (
        "value: lacks event_id, customer_id, occurred_at, amount, currency; send an object with"
        " these fields, or let `livesegments ingest` make it of what other systems send"
    )
    assert refused[1].message.startswith("value: lacks event_id, customer_id, occurred_at, amount")
    purchases, _ = decode_purchases([b"42"] * 3, values[2:], [0] * 3, currency="USD")
    assert purchases.event_id == ["1001", "o-1", "o-1"]
    assert purchases.customer_id == ["42"] * 3
    assert purchases.cents.tolist() == [5466] * 3
    assert purchases.count.tolist() == [1] * 3
    customers, broken = in_file(CASES / "webhooks.jsonl")
    assert customers == ["42"] * 3
    assert set(broken) == {1, 2}


def test_amounts_of_zero_count_and_negative_ones_are_told_what_to_send() -> None:
    values = lines_of("zero-negative.jsonl")
    refused = on_topic(values)
    assert set(refused) == {1, 2}
    assert refused[1].message.startswith("amount: is negative; send the amount without a sign, and")
    assert refused[2].message == (
        'kind: must be "purchase" or "refund"; a return or a cancellation is a refund'
    )
    purchases, _ = decode_purchases([b"42"], values[:1], [0], currency="USD")
    assert (purchases.count.tolist(), purchases.cents.tolist()) == ([1], [0])
    customers, broken = in_file(CASES / "zero-negative.jsonl")
    assert customers == ["42"]
    assert [broken[line] for line in (2, 3)] == [refused[row].message for row in (1, 2)]


def test_amounts_as_people_write_them_are_plain_or_refused() -> None:
    customers, broken = in_file(CASES / "amounts.csv")
    assert len(customers) == 3
    assert set(broken) == {2, 3, 4, 5, 9, 10, 11}
    assert all(each.startswith("amount: ") for each in broken.values())
    assert "has a comma" in broken[2]
    assert 'kind "refund"' in broken[5]


def test_other_delimiters_are_recognised_and_a_decimal_comma_is_named() -> None:
    assert in_file(CASES / "tabs.csv")[0] == ["42"]
    path = CASES / "semicolons.csv"
    customers, broken = in_file(path)
    assert customers == []
    assert all("has a comma" in why for why in broken.values())
    [record] = read_events(path, "purchases", FileOptions(decimal=","))
    assert json.loads(record.value or b"")["amount"] == 12.5


def test_ndjson_is_another_name_of_json_lines() -> None:
    assert in_file(CASES / "lines.ndjson") == (["42"], {})


def test_columns_of_another_shape_are_named() -> None:
    with pytest.raises(FileError, match=r"no column customer_id, .*the columns are InvoiceNo"):
        in_file(CASES / "online-retail.csv")


def test_float_ids_are_refused_alike_in_every_format_and_on_the_topic(tmp_path: Path) -> None:
    row: dict[str, Any] = {**PURCHASE, "customer_id": 15001.0}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "p.parquet")
    for suffix in (".csv", ".jsonl"):
        WRITERS[suffix](tmp_path / f"p{suffix}", [row], list(row))
    paths = [tmp_path / f"p{suffix}" for suffix in (".csv", ".jsonl", ".parquet")]
    found = [in_file(path) for path in paths]
    assert [customers for customers, _ in found] == [[]] * 3
    [topic] = on_topic([dumped(purchase, customer_id="15001.0")]).values()
    assert {why for _, broken in found for why in broken.values()} == {topic.message}
    assert topic.message.startswith("customer_id: is a number with a fraction or an exponent")
    [number] = on_topic([dumped(purchase, customer_id=15001.0)]).values()
    assert number.message.startswith("customer_id: is a number with a fraction; send the id as")
    _, broken = in_file(CASES / "float-ids.csv")
    assert set(broken) == {2}


def test_whole_numbers_are_ids_as_their_digits_in_every_format(tmp_path: Path) -> None:
    row: dict[str, Any] = {**PURCHASE, "customer_id": 15001}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "p.parquet")
    for suffix in (".csv", ".jsonl"):
        WRITERS[suffix](tmp_path / f"p{suffix}", [row], list(row))
    for suffix in (".csv", ".jsonl", ".parquet"):
        assert in_file(tmp_path / f"p{suffix}") == (["15001"], {})
    assert on_topic([dumped(purchase, customer_id=15001)], [b"15001"]) == {}


@pytest.mark.parametrize("customer_id", [" 42", "42 ", "\u00a042", "42\u3000"])
def test_ids_with_blanks_at_their_ends_are_refused(tmp_path: Path, customer_id: str) -> None:
    refused = on_topic([dumped(purchase, customer_id=customer_id)])
    assert refused[0].message == "customer_id: begins or ends with a blank; send it without"
    path = csv_of(tmp_path / "p.csv", ",".join(PURCHASE), f"{customer_id},2026-01-01T00:00Z,1")
    assert in_file(path) == ([], {2: refused[0].message})


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "usd"},
        {"kind": ...},
        {"kind": None},
        {"amount": 0},
        {"amount": "0.00"},
        {"items": "3"},
        {"items": -1},
        {"items": {"a": [1]}},
        {"channel": "x" * 500},
        {"channel": 7},
    ],
)
def test_what_nothing_computes_with_costs_no_purchase(changes: dict[str, Any]) -> None:
    value = dumped(purchase, **changes)
    assert on_topic([value, dumped(purchase), value]) == {}
    assert on_topic([b"\xef\xbb\xbf" + value], [b"c-1"]) == {}
