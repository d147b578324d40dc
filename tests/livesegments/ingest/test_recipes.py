"""The recipes of docs/sources.md, as they are there."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from livesegments.contracts.decode import decode_erasures, decode_profiles, decode_purchases
from livesegments.ingest.definitions import Into, Table
from livesegments.ingest.query import Query
from tests.livesegments.ingest.records import records

PAGE = (Path(__file__).parents[3] / "docs" / "sources.md").read_text()
SECTION = PAGE.partition("## Recipes")[2].partition("\n## ")[0]
RECIPES = {
    title.rstrip("."): re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    for title, text in re.findall(r"(?sm)^\*\*(.+?)\*\*(.*?)(?=^\*\*|\Z)", SECTION)
}
NOW_MS = 1_790_000_000_000
AT = "2026-03-01T08:30:00Z"
DECODE: dict[Into, Callable[..., Any]] = {
    "purchases": lambda *rows: decode_purchases(*rows, currency="USD"),
    "profiles": lambda *rows: decode_profiles(*rows, consent_required=False),
    "erasures": decode_erasures,
}


def made(
    sql: str,
    values: list[Any],
    into: Into = "purchases",
    *,
    keys: list[str] | None = None,
    tables: Sequence[Path] = (),
) -> list[tuple[int, str, dict[str, Any] | None]]:
    """Return record, key and value of the events of a query; check them by their contract."""
    query = Query(sql, into, tables=[Table(name=each.stem, file=each) for each in tables])
    sample = records(values, keys=keys)
    query.check(sample)
    rows = query.run(sample)
    assert (rows.failed, rows.not_json) == ({}, [])
    _, refused = DECODE[into](rows.keys, rows.values, [NOW_MS] * len(rows.keys))
    assert refused == []
    return [
        (record, (key or b"").decode(), None if value is None else json.loads(value))
        for record, key, value in zip(rows.record, rows.keys, rows.values, strict=True)
    ]


def amounts(sql: str, values: list[Any], *tables: Path) -> dict[str, float]:
    found = made(sql, values, tables=tables)
    return {key: float((value or {})["amount"]) for _, key, value in found}


def test_an_amount_is_converted_at_the_rate_of_its_day(tmp_path: Path) -> None:
    [sql] = RECIPES["Currencies"]
    rates = tmp_path / "rates.csv"
    rates.write_text("currency,usd,valid_from\nEUR,1.1,2026-01-01\nEUR,1.2,2026-03-01\n")
    sale = {"total": "10", "currency": "EUR", "at": AT}
    sales = [
        {**sale, "id": "1", "customer": "before", "at": "2026-02-01T00:00:00Z"},
        {**sale, "id": "2", "customer": "after"},
        {**sale, "id": "3", "customer": "no rate", "currency": "CHF"},
    ]
    assert amounts(sql, sales, rates) == {"before": 11.0, "after": 12.0}


def test_line_items_are_summed_by_order() -> None:
    [sql] = RECIPES["Line items"]
    lines = [{"quantity": 2, "price": "1.50"}, {"quantity": 1, "price": "4.00"}]
    order = {"number": "o-1", "customer": "a", "at": AT, "lines": lines}
    other = {**order, "number": "o-2", "customer": "b", "lines": lines[:1]}
    assert amounts(sql, [order, other]) == {"a": 7.0, "b": 3.0}


def test_a_decimal_of_connect_is_read_from_its_bytes() -> None:
    [expression] = RECIPES["Debezium and Connect"]
    sql = f"SELECT 'a' AS customer_id, '{AT}' AS occurred_at, {expression} AS amount FROM source"
    assert amounts(sql, [{"after": {"total": "FVo="}}]) == {"a": 54.66}


def test_a_null_value_deletes_the_profile_and_may_erase_the_customer() -> None:
    profile, erasure = RECIPES["Deletes"]
    values = [{"changed_at": AT, "income": 58_000}, None]
    known, deleted = made(profile, values, "profiles", keys=["a", "b"])
    updated_at = AT.replace("Z", ".000000Z")
    assert known == (0, "a", {"customer_id": "a", "updated_at": updated_at, "income": 58_000})
    assert deleted == (1, "b", None)
    [(record, key, value)] = made(erasure, values, "erasures", keys=["a", "b"])
    assert (record, key) == (1, "b")
    assert value is not None
    assert value["action"] == "erase"


@pytest.mark.parametrize(("known", "anonymous"), [("c-1", "x-1"), ("007", "12")])
def test_events_of_an_anonymous_id_are_those_of_the_customer_it_became(
    tmp_path: Path, known: str, anonymous: str
) -> None:
    [sql] = RECIPES["Identity"]
    table = tmp_path / "known.csv"
    table.write_text(f"anonymous_id,customer_id\n{anonymous},{known}\n")
    sales = [
        {"id": user, "user": user, "at": AT, "total": "10"} for user in (anonymous, "stranger", "3")
    ]
    assert [key for _, key, _ in made(sql, sales, tables=[table])] == [known, "stranger", "3"]


def test_every_recipe_is_run() -> None:
    assert RECIPES.keys() == {
        *("Currencies", "Line items", "Debezium and Connect", "Deletes", "Identity")
    }
