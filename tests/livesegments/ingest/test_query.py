"""Queries: one record at a time, in a sandbox, and the bad records found by halving."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.ingest.definitions import Table
from livesegments.ingest.query import Query, Rows, SlowQueryError
from livesegments.ingest.sandbox import QueryError
from tests.livesegments.ingest.records import records

FLAT = """
SELECT value->>'$.id' AS customer_id, value->>'$.at' AS occurred_at,
       (value->>'$.total')::DECIMAL(18,2) AS amount FROM source
"""
LINES = """
SELECT value->>'$.id' AS customer_id, value->>'$.at' AS occurred_at,
       sum((line->>'$.price')::DECIMAL(18,2) * (line->>'$.quantity')::INT) AS amount
FROM (SELECT *, unnest(value->'$.lines[*]') AS line FROM source) GROUP BY ALL
"""
AT = "2026-03-01T08:30:00Z"


def bought(customer: str = "a", total: Any = "12.50", **more: Any) -> dict[str, Any]:
    return {"id": customer, "at": AT, "total": total, **more}


def documents(rows: Rows) -> list[Any]:
    return [None if each is None else json.loads(each) for each in rows.values]


def test_a_row_is_the_contracts_json_and_its_customer_the_key() -> None:
    rows = Query(FLAT, "purchases", currency="EUR").run(records([bought()]))
    assert rows.keys == [b"a"]
    assert documents(rows) == [
        {
            "event_id": "shop.orders-3-10",
            "customer_id": "a",
            "occurred_at": AT,
            "amount": "12.50",
            "kind": "purchase",
            "currency": "EUR",
        }
    ]


@pytest.mark.parametrize(
    ("amount", "written"),
    [(".50", "0.50"), (".50::DECIMAL(2,2)", "0.50"), ("12.50", "12.50"), ("-.5", "-0.5")],
)
def test_a_decimal_keeps_its_digits(amount: str, written: str) -> None:
    sql = f"SELECT 'a' AS customer_id, '{AT}' AS occurred_at, {amount} AS amount FROM source"
    [found] = documents(Query(sql, "purchases").run(records([bought()])))
    assert found["amount"] == written


def test_every_row_of_a_record_has_its_own_id() -> None:
    sql = LINES.replace("sum(", "(").replace("GROUP BY ALL", "")
    lines = [{"price": "1.00", "quantity": 1}, {"price": "2.00", "quantity": 2}]
    rows = Query(sql, "purchases").run(records([bought(lines=lines), bought()]))
    assert rows.record == [0, 0]
    assert {each["event_id"] for each in documents(rows)} == {
        "shop.orders-3-10",
        "shop.orders-3-10-2",
    }


@given(st.lists(st.sampled_from(["1.50", "2", "x", None, "{", 7]), max_size=6), st.integers(1, 4))
def test_the_result_does_not_depend_on_the_batches(totals: list[Any], size: int) -> None:
    query = Query(FLAT, "purchases")
    values = [each if each == "{" else bought(str(i), each) for i, each in enumerate(totals)]
    whole = query.run(records(values))
    parts = Rows()
    for first in range(0, len(values), size):
        found = query.run(records(values[first : first + size]))
        parts.record.extend(first + each for each in found.record)
        parts.keys.extend(found.keys)
        parts.not_json.extend(first + each for each in found.not_json)
        parts.failed.update({first + row: why for row, why in found.failed.items()})
    assert (whole.record, whole.keys) == (parts.record, parts.keys)
    assert (whole.not_json, whole.failed) == (parts.not_json, parts.failed)
    assert whole.not_json == [i for i, each in enumerate(values) if each == "{"]
    assert list(whole.failed) == [i for i, each in enumerate(totals) if each == "x"]


@pytest.mark.parametrize("total", ["secret 4711", "O'secret", '{"a": "secret', "a\nsecret", "'"])
def test_why_a_query_fails_names_no_value(total: str) -> None:
    sql = FLAT.replace("(value->>'$.total')", "(value->>'$.total')::JSON")
    for each in (FLAT, sql):
        [why] = Query(each, "purchases").run(records([bought(total=total)])).failed.values()
        assert "Conversion Error" in why
        assert not {"secret", "4711", "a"} & set(re.split(r"\W", why.partition("string")[2]))


@pytest.mark.parametrize("end", [";", " -- no semicolon;", "; -- that is all", ";\n/* all */ ;\n"])
def test_a_query_ends_with_semicolons_and_comments(end: str) -> None:
    sql = f"{FLAT.rstrip()} WHERE value->>'$.id' <> 'ü;'{end}"
    assert Query(sql, "purchases").run(records([bought("ü;"), bought("b")])).keys == [b"b"]


def test_sums_within_a_record_are_fine() -> None:
    line = {"price": "1.25", "quantity": 2}
    sample = records([bought("a", lines=[line, line]), bought("b", lines=[line])])
    query = Query(LINES, "purchases")
    query.check(sample)
    assert [each["amount"] for each in documents(query.run(sample))] == ["5.00", "2.50"]


def test_large_records_do_not_count_against_the_query() -> None:
    sample = records([bought(str(i), note="x" * 100_000) for i in range(600)])
    Query(FLAT, "purchases").check(sample)
    counted = FLAT.replace("(value->>'$.total')::DECIMAL(18,2)", "count(*) OVER ()")
    with pytest.raises(QueryError, match="record by record"):
        Query(counted, "purchases").check(sample)


def test_records_that_came_twice_do_not_count_against_the_query() -> None:
    line = {"price": "1.25", "quantity": 2}
    again = bought("a", lines=[line])
    Query(LINES, "purchases").check(records([again, bought("b", lines=[line]), again]))

    with_id = LINES.replace("SELECT ", "SELECT value->>'$.order' AS event_id, ", 1)
    created, paid = (bought(order="o-1", status=each, lines=[line]) for each in ("new", "paid"))
    Query(with_id, "purchases").check(records([created, bought(order="o-2", lines=[line]), paid]))


@pytest.mark.parametrize(
    "columns",
    [
        "sum((value->>'$.total')::INT) AS amount, value->>'$.id' AS customer_id,"
        " now() AS occurred_at",
        "row_number() OVER () AS amount, value->>'$.id' AS customer_id, now() AS occurred_at",
        "random() AS amount, value->>'$.id' AS customer_id, now() AS occurred_at",
        "DISTINCT 1 AS amount, value->>'$.id' AS customer_id, now() AS occurred_at",
        "(SELECT max(value->>'$.total') FROM source)::INT AS amount, value->>'$.id' AS customer_id,"
        " now() AS occurred_at",
    ],
)
def test_a_query_over_several_records_is_refused(columns: str) -> None:
    grouped = " GROUP BY customer_id" if columns.startswith("sum") else ""
    query = Query(f"SELECT {columns} FROM source{grouped}", "purchases")
    with pytest.raises(QueryError, match="record by record"):
        query.check(records([bought("a", i) for i in range(5)]))


def test_bad_records_of_a_sample_do_not_count_against_the_query() -> None:
    Query(FLAT, "purchases").check(records([bought(), bought(total="x"), "{", None]))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 AS amount", "does not return customer_id and occurred_at"),
        ("SELECT 'a' AS customer", r"customer \(customer_id\?\), which purchases do not have"),
        ("SELECT 'a' AS customer_id, 1 AS amount, 5 AS occurred_at", r"to_timestamp\(seconds\)"),
        (
            "SELECT 'a' AS customer_id, 1 AS amount, TIMESTAMP '2026-03-01' AS occurred_at",
            "AT TIME ZONE",
        ),
        ("SELECT 'a' AS customer_id, true AS amount, now() AS occurred_at", "not a number"),
        ("SELECT offset FROM source", 'write "offset"'),
        ("DELETE FROM records", "one SELECT statement"),
        ("SELECT 1; SELECT 2", "one SELECT statement"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1 AS a,\n  FROM WHERE\n", '"WHERE", in line 2 of the query: FROM WHERE$'),
        ("SELECT nothing FROM source", "nothing"),
        ("FROM records", "records does not exist"),
        ("FROM polled", "polled does not exist"),
    ],
)
def test_an_unusable_query_is_refused_with_what_to_write(sql: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        Query(sql, "purchases")


@pytest.mark.parametrize(
    "reach",
    [
        "(SELECT content FROM read_text('/etc/hostname'))",
        "(SELECT count(*) FROM read_csv('http://127.0.0.1/x.csv'))",
        "(SELECT count(*) FROM glob('/*'))",
        "(SELECT count(*) FROM '/etc/hostname')",
        "(SELECT count(*) FROM secret_of_python)",
        "getenv('HOME')",
    ],
)
def test_a_query_reaches_no_file_no_network_and_no_variable(reach: str) -> None:
    secret_of_python = {"a": [1]}
    assert secret_of_python
    sql = f"SELECT 'a' AS customer_id, now() AS occurred_at, 1 AS amount, {reach} AS category"
    try:
        rows = Query(f"{sql} FROM source", "purchases").run(records([bought()]))
    except QueryError:
        return
    assert rows.record == []
    assert list(rows.failed) == [0]


def test_a_query_that_takes_too_long_fails_and_the_next_one_works() -> None:
    endless = (
        "CASE WHEN value->>'$.total' = 'slow' THEN (SELECT count(*) FROM range(1000000000000) a,"
        " range(1000) b WHERE a.range % 7 = b.range) ELSE 1 END"
    )
    sql = f"SELECT 'a' AS customer_id, now() AS occurred_at, {endless} AS amount FROM source"
    query = Query(sql, "purchases", seconds=0.2)
    rows = query.run(records([bought(total="slow")]))
    assert rows.failed == {0: "the query took longer than 0.2 s"}
    assert Query(FLAT, "purchases").run(records([bought()])).keys == [b"a"]


def test_a_slow_query_is_tried_on_fewer_records_at_once_or_by_the_caller() -> None:
    slow = "(SELECT count(*) FROM range(1000000000000) WHERE value->>'$.total' = 'slow')"
    sql = f"SELECT 'a' AS customer_id, now() AS occurred_at, {slow} AS amount FROM source"
    query = Query(sql, "purchases", seconds=0.3)
    sample = records([bought(), bought(total="slow"), bought()])
    rows = query.run(sample)
    assert (rows.record, list(rows.failed)) == ([0, 2], [1])
    for call in (query.run, query.check):
        with pytest.raises(SlowQueryError) as raised:
            call(sample, halve_slow=False)
        assert raised.value.records == 3
    assert list(query.run(records([bought(total="slow")]), halve_slow=False).failed) == [0]


HUGE = """
from livesegments.ingest.query import Query
from livesegments.ingest.sandbox import limit_memory
from tests.livesegments.ingest.records import records
limit_memory(1)
sql = (
    "SELECT value->>'$.c' AS customer_id, now() AS occurred_at, 1 AS amount,"
    " CASE WHEN value->>'$.c' = 'bad' THEN repeat('x', 1500000000) END AS category FROM source"
)
query = Query(sql, "purchases")
for _ in range(2):
    rows = query.run(records([{"c": "good"}, {"c": "bad"}, {"c": "good"}]))
    assert rows.record == [0, 2], rows
    assert rows.failed == {1: "the query needs more memory than it may have"}, rows
"""


def test_a_huge_value_fails_its_record_and_leaves_the_process() -> None:
    subprocess.run([sys.executable, "-c", HUGE], cwd=Path(__file__).parents[3], check=True)


def test_a_query_that_needs_too_much_memory_fails() -> None:
    big = "(SELECT count(*) FROM (SELECT DISTINCT range FROM range(100000000)))"
    sql = f"SELECT 'a' AS customer_id, now() AS occurred_at, {big} AS amount FROM source"
    rows = Query(sql, "purchases", memory_mb=50, seconds=60).run(records([bought()]))
    assert rows.failed == {0: "the query needs more memory than it may have"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_id_of_a_lookup_table_keeps_its_zeros_wherever_it_is(
    tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"known.{suffix}"
    rows = [(f"x{i}", 1_000 + i) for i in range(25_000)]
    if suffix == "csv":
        lines = ["alias,id", *(f"{alias},{i}" for alias, i in rows), "y,007"]
    else:
        lines = [json.dumps({"alias": alias, "id": i}) for alias, i in [*rows, ("y", "007")]]
    file.write_text("\n".join(lines))
    sql = f"SELECT known.id AS customer_id, '{AT}' AS occurred_at, 1 AS amount"
    sql += " FROM source JOIN known ON known.alias = value->>'$.id'"
    query = Query(sql, "purchases", tables=[Table(name="known", file=file)])
    assert query.run(records([bought("y"), bought("x5")])).keys == [b"007", b"1005"]


def test_a_changed_lookup_table_is_read_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("alias,id\nx,a\n")
    sql = f"SELECT names.id AS customer_id, '{AT}' AS occurred_at, 1 AS amount"
    sql += " FROM source JOIN names ON names.alias = value->>'$.id'"
    query = Query(sql, "purchases", tables=[Table(name="names", file=file)])
    assert not query.refresh()
    file.write_text("alias,id\nx,another\n")
    assert query.refresh()
    assert query.run(records([bought("x")])).keys == [b"another"]
    file.write_text("no,such\n1,2\n")
    with pytest.raises(QueryError):
        query.refresh()
    assert query.run(records([bought("x")])).keys == [b"another"]


def test_a_deleted_profile_has_no_value() -> None:
    sql = "SELECT value->>'$.id' AS customer_id, value->>'$.at' AS updated_at,"
    sql += " (value->>'$.gone')::BOOLEAN AS deleted FROM source"
    rows = Query(sql, "profiles").run(records([bought(gone=True), bought(gone=False), bought()]))
    assert [each is None for each in rows.values] == [True, False, False]


def test_deleted_is_a_flag() -> None:
    sql = "SELECT 'a' AS customer_id, now() AS updated_at, DATE '2026-03-01' AS deleted FROM source"
    with pytest.raises(QueryError, match="deleted is DATE, not true or false"):
        Query(sql, "profiles")


def test_text_is_converted_to_the_numbers_and_flags_that_a_profile_has() -> None:
    sql = "SELECT 'a' AS customer_id, now() AS updated_at, '34' AS age, '1990' AS birth_year,"
    sql += " 'x' AS income, 'true' AS marketing_consent, false AS profiling_consent FROM source"
    [found] = documents(Query(sql, "profiles").run(records([bought()])))
    assert (found["age"], found["birth_year"], found["income"]) == (34.0, 1990, "x")
    assert found["consent"] == {"marketing": True, "profiling": False}


def test_text_values_keys_headers_and_timestamps_are_there() -> None:
    sql = """
        SELECT split_part(value, ';', 1) AS customer_id, "timestamp" AS occurred_at, 1 AS amount,
               key || topic || "partition" || "offset" AS event_id, headers->>'$.x' AS category
        FROM source
    """
    rows = Query(sql, "purchases", json=False).run(records(["a;b"], keys=["k"]))
    [found] = documents(rows)
    assert found["customer_id"] == "a"
    assert found["occurred_at"] == "2026-03-01T08:33:20.000000Z"
    assert found["event_id"] == "kshop.orders310"
    assert found["category"] is None
