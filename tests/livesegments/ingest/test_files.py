"""Files of any shape, by queries: presets, errors that name the line, order and memory."""

import gzip
import json
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from livesegments.analysis.backtest.runner import backtest
from livesegments.analysis.backtest.variants import variants
from livesegments.config.settings import load
from livesegments.ingest.file_formats import FileError, FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from livesegments.ingest.presets import presets

RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
600001,A1,RED MUG,6,12/1/2010 8:26,2.55,15001,United Kingdom
600001,A2,BLUE PLATE,2,12/1/2010 8:26,3.00,15001,United Kingdom
C600002,A1,RED MUG,-6,12/1/2010 9:41,2.55,15001,United Kingdom
600003,A2,BLUE PLATE,2,13/12/2010 10:00,3.00,,United Kingdom
600004,A2,BLUE PLATE,1,7/2/2011 10:00,3.00,15002.0,France
"""
FLAT = 'SELECT id AS customer_id, bought_at AS occurred_at, total AS amount, "row" FROM source'


def events(path: Path, query: FileOptions | str, **more: Any) -> list[dict[str, Any]]:
    query = FileOptions(query) if isinstance(query, str) else query
    into: Literal["purchases", "profiles"] = more.pop("into", "purchases")
    return [json.loads(each.value or b"") for each in read_events(path, into, query, **more)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_online_retail_is_a_purchase_an_invoice(tmp_path: Path) -> None:
    found = events(write(tmp_path, "retail.csv", RETAIL), presets()["online-retail"].sql)
    assert [
        (
            e["event_id"],
            e["customer_id"],
            e["kind"],
            float(e["amount"]),
            e["items"],
            e["occurred_at"],
        )
        for e in found
    ] == [
        ("600001", "15001", "purchase", 21.3, 8, "2010-12-01T08:26:00.000000Z"),
        ("C600002", "15001", "refund", 15.3, 6, "2010-12-01T09:41:00.000000Z"),
        ("600004", "15002", "purchase", 3.0, 1, "2011-07-02T09:00:00.000000Z"),
    ]


def test_casts_to_a_time_follow_the_zone_and_are_written_in_utc(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,t\na,2026-03-01 12:00:00\na,2026-07-01T12:00:00Z\n")
    sql = "SELECT id AS customer_id, t::TIMESTAMPTZ AS occurred_at, 1 AS amount FROM source"
    found = events(path, sql, timezone=ZoneInfo("Europe/Paris"))
    assert [each["occurred_at"][:16] for each in found] == ["2026-03-01T11:00", "2026-07-01T12:00"]


def test_olist_is_three_files(tmp_path: Path) -> None:
    orders = write(
        tmp_path,
        "orders.csv",
        "order_id,customer_id,order_status,order_purchase_timestamp\n"
        "o1,c1,delivered,2017-10-02 10:56:33\no2,c2,canceled,2017-10-03 10:56:33\n"
        "o3,c3,delivered,2018-07-24 20:41:37\n",
    )
    payments = write(
        tmp_path,
        "payments.csv",
        "order_id,payment_sequential,payment_value\no1,1,18.12\no1,2,2.00\no2,1,5\no3,1,141.46\n",
    )
    customers = write(
        tmp_path, "customers.csv", "customer_id,customer_unique_id\nc1,u1\nc2,u1\nc3,u1\n"
    )
    tables = {"payments": payments, "customers": customers}
    query = FileOptions(presets()["olist"].sql, tables)
    found = events(orders, query, currency="BRL")
    assert [(e["event_id"], e["customer_id"], e["amount"], e["occurred_at"]) for e in found] == [
        ("o1", "u1", "20.12", "2017-10-02T13:56:33.000000Z"),
        ("o3", "u1", "141.46", "2018-07-24T23:41:37.000000Z"),
    ]


def test_cdnow_is_text_in_columns(tmp_path: Path) -> None:
    text = " 00001 19970101  1   11.77\n 00002 19970112  1   12.00\n 00002 19970112  5   77.00\n"
    path = write(tmp_path, "CDNOW_master.txt", text)
    found = events(path, FileOptions(presets()["cdnow"].sql, delimiter="none"))
    assert [(e["event_id"], e["customer_id"], e["amount"], e["items"]) for e in found] == [
        ("cdnow-1", "00001", "11.77", 1),
        ("cdnow-2", "00002", "12.00", 1),
        ("cdnow-3", "00002", "77.00", 5),
    ]


def test_files_of_customers_are_profiles(tmp_path: Path) -> None:
    mall = write(
        tmp_path,
        "mall.csv",
        "CustomerID,Genre,Age,Annual Income (k$),Spending Score (1-100)\n0001,Male,19,15,39\n",
    )
    [found] = events(mall, presets()["mall-customers"].sql, into="profiles")
    assert (found["customer_id"], found["age"], found["income"]) == ("0001", 19.0, 15000)
    campaign = write(
        tmp_path,
        "campaign.csv",
        "ID\tYear_Birth\tEducation\tMarital_Status\tIncome\tDt_Customer\n"
        "5524\t1957\tGraduation\tSingle\t58138\t04-09-2012\n1\t1983\tPhD\tSingle\t\t15-11-2013\n",
    )
    first, second = events(campaign, presets()["marketing-campaign"].sql, into="profiles")
    assert (first["birth_year"], first["income"]) == (1957, 58138.0)
    assert first["updated_at"] == "2012-09-04T00:00:00.000000Z"
    assert "income" not in second


def test_a_broken_row_names_file_line_field_and_reason(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,bought_at,total\na,2026-01-02T10:00:00Z,1\nb,yesterday,2\n")
    with pytest.raises(BrokenRowError, match=r"a\.csv, line 3, occurred_at: ") as raised:
        events(path, FLAT)
    assert "yesterday" not in str(raised.value)
    broken: list[BrokenRowError] = []
    assert [each["customer_id"] for each in events(path, FLAT, on_broken=broken.append)] == ["a"]
    assert [(each.line, each.field) for each in broken] == [(3, "occurred_at")]
    with pytest.raises(BrokenRowError, match=r"a\.csv, row of the query 2, occurred_at: "):
        events(path, FLAT.replace(', "row"', ""))


@pytest.mark.parametrize(
    ("name", "text", "sql"),
    [
        ("a.tsv", "id\tbought_at\ttotal\na\t2026-01-02T10:00:00Z\t12.50\n", FLAT),
        (
            "a.csv",
            "id;bought_at;total\na;2026-01-02T10:00:00Z;12,50\n",
            FLAT.replace("total AS", "replace(total, ',', '.') AS"),
        ),
        (
            "a.ndjson",
            '{"id":"a","at":"2026-01-02T10:00:00Z","total":"12.50"}\n',
            "SELECT value->>'$.id' AS customer_id, value->>'$.at' AS occurred_at,"
            " value->>'$.total' AS amount FROM source",
        ),
        (
            "a.json",
            '[{"id":"a","at":"2026-01-02T10:00:00Z","total":"12.50"}]',
            "SELECT value->>'$.id' AS customer_id, value->>'$.at' AS occurred_at,"
            " value->>'$.total' AS amount FROM source",
        ),
    ],
)
def test_every_format_is_read_plain_and_compressed(
    tmp_path: Path, name: str, text: str, sql: str
) -> None:
    path = write(tmp_path, name, text)
    compressed = tmp_path / f"{name}.gz"
    compressed.write_bytes(gzip.compress(text.encode()))
    for each in (path, compressed):
        [found] = events(each, sql)
        assert (found["customer_id"], found["amount"]) == ("a", "12.50")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 AS amount FROM source", "does not return customer_id and occurred_at"),
        (FLAT.replace("total", "totall"), "totall"),
        (FLAT.replace("total AS", "total::INT AS"), "the query fails: Conversion Error"),
        ("SELECT content FROM read_text('/etc/hostname')", "the query fails: Permission Error"),
        (FLAT.replace("bought_at", "bought"), 'Candidate bindings: "bought_at"'),
        ("DROP VIEW source", "the query fails"),
        ("\nSELECT 1 AS a,\n  FROM WHERE\n", '"WHERE", in line 3 of the query: FROM WHERE$'),
    ],
)
def test_an_unusable_query_is_an_error_of_the_file(tmp_path: Path, sql: str, said: str) -> None:
    path = write(tmp_path, "a.csv", "id,bought_at,total\na,2026-01-02T10:00:00Z,x\n")
    with pytest.raises(FileError, match=said):
        events(path, sql)


def test_the_same_file_gives_the_same_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,bought_at,total\n" + "a,2026-01-02T10:00:00Z,1\n" * 3)
    first = events(path, FLAT)
    assert first == events(path, FLAT)
    assert len({each["event_id"] for each in first}) == 3


def test_backtest_runs_on_a_file_of_another_shape(tmp_path: Path) -> None:
    lines = [RETAIL.splitlines()[0]]
    for number in range(300):
        day, customer = 1 + number % 28, 15_000 + number % 60
        row = f"6{number:05},A1,MUG,{1 + number % 9},{1 + number % 3}/{day}/2011 8:26"
        lines += [f"{row},2.50,{customer},Spain", f"{row},1.00,{customer},Spain"]
    path = write(tmp_path, "retail.csv", "\n".join(lines) + "\n")
    query = FileOptions(presets()["online-retail"].sql)
    settings = load(warmup_customers=20, clock="event")
    found = backtest(path, None, variants(settings, [], load), options=query)
    assert (found["data"]["purchases"], found["data"]["duplicates"]) == (300, 0)
    assert len(list(read_events(path, "purchases", query))) == 300


def test_backtest_joins_the_three_files_of_olist(tmp_path: Path) -> None:
    orders = ["order_id,customer_id,order_status,order_purchase_timestamp"]
    payments = ["order_id,payment_sequential,payment_type,payment_installments,payment_value"]
    customers = ["customer_id,customer_unique_id,customer_zip_code_prefix"]
    for number in range(240):
        status = "canceled" if number % 8 == 0 else "delivered"
        day = f"2018-{1 + number % 3:02}-{1 + number % 28:02}"
        orders.append(f'"o{number}","c{number}",{status},{day} 10:56:33')
        payments += [f'"o{number}",{part},credit_card,1,{10 + number % 50}.50' for part in (1, 2)]
        customers.append(f'"c{number}","u{number % 60}",01001')
    files = {
        name: write(tmp_path, f"olist_{name}_dataset.csv", "\n".join(lines) + "\n")
        for name, lines in (("orders", orders), ("payments", payments), ("customers", customers))
    }
    query = FileOptions(presets()["olist"].sql, {k: v for k, v in files.items() if k != "orders"})
    settings = load(warmup_customers=20, clock="event", currency="BRL")
    found = backtest(files["orders"], None, variants(settings, [], load), options=query)
    assert (found["data"]["purchases"], found["data"]["rejected"]) == (210, {})
    assert found["outcomes"][0]["segments"]


def test_a_file_may_be_joined_with_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,bought_at,total\na,2026-01-02T10:00:00Z,1\n")
    sql = f"{FLAT} WHERE id IN (SELECT id FROM other)"
    [found] = events(path, FileOptions(sql, {"other": path}))
    assert found["customer_id"] == "a"
