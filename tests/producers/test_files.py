import csv
import gzip
import json
import os
import tempfile
import tracemalloc
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decode import decode_profiles, decode_purchases
from producers.files import (
    SUFFIXES,
    BrokenRowError,
    FileError,
    Record,
    read_profiles,
    read_purchases,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PURCHASE = {"customer_id": "c-1", "occurred_at": "2026-02-25T06:00:00Z", "amount": 12.34}
PROFILE = {"customer_id": "c-1", "updated_at": "2026-02-25T06:00:00Z"}

identifiers = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
) | st.sampled_from(["0012", "1e5", "nan", "true", " 7 "])
times = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)


def decimals(most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(1, most * 100).map(lambda cents: Decimal(cents) / 100)


purchases = st.fixed_dictionaries(
    {"customer_id": identifiers, "occurred_at": times, "amount": decimals(10**10)},
    optional={
        "event_id": identifiers,
        "kind": st.sampled_from(["purchase", "refund"]),
        "currency": st.sampled_from(["USD", "EUR"]),
        "items": st.integers(0, 10**6),
        "category": labels,
        "channel": labels,
    },
)
profiles = st.fixed_dictionaries(
    {"customer_id": identifiers, "updated_at": times},
    optional={
        "age": decimals(130),
        "birth_year": st.integers(1850, 2200),
        "income": decimals(10**12),
        "location": st.sampled_from(["urban", "suburban", "rural"]),
        "marketing_consent": st.booleans(),
        "profiling_consent": st.booleans(),
    },
)
ARROW = {
    "occurred_at": pa.timestamp("us", "America/New_York"),
    "updated_at": pa.timestamp("us", "UTC"),
    "amount": pa.decimal128(15, 2),
    "age": pa.float64(),
    "income": pa.decimal128(15, 2),
    "items": pa.int64(),
    "birth_year": pa.float32(),
    "marketing_consent": pa.bool_(),
    "profiling_consent": pa.bool_(),
}


def write_csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return float(value)
        return value.isoformat() if isinstance(value, datetime) else value

    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as file:
        for row in rows:
            print(json.dumps({name: plain(value) for name, value in row.items()}), file=file)


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    arrays = {
        column: pa.array([row.get(column) for row in rows], ARROW.get(column, pa.string()))
        if column != "age"
        else pa.array([float(row["age"]) if "age" in row else None for row in rows])
        for column in columns
    }
    pq.write_table(pa.table(arrays), path)


WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]], Sequence[str]], None]] = {
    ".csv": write_csv,
    ".csv.gz": write_csv,
    ".jsonl": write_jsonl,
    ".jsonl.gz": write_jsonl,
    ".parquet": write_parquet,
}


def read_all(path: Path, **options: Any) -> list[Record]:
    return list(read_purchases(path, currency="USD", **options))


def values(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.value, parse_float=Decimal) for record in records]


def microseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def csv_of(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def jsonl_of(path: Path, *rows: dict[str, Any]) -> Path:
    write_jsonl(path, rows, [])
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25)
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
@settings(max_examples=25)
@given(rows=st.lists(profiles, min_size=1, max_size=8))
def test_profiles_come_back_as_they_were_written(suffix: str, rows: list[dict[str, Any]]) -> None:
    columns = sorted({name for row in rows for name in row})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"profiles{suffix}")
        WRITERS[suffix](path, rows, columns)
        records = list(read_profiles(path))

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
    assert all("age at updated_at" in rejection.message for rejection in rejections)


def test_amounts_keep_the_decimals_of_the_file(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", "a,2026-01-01T00:00Z,54.60")
    assert b'"amount":54.60,' in read_all(path)[0].value
    table = pa.table({**{k: [v] for k, v in PURCHASE.items()}, "amount": [54.66]})
    pq.write_table(table, tmp_path / "p.parquet")
    assert b'"amount":54.66,' in read_all(tmp_path / "p.parquet")[0].value


def test_customer_0012_does_not_become_12(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", "0012,2026-01-01T00:00Z,1")
    [record] = read_all(path)
    assert record.key == b"0012"
    assert json.loads(record.value)["customer_id"] == "0012"


def test_event_ids_are_made_from_file_name_and_line(tmp_path: Path) -> None:
    lines = ["customer_id,occurred_at,amount", *["a,2026-01-01T00:00:00Z,1"] * 3]
    (tmp_path / "copy").mkdir()
    first = values(read_all(csv_of(tmp_path / "p.csv", *lines)))
    again = values(read_all(csv_of(tmp_path / "copy" / "p.csv", *lines)))
    other = values(read_all(csv_of(tmp_path / "q.csv", *lines)))
    ids = [value["event_id"] for value in first]
    assert len(set(ids)) == 3
    assert {uuid.UUID(event_id).version for event_id in ids} == {5}
    assert [value["event_id"] for value in again] == ids
    assert not {value["event_id"] for value in other} & set(ids)


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
    assert json.loads(record.value)["occurred_at"] == "2026-07-01T10:00:00Z"


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


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"customer_id": ""}, "customer_id", "is missing"),
        ({"customer_id": None}, "customer_id", "is missing"),
        ({"customer_id": "a\nb"}, "customer_id", "pattern"),
        ({"customer_id": "x" * 129}, "customer_id", "at most 128"),
        ({"customer_id": "\ud800"}, "customer_id", "UTF-8"),
        ({"customer_id": ["a"]}, "customer_id", "not a single value"),
        ({"event_id": "x" * 129}, "event_id", "at most 128"),
        ({"occurred_at": ""}, "occurred_at", "is missing"),
        ({"occurred_at": "yesterday"}, "occurred_at", "is not a time"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at", "is not a time"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", "is not a time"),
        ({"occurred_at": "2026-02-25T06:00:00"}, "occurred_at", "no UTC offset"),
        ({"amount": None}, "amount", "is missing"),
        ({"amount": "12,34"}, "amount", "plain decimal"),
        ({"amount": "$5"}, "amount", "plain decimal"),
        ({"amount": float("nan")}, "amount", "plain decimal"),
        ({"amount": "1_000"}, "amount", "plain decimal"),
        ({"amount": "٣"}, "amount", "plain decimal"),
        ({"amount": 0}, "amount", "greater than 0"),
        ({"amount": -5.5}, "amount", "greater than 0"),
        ({"amount": "1e999999999"}, "amount", "finite"),
        ({"amount": 2e10}, "amount", "less than or equal"),
        ({"kind": "gift"}, "kind", "'purchase' or 'refund'"),
        ({"currency": "dollars"}, "currency", "pattern"),
        ({"items": -1}, "items", "greater than or equal to 0"),
        ({"items": 1.5}, "items", "whole number"),
        ({"category": "x" * 129}, "category", "at most 128"),
        ({"channel": {"a": 1}}, "channel", "not a single value"),
    ],
)
def test_a_broken_purchase_names_file_line_and_field(
    tmp_path: Path, changes: dict[str, Any], field: str, why: str
) -> None:
    path = jsonl_of(tmp_path / "p.jsonl", PURCHASE, PURCHASE | changes, PURCHASE)
    with pytest.raises(BrokenRowError, match=why) as caught:
        read_all(path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (path, 2, field)
    assert str(caught.value).startswith(f"{path}, line 2, {field}: ")

    skipped: list[BrokenRowError] = []
    assert len(read_all(path, on_broken=skipped.append)) == 2
    assert [(row.line, row.field) for row in skipped] == [(2, field)]


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"updated_at": None}, "updated_at", "is missing"),
        ({"age": "old"}, "age", "plain decimal"),
        ({"age": 131}, "age", "less than or equal to 130"),
        ({"birth_year": 1700}, "birth_year", "greater than or equal to 1850"),
        ({"income": 0}, "income", "greater than 0"),
        ({"location": "moon"}, "location", "'urban', 'suburban' or 'rural'"),
        ({"marketing_consent": "maybe"}, "marketing_consent", "not true or false"),
        ({"consent": {"profiling": 7}}, "profiling_consent", "not true or false"),
        ({"consent": True}, "consent", "not a JSON object"),
    ],
)
def test_a_broken_profile_names_file_line_and_field(
    tmp_path: Path, changes: dict[str, Any], field: str, why: str
) -> None:
    path = jsonl_of(tmp_path / "p.jsonl", PROFILE, PROFILE | changes)
    with pytest.raises(BrokenRowError, match=why) as caught:
        list(read_profiles(path))
    assert (caught.value.line, caught.value.field) == (2, field)


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "null", "[" * 100_000])
def test_a_line_that_is_no_json_object_is_a_broken_row(tmp_path: Path, line: str) -> None:
    path = csv_of(tmp_path / "p.jsonl", json.dumps(PURCHASE), line, json.dumps(PURCHASE))
    skipped: list[BrokenRowError] = []
    assert len(read_all(path, on_broken=skipped.append)) == 2
    assert [(row.line, row.field) for row in skipped] == [(2, "row")]


@pytest.mark.parametrize("row", ["a,2026-01-01T00:00:00Z", "a,2026-01-01T00:00:00Z,1,2"])
def test_a_csv_row_of_another_width_is_broken(tmp_path: Path, row: str) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", row)
    with pytest.raises(BrokenRowError, match=r"line 2, row: has . cells where the header has 3"):
        read_all(path)


def test_bytes_that_are_not_utf8_break_only_their_row(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    row = b"caf\xe9,2026-01-01T00:00:00Z,1\n"
    path.write_bytes(b"customer_id,occurred_at,amount\n" + row + row.replace(b"\xe9", b"e"))
    skipped: list[BrokenRowError] = []
    assert [record.key for record in read_all(path, on_broken=skipped.append)] == [b"cafe"]
    assert [(row.line, row.field, row.why) for row in skipped] == [
        (2, "customer_id", "is not UTF-8")
    ]


def test_lines_are_counted_through_quoted_line_feeds(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "p.csv",
        "customer_id,occurred_at,amount,category",
        'a,2026-01-01T00:00:00Z,1,"two\nlines"',
        "a,2026-01-01T00:00:00Z,none,",
    )
    with pytest.raises(BrokenRowError, match="line 4, amount"):
        read_all(path)


def test_an_open_quote_ends_the_reading_even_when_rows_are_skipped(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "p.csv",
        "customer_id,occurred_at,amount",
        '"a,2026-01-01T00:00:00Z,1',
        "b,2026-01-01T00:00:00Z,1",
    )
    with pytest.raises(FileError, match="quote"):
        read_all(path, on_broken=[].append)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    WRITERS[suffix](path, [], ["customer_id", "occurred_at", "Amount"])
    with pytest.raises(FileError, match=r"no column amount; the columns are .*Amount"):
        read_all(path, on_broken=[].append)


def test_consent_nests_in_jsonl_and_parquet_but_not_in_csv(tmp_path: Path) -> None:
    consent = {"marketing": True, "profiling": False}
    jsonl = jsonl_of(tmp_path / "p.jsonl", PROFILE | {"consent": consent}, PROFILE)
    parquet = tmp_path / "p.parquet"
    pq.write_table(pa.Table.from_pylist([PROFILE | {"consent": consent}, PROFILE]), parquet)
    for path in (jsonl, parquet):
        found = [value.get("consent") for value in values(list(read_profiles(path)))]
        assert found == [consent, None]
    with pytest.raises(FileError, match="marketing_consent and profiling_consent"):
        list(read_profiles(csv_of(tmp_path / "p.csv", "customer_id,updated_at,consent")))


def test_floating_point_ids_are_refused(tmp_path: Path) -> None:
    table = pa.table({**{k: [v] for k, v in PURCHASE.items()}, "customer_id": [12.0]})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(FileError, match=r"column customer_id holds floating-point numbers"):
        read_all(tmp_path / "p.parquet")


def not_utf8(*texts: bytes) -> pa.Array:
    """Texts as a writer that checks nothing has them."""
    return pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_parquet_column_that_is_not_utf8_is_named(tmp_path: Path, dictionary: bool) -> None:
    ids = not_utf8(b"c-1", b"\xff")
    columns = {**{name: [cell] * 2 for name, cell in PURCHASE.items()}, "customer_id": ids}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", use_dictionary=dictionary)
    with pytest.raises(FileError, match=r"p\.parquet: column customer_id is not UTF-8"):
        read_all(tmp_path / "p.parquet")


def test_parquet_columns_whose_names_are_not_utf8_are_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({name: [cell] for name, cell in PURCHASE.items()}), path)
    path.write_bytes(path.read_bytes().replace(b"customer_id", b"customer_\xff\xff"))
    with pytest.raises(FileError, match=r"p\.parquet: no"):
        read_all(path)


def test_a_parquet_time_that_does_not_fit_is_no_other_time(tmp_path: Path) -> None:
    times = pa.array([2**62]).view(pa.timestamp("ms", "UTC"))
    table = pa.table({**{k: [v] for k, v in PURCHASE.items()}, "occurred_at": times})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(FileError, match="out of bounds"):
        read_all(tmp_path / "p.parquet")


def test_a_file_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.csv")
    try:
        csv_of(path, ",".join(PURCHASE), ",".join(map(str, PURCHASE.values())))
    except OSError:
        pytest.skip("this file system takes no such name")
    [record] = read_all(path)
    assert record.key.decode() == PURCHASE["customer_id"]


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl.gz", "p.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match=name):
        read_all(tmp_path / name)


@pytest.mark.parametrize("name", ["p.csv.gz", "p.jsonl.gz", "p.parquet"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"x" * 10_000)[:-20] if name.endswith("gz") else b"PAR1" * 9)
    with pytest.raises(FileError, match=name):
        read_all(path)


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("p.jsonl.gz", b"x" * 1_000),
        ("p.csv.gz", b"x" * 1_000),
        ("p.csv.gz", b'"\n",' * 200),  # quoted line ends: one row that never ends
    ],
)
def test_a_row_that_would_fill_the_memory_is_named_before_it_does(
    tmp_path: Path, name: str, piece: bytes
) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) as file:
        if name.startswith("p.csv"):
            file.write(",".join(PURCHASE).encode() + b"\n")
        for _ in range(50_000):
            file.write(piece)
    tracemalloc.start()
    with pytest.raises(FileError, match=rf"{name}, line \d+: a row of more than 1,048,576 char"):
        read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_many_rows_are_no_long_row(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    row = {key: str(cell) for key, cell in PURCHASE.items()} | {"unknown": "x" * 10_000}
    WRITERS[path.suffix](path, [row] * 200, list(row))
    assert len(read_all(path)) == 200


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"p\.xlsx: the name must end in one of \.csv"):
        read_all(tmp_path / "p.xlsx")


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
    records = read_purchases(path, currency="USD")
    assert next(records).key == b"0"
    with pytest.raises(BrokenRowError):
        list(records)
