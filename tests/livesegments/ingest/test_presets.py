"""Presets on inputs of the shapes that their makers document."""

import json
from pathlib import Path
from typing import Any

import pytest

from livesegments.contracts.decode import decode_purchases
from livesegments.ingest.definitions import load
from livesegments.ingest.presets import presets
from livesegments.ingest.query import Query
from tests.livesegments.ingest.records import records

NOW_MS = 1_790_000_000_000

SEGMENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "userId": "42",
    "anonymousId": "a-9",
    "timestamp": "2026-03-01T08:30:00.000Z",
    "properties": {
        "order_id": "o-1",
        "total": 54.66,
        "revenue": 50.0,
        "currency": "USD",
        "products": [
            {"product_id": "p-1", "quantity": 2, "price": 20.0},
            {"product_id": "p-2", "quantity": 1, "price": 10.0},
        ],
    },
}
SHOPIFY: dict[str, Any] = {
    "id": 700000001,
    "name": "#1001",
    "created_at": "2026-03-01T03:30:00-05:00",
    "currency": "USD",
    "total_price": "54.66",
    "financial_status": "paid",
    "source_name": "web",
    "test": False,
    "customer": {"id": 500000042},
    "line_items": [{"quantity": 2}, {"quantity": 1}],
}
WOOCOMMERCE: dict[str, Any] = {
    "id": 727,
    "status": "completed",
    "customer_id": 26,
    "currency": "USD",
    "total": "54.66",
    "created_via": "checkout",
    "date_created_gmt": "2026-03-01T08:30:00",
    "line_items": [{"quantity": 3}],
}
CHARGE: dict[str, Any] = {
    "id": "evt_1",
    "type": "charge.succeeded",
    "created": 1772353800,
    "data": {
        "object": {
            "id": "ch_1",
            "amount": 5466,
            "amount_refunded": 0,
            "currency": "usd",
            "customer": "cus_1",
        }
    },
}
REFUND: dict[str, Any] = {
    "id": "evt_2",
    "type": "charge.refunded",
    "created": 1772440200,
    "data": {
        "object": {**CHARGE["data"]["object"], "amount_refunded": 1500},
        "previous_attributes": {"amount_refunded": 500},
    },
}
HELD = {**CHARGE["data"]["object"], "id": "ch_2", "captured": False, "amount_captured": 0}
AUTHORIZED: dict[str, Any] = {**CHARGE, "id": "evt_3", "data": {"object": HELD}}
CAPTURED: dict[str, Any] = {
    **CHARGE,
    "id": "evt_4",
    "type": "charge.captured",
    "data": {"object": {**HELD, "captured": True, "amount_captured": 5000}},
}
GA4: dict[str, Any] = {
    "event_name": "purchase",
    "event_timestamp": "1772353800000000",
    "user_id": None,
    "user_pseudo_id": "p.1",
    "platform": "WEB",
    "ecommerce": {
        "transaction_id": "(not set)",
        "purchase_revenue": 54.66,
        "total_item_quantity": "3",
    },
    "event_params": [
        {"key": "page_title", "value": {"string_value": "Thanks"}},
        {"key": "currency", "value": {"string_value": "USD"}},
    ],
}
ROW = {"id": 7, "customer_id": 42, "total": "54.66", "created_at": 1772353800000000}
CREATED: dict[str, Any] = {"before": None, "after": ROW, "op": "c", "ts_ms": 1772353800123}


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        (
            "segment-orders",
            [
                SEGMENT,
                {**SEGMENT, "event": "Order Refunded", "messageId": "m-2", "userId": None},
                {**SEGMENT, "event": "Product Viewed"},
            ],
            [("o-1", "42", 5466, 1), ("m-2", "a-9", -5466, 0)],
        ),
        (
            "shopify-orders",
            [
                SHOPIFY,
                {**SHOPIFY, "id": 2, "financial_status": "pending"},
                {**SHOPIFY, "id": 3, "test": True},
                {**SHOPIFY, "id": 4, "customer": None},
            ],
            [("700000001", "500000042", 5466, 1)],
        ),
        (
            "woocommerce-orders",
            [WOOCOMMERCE, {**WOOCOMMERCE, "customer_id": 0}, {**WOOCOMMERCE, "status": "failed"}],
            [("727", "26", 5466, 1)],
        ),
        (
            "stripe-charges",
            [CHARGE, REFUND, {**CHARGE, "type": "charge.failed"}, AUTHORIZED, CAPTURED],
            [
                ("ch_1", "cus_1", 5466, 1),
                ("evt_2", "cus_1", -1000, 0),
                ("ch_2", "cus_1", 5000, 1),
            ],
        ),
        (
            "ga4-purchases",
            [GA4, {**GA4, "event_name": "page_view"}],
            [("p.1-1772353800000000", "p.1", 5466, 1)],
        ),
        (
            "debezium-orders",
            [
                CREATED,
                {"schema": {}, "payload": {**CREATED, "after": {**ROW, "id": 8}, "op": "r"}},
                {**CREATED, "op": "u", "before": ROW},
                {**CREATED, "op": "d", "before": ROW, "after": None},
                None,
            ],
            [("order-7", "42", 5466, 1), ("order-8", "42", 5466, 1)],
        ),
    ],
)
def test_a_topic_preset_makes_purchases_of_its_documented_shape(
    name: str, shapes: list[Any], expected: list[tuple[str, str, int, int]]
) -> None:
    preset = presets()[name]
    query = Query(preset.sql, preset.into)
    sample = records(shapes)
    query.check(sample)
    rows = query.run(sample)
    assert (rows.failed, rows.not_json) == ({}, [])
    found, refused = decode_purchases(
        rows.keys, rows.values, [NOW_MS] * len(rows.keys), currency="USD"
    )
    assert refused == []
    assert [
        *zip(
            found.event_id,
            found.customer_id,
            found.cents.tolist(),
            found.count.tolist(),
            strict=True,
        )
    ] == expected
    assert found.occurred_at[0] == 1_772_353_800_000_000


@pytest.mark.parametrize(("currency", "amount"), [("usd", 54.66), ("pyg", 5466), ("kwd", 5.466)])
def test_the_smallest_unit_of_a_currency_is_known(currency: str, amount: float) -> None:
    charge = {**CHARGE, "data": {"object": {**CHARGE["data"]["object"], "currency": currency}}}
    rows = Query(presets()["stripe-charges"].sql, "purchases").run(records([charge]))
    assert json.loads(rows.values[0] or b"")["amount"] == amount


def test_optional_fields_are_filled() -> None:
    rows = Query(presets()["segment-orders"].sql, "purchases").run(records([SEGMENT]))
    assert json.loads(rows.values[0] or b"")["items"] == 3


@pytest.mark.parametrize("name", presets())
def test_a_preset_says_how_to_use_it(name: str) -> None:
    text = presets()[name].text()
    assert f"{name}.sql" in text
    assert text.endswith(presets()[name].sql)


@pytest.mark.parametrize(
    "name", [each.name for each in presets().values() if each.reads == "topic"]
)
def test_what_is_shown_is_the_query_and_its_lines_of_sources_toml(
    name: str, tmp_path: Path
) -> None:
    text = presets()[name].text()
    (tmp_path / f"{name}.sql").write_text(text)
    lines = [each.removeprefix("--     ") for each in text.splitlines() if each[:7] == "--     "]
    sources = tmp_path / "SOURCES.toml"
    sources.write_text("\n".join(lines))
    [source] = load(sources).source
    assert (source.name, source.query) == (name, text)
    Query(source.query, source.into).close()
