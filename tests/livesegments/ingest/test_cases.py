"""Inputs as they come in real life: each is read by a short query, or refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from livesegments.contracts.decode import decode_purchases
from livesegments.ingest.decoding import Decoder
from livesegments.ingest.definitions import KeyFormat, Source
from livesegments.ingest.file_formats import FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from livesegments.ingest.presets import presets
from livesegments.ingest.query import Query
from tests.livesegments.ingest.records import records

CASES = Path(__file__).parents[2] / "cases"
MOST_LINES = 15
NOW_MS = 1_790_000_000_000


def lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (CASES / name).read_text().splitlines()]


def purchases(sql: str, values: list[Any], keys: list[str | None] | None = None) -> list[Any]:
    """Return (event id, customer, cents, count) of each purchase; nothing may be refused."""
    assert len(sql.strip().splitlines()) <= MOST_LINES
    query = Query(sql, "purchases")
    sample = records(values, keys=keys)
    query.check(sample)
    rows = query.run(sample)
    assert (rows.failed, rows.not_json) == ({}, [])
    stamps = [NOW_MS] * len(rows.keys)
    found, refused = decode_purchases(rows.keys, rows.values, stamps, currency="USD")
    assert refused == []
    columns = (found.event_id, found.customer_id, found.cents.tolist(), found.count.tolist())
    return list(zip(*columns, strict=True))


def events(name: str, sql: str, **options: Any) -> list[Any]:
    assert len(sql.strip().splitlines()) <= MOST_LINES
    query = FileOptions(sql, **options)
    return [json.loads(each.value or b"") for each in read_events(CASES / name, "purchases", query)]


def test_webhooks() -> None:
    segment, shopify, *_ = lines("webhooks.jsonl")
    [(event_id, customer, cents, _)] = purchases(
        "SELECT value->>'$.properties.order_id' AS event_id, value->>'$.userId' AS customer_id,"
        " value->>'$.timestamp' AS occurred_at, value->'$.properties.revenue' AS amount"
        " FROM source",
        [segment],
    )
    assert (event_id, customer, cents) == ("o-1", "42", 5466)
    assert purchases(presets()["shopify-orders"].sql, [shopify]) == [
        ("700000001", "500000042", 5466, 1)
    ]


def test_event_ids_that_are_not_unique_are_made_so() -> None:
    sql = """
        SELECT (value->>'$.event_id') || '-' || (value->>'$.kind') || '-'
               || coalesce(value->>'$.channel', '') || '-' || (value->>'$.customer_id') AS event_id,
               value->>'$.customer_id' AS customer_id, value->>'$.occurred_at' AS occurred_at,
               value->>'$.kind' AS kind, value->'$.amount' AS amount
        FROM source
    """
    found = purchases(sql, lines("event-ids.jsonl"))
    assert len({event_id for event_id, *_ in found}) == len(found) == 6
    assert sum(cents for _, _, cents, _ in found) == 11_000


def test_zero_negative_and_cancelled_amounts() -> None:
    sql = """
        SELECT value->>'$.event_id' AS event_id, value->>'$.customer_id' AS customer_id,
               value->>'$.occurred_at' AS occurred_at, abs(amount) AS amount,
               CASE WHEN amount < 0 OR value->>'$.kind' = 'cancellation'
                    THEN 'refund' ELSE 'purchase' END AS kind
        FROM (SELECT value, (value->>'$.amount')::DECIMAL(18,2) AS amount FROM source)
    """
    assert [
        (cents, count) for _, _, cents, count in purchases(sql, lines("zero-negative.jsonl"))
    ] == [
        (0, 1),
        (-1530, 0),
        (-1530, 0),
    ]


def test_a_change_event_and_its_base64_decimal() -> None:
    change = {
        "before": None,
        "after": {"id": 7, "customer_id": 42, "total": "FVo=", "created_at": 1772353800000000},
        "op": "c",
    }
    sql = """
        SELECT 'order-' || (row->>'$.id') AS event_id, row->>'$.customer_id' AS customer_id,
               make_timestamptz((row->>'$.created_at')::BIGINT) AS occurred_at,
               ('0x' || hex(from_base64(row->>'$.total')))::HUGEINT / 100 AS amount
        FROM (SELECT coalesce(value->'$.payload', value)->'$.after' AS row FROM source)
        WHERE row->>'$.id' IS NOT NULL
    """
    found = purchases(sql.replace("row", "new"), [change, {"payload": change}, None])
    assert found == [("order-7", "42", 5466, 1)] * 2


@pytest.mark.parametrize(
    ("key_format", "key"),
    [
        ("json", b'{"customer_id":42}'),
        ("json", b'{"schema":{"type":"string"},"payload":"42"}'),
        ("json", b'"42"'),
        ("int64", b"\0\0\0\0\0\0\0\x2a"),
        ("string", b"42"),
    ],
)
def test_keys_of_every_kind_are_read(key_format: KeyFormat, key: bytes) -> None:
    source = Source(name="s", topic="t", into="purchases", query="q", key_format=key_format)
    [text] = Decoder(source, None).keys([key])
    customer = (
        "key"
        if key_format != "json"
        else ("coalesce(key::JSON->>'$.customer_id', key::JSON->>'$.payload', key::JSON->>'$')")
    )
    sql = f"SELECT {customer} AS customer_id, '2026-03-01T08:30:00Z' AS occurred_at, 1 AS amount"
    assert [each[1] for each in purchases(f"{sql} FROM source", [{}], [text])] == ["42"]


@pytest.mark.parametrize("name", ["schema-registry-json.bin", "byte-order-mark.bin"])
def test_a_prefix_and_a_byte_order_mark_are_taken_off(name: str) -> None:
    source = Source(name="s", topic="t", into="purchases", query="q")
    texts, faults = Decoder(source, None).values([(CASES / name).read_bytes().rstrip(b"\n")])
    assert faults == {}
    assert "event_id" in json.loads(texts[0] or "")


def test_online_retail_and_line_items() -> None:
    found = events("online-retail.csv", presets()["online-retail"].sql)
    assert [(each["event_id"], each["kind"]) for each in found] == [
        ("600001", "purchase"),
        ("C600002", "refund"),
    ]
    sql = """
        SELECT event_id, customer_id, occurred_at, sum(amount::DECIMAL(12,2)) AS amount,
               sum(items::INTEGER) AS items
        FROM source GROUP BY ALL
    """
    [invoice] = events("line-items.csv", sql)
    assert (invoice["event_id"], invoice["amount"], invoice["items"]) == ("600001", "57.64", 20)


@pytest.mark.parametrize(
    ("name", "amount", "time"),
    [
        ("tabs.csv", "amount", "occurred_at"),
        ("semicolons.csv", "replace(amount, ',', '.')", "occurred_at"),
        (
            "compact-times.csv",
            "amount",
            "strptime(occurred_at, '%Y%m%d%H%M%SZ') AT TIME ZONE 'UTC'",
        ),
    ],
)
def test_delimiters_decimal_commas_and_times_without_separators(
    name: str, amount: str, time: str
) -> None:
    sql = f"SELECT customer_id, {time} AS occurred_at, {amount} AS amount FROM source LIMIT 1"
    [found] = events(name, sql)
    assert found["customer_id"] == "42"


def test_amounts_with_separators_and_signs() -> None:
    sql = r"""
        SELECT customer_id, occurred_at, "row",
               regexp_replace(replace(trim(amount), ',', ''), '[$]', '') AS amount
        FROM source WHERE amount NOT LIKE '(%' AND amount NOT LIKE '-%' AND amount <> '12,50'
    """
    broken: list[BrokenRowError] = []
    query = FileOptions(sql)
    path = CASES / "amounts.csv"
    found = list(read_events(path, "purchases", query, on_broken=broken.append))
    amounts = [float(json.loads(each.value or b"")["amount"]) for each in found]
    assert 1234.5 in amounts
    assert 12.5 in amounts
    assert all(each.field == "amount" for each in broken)


def test_float_ids_are_made_whole() -> None:
    sql = """
        SELECT event_id, split_part(customer_id, '.', 1) AS customer_id, amount,
               occurred_at::TIMESTAMP AT TIME ZONE 'UTC' AS occurred_at
        FROM source
    """
    [found] = events("float-ids.csv", sql)
    assert (found["customer_id"], found["occurred_at"]) == ("15001", "2010-12-01T08:26:00.000000Z")
