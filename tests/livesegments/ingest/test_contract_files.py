"""Well-formed files: every event is read exactly as written."""

import json
import os
import tempfile
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from livesegments.contracts.decode import decode_profiles, decode_purchases
from livesegments.ingest.file_formats import FileError, FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from tests.livesegments.ingest.rows import (
    PROFILE,
    PURCHASE,
    SUFFIXES,
    WRITERS,
    csv_of,
    jsonl_of,
    microseconds,
    profiles,
    purchases,
    read_all,
    values,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=10)
@given(rows=st.lists(purchases, min_size=1, max_size=8))
def test_purchases_come_back_as_they_were_written(suffix: str, rows: list[dict[str, Any]]) -> None:
    columns = sorted({name for row in rows for name in row})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"purchases{suffix}")
        WRITERS[suffix](path, rows, columns)
        records = read_all(path)

    assert [record.key.decode() for record in records] == [row["customer_id"] for row in rows]
    assert [record.instant for record in records] == [microseconds(r["occurred_at"]) for r in rows]
    for row, value in zip(rows, values(records), strict=True):
        assert datetime.fromisoformat(value.pop("occurred_at")) == row["occurred_at"]
        expected = {"kind": "purchase", "currency": "USD", **row}
        del expected["occurred_at"]
        if "event_id" not in row:
            expected["event_id"] = str(uuid.UUID(value["event_id"]))
        assert value == expected
    decoded, rejections = decode_purchases(
        [record.key for record in records],
        [record.value for record in records],
        [4_102_444_800_000 * 2] * len(records),
        currency="USD",
    )
    assert not [r for r in rejections if r.reason.name not in {"BAD_CURRENCY", "TOO_OLD"}]
    assert decoded.occurred_at.tolist() == [
        record.instant
        for record, row in zip(records, rows, strict=True)
        if row.get("currency", "USD") == "USD"
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=10)
@given(rows=st.lists(profiles, min_size=1, max_size=8))
def test_profiles_come_back_as_they_were_written(suffix: str, rows: list[dict[str, Any]]) -> None:
    columns = sorted({name for row in rows for name in row})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"profiles{suffix}")
        WRITERS[suffix](path, rows, columns)
        records = list(read_events(path, "profiles"))

    for row, value in zip(rows, values(records), strict=True):
        assert datetime.fromisoformat(value.pop("updated_at")) == row["updated_at"]
        consent = value.pop("consent", {})
        value |= {f"{name}_consent": given for name, given in consent.items()}
        assert value == {name: cell for name, cell in row.items() if name != "updated_at"}
    _, rejections = decode_profiles(
        [record.key for record in records],
        [record.value for record in records],
        [4_102_444_800_000 * 2] * len(records),
    )
    # Only the decoder sees that a birth year gives no age.
    assert all("birth_year: must give" in rejection.message for rejection in rejections)


def test_amounts_are_numbers_with_the_decimals_of_the_file(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "p.csv", "customer_id,occurred_at,amount", "a,2026-01-01T00:00Z,54.660"
    )
    assert b'"amount":54.66,' in (read_all(path)[0].value or b"")
    table = pa.table({**{k: [v] for k, v in PURCHASE.items()}, "amount": [54.66]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert b'"amount":54.66,' in (read_all(tmp_path / "p.parquet")[0].value or b"")


def test_customer_0012_does_not_become_12(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", "0012,2026-01-01T00:00Z,1")
    [record] = read_all(path)
    assert record.key == b"0012"
    assert json.loads(record.value or b"")["customer_id"] == "0012"


def test_event_ids_are_made_from_file_name_line_and_row(tmp_path: Path) -> None:
    lines = ["customer_id,occurred_at,amount", *["a,2026-01-01T00:00:00Z,1"] * 3]
    (tmp_path / "copy").mkdir()
    first = values(read_all(csv_of(tmp_path / "p.csv", *lines)))
    again = values(read_all(csv_of(tmp_path / "copy" / "p.csv", *lines)))
    other = values(read_all(csv_of(tmp_path / "q.csv", *lines)))
    rows = ["b,2026-01-01T00:00:00Z,1", "a,2026-01-02T00:00:00Z,1", "a,2026-01-01T00:00:00Z,2"]
    next_day = values(read_all(csv_of(tmp_path / "copy" / "p.csv", lines[0], *rows)))
    ids = [value["event_id"] for value in first]
    assert len(set(ids)) == 3
    assert {uuid.UUID(event_id).version for event_id in ids} == {5}
    assert [value["event_id"] for value in again] == ids
    assert not {value["event_id"] for value in other + next_day} & set(ids)


def test_nan_is_an_absent_cell_in_json_lines_as_in_parquet(tmp_path: Path) -> None:
    rows = [PROFILE | {"income": income} for income in (float("nan"), 5.5)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    for path in (jsonl_of(tmp_path / "p.jsonl", *rows), tmp_path / "p.parquet"):
        found = [value.get("income") for value in values(list(read_events(path, "profiles")))]
        assert found == [None, Decimal("5.5")]


def test_unknown_columns_are_left_out_and_column_order_is_free(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "p.csv", "email,amount,occurred_at,customer_id", "a@b.c,5,2026-01-01T00:00Z,a"
    )
    [value] = values(read_all(path))
    assert set(value) == {"event_id", "customer_id", "occurred_at", "kind", "amount", "currency"}


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeffcustomer_id,occurred_at,amount\r\n\r\na,2026-01-01T00:00:00Z,5\r\n\r\n"
    (tmp_path / "p.csv").write_bytes(text.encode())
    (tmp_path / "p.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(PURCHASE).encode() + b"\n\n")
    assert [record.key for record in read_all(tmp_path / "p.csv")] == [b"a"]
    assert [record.key for record in read_all(tmp_path / "p.jsonl")] == [b"c-1"]


def test_times_without_offset_get_the_timezone_given(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", "a,2026-07-01 12:00:00,5")
    [record] = read_all(path, timezone=ZoneInfo("Europe/Berlin"))
    assert json.loads(record.value or b"")["occurred_at"] == "2026-07-01T10:00:00.000000Z"


def test_naive_parquet_times_need_a_timezone_too(tmp_path: Path) -> None:
    naive = datetime(2026, 7, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    pq.write_table(
        pa.table({"customer_id": ["a"], "occurred_at": [naive], "amount": [5]}),
        tmp_path / "p.parquet",
    )
    with pytest.raises(BrokenRowError, match=r"p\.parquet, line 1, occurred_at: .*--timezone UTC"):
        read_all(tmp_path / "p.parquet")
    [record] = read_all(tmp_path / "p.parquet", timezone=UTC)
    assert record.instant == microseconds(datetime(2026, 7, 1, 12, tzinfo=UTC))


def test_consent_nests_in_jsonl_and_parquet_but_not_in_csv(tmp_path: Path) -> None:
    consent = {"marketing": True, "profiling": False}
    jsonl = jsonl_of(tmp_path / "p.jsonl", PROFILE | {"consent": consent}, PROFILE)
    parquet = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist([PROFILE | {"consent": consent}, PROFILE]), parquet)
    for path in (jsonl, parquet):
        found = [value.get("consent") for value in values(list(read_events(path, "profiles")))]
        assert found == [consent, None]
    with pytest.raises(FileError, match="marketing_consent and profiling_consent"):
        list(read_events(csv_of(tmp_path / "p.csv", "customer_id,updated_at,consent"), "profiles"))


def test_a_file_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.csv")
    try:
        csv_of(path, ",".join(PURCHASE), ",".join(map(str, PURCHASE.values())))
    except OSError:
        pytest.skip("this file system takes no such name")
    [record] = read_all(path)
    assert record.key.decode() == PURCHASE["customer_id"]


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_many_rows_are_no_long_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    row = {key: str(cell) for key, cell in PURCHASE.items()} | {"unknown": "x" * 10_000}
    WRITERS[path.suffix](path, [row] * 200, list(row))
    assert len(read_all(path)) == 200


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_first_event_comes_without_reading_the_whole_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    rows = [PURCHASE | {"customer_id": str(n)} for n in range(20_000)]
    rows.append(PURCHASE | {"occurred_at": "broken", "customer_id": "last"})
    as_text = [{name: str(cell) for name, cell in row.items()} for row in rows]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(as_text), path)
    else:
        WRITERS[suffix](path, as_text, list(PURCHASE))
    records = read_events(path, "purchases", currency="USD")
    assert next(records).key == b"0"
    with pytest.raises(BrokenRowError):
        list(records)


@pytest.mark.parametrize(
    "name", ["p.csv", "p.tsv", "p.txt", "p.csv.zst", "p.jsonl.zst", "p.ndjson"]
)
def test_every_suffix_is_read(tmp_path: Path, name: str) -> None:
    cells = {key: str(cell) for key, cell in PURCHASE.items()}
    text = "\n".join("\t".join(line) for line in (cells.keys(), cells.values())) + "\n"
    if "json" in name:
        text = json.dumps(PURCHASE)
    (tmp_path / name).write_bytes(
        zstandard.compress(text.encode()) if name.endswith("zst") else text.encode()
    )
    [record] = read_all(tmp_path / name)
    assert (record.key, values([record])[0]["amount"]) == (b"c-1", Decimal("12.34"))


def test_a_sheet_of_excel_is_read(tmp_path: Path) -> None:
    book, at = openpyxl.Workbook(), datetime(2026, 2, 25, 6)  # noqa: DTZ001
    for row in (list(PURCHASE), [15001, at, 12.5], [2, "yesterday", 3], ["#N/A", at, 1]):
        book.active.append(row)
    book.save(tmp_path / "p.xlsx")
    skipped: list[BrokenRowError] = []
    [record] = read_all(tmp_path / "p.xlsx", timezone=UTC, on_broken=skipped.append)
    assert record.key == b"15001"
    assert record.instant == microseconds(at.replace(tzinfo=UTC))
    assert [(row.line, row.field) for row in skipped] == [(3, "occurred_at"), (4, "customer_id")]


def test_delimiter_decimal_encoding_and_format_of_times_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    text = "customer_id^occurred_at^amount\nJosé^25/02/2026 06:00^1234,50\n"
    path.write_bytes(text.encode("latin-1"))
    options = FileOptions(
        delimiter="^", encoding="latin-1", decimal=",", date_format="%d/%m/%Y %H:%M"
    )
    [record] = read_all(path, options=options, timezone=ZoneInfo("Europe/Madrid"))
    assert record.key.decode() == "José"
    assert record.instant == microseconds(datetime(2026, 2, 25, 5, tzinfo=UTC))
    assert values([record])[0]["amount"] == Decimal("1234.5")


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("cp1252", "cp1252"), ("utf-8", "utf8"), ("utf-16", ""), ("utf-16-be", "utf-16-be")],
)
def test_text_is_read_in_the_encoding_that_is_named_or_marked(
    tmp_path: Path, encoding: str, named: str
) -> None:
    path = tmp_path / "p.csv"
    text = "customer_id,occurred_at,amount\r\nGröße €,2026-02-25T06:00:00Z,5\r\n"
    path.write_bytes(text.encode(encoding))
    [record] = read_all(path, options=FileOptions(encoding=named))
    assert record.key.decode() == "Größe €"


def test_a_deleted_profile_is_a_null_value(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "p.csv", "id,gone", "a,true", "b,false")
    sql = "SELECT id AS customer_id, '2026-01-01T00:00Z' AS updated_at, gone AS deleted FROM source"
    found = list(read_events(path, "profiles", FileOptions(sql)))
    assert [(each.key, each.value is None) for each in found] == [(b"a", True), (b"b", False)]
