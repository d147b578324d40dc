"""Malformed files and rows: each is named, with a way to fix it."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livesegments.ingest.file_formats import FileError, FileOptions
from livesegments.ingest.files import BrokenRowError, read_events
from tests.livesegments.ingest.rows import (
    PROFILE,
    PURCHASE,
    SUFFIXES,
    WRITERS,
    csv_of,
    jsonl_of,
    read_all,
)


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"customer_id": ""}, "customer_id", "is missing"),
        ({"customer_id": None}, "customer_id", "is missing"),
        ({"customer_id": "a\nb"}, "customer_id", "control character"),
        ({"customer_id": "x" * 129}, "customer_id", "more than 128"),
        ({"customer_id": " c-1"}, "customer_id", "begins or ends with a blank"),
        ({"customer_id": "15001.0"}, "customer_id", "write ids as text"),
        ({"customer_id": "\ud800"}, "row", "not a JSON object"),
        ({"customer_id": ["a"]}, "customer_id", "the id of a customer as text"),
        ({"event_id": "x" * 129}, "event_id", "more than 128"),
        ({"occurred_at": ""}, "occurred_at", "is missing"),
        ({"occurred_at": "25.02.2026 06:00"}, "occurred_at", "is not a time.*--date-format"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at", "no date of the calendar"),
        ({"occurred_at": "20260225060000Z"}, "occurred_at", "without separators"),
        ({"occurred_at": 1772000000}, "occurred_at", "is a number"),
        ({"occurred_at": "9999-12-31T23:59:59-00:01"}, "occurred_at", "is no date|is not a time"),
        ({"occurred_at": "2026-02-25T06:00:00"}, "occurred_at", "no UTC offset"),
        ({"amount": None}, "amount", "is missing"),
        ({"amount": "12,34"}, "amount", "has a comma"),
        ({"amount": "$5"}, "amount", "with a point for decimals"),
        ({"amount": float("nan")}, "amount", "is missing"),
        ({"amount": float("inf")}, "amount", "with a point for decimals"),
        ({"amount": "1_000"}, "amount", "with a point for decimals"),
        ({"amount": "٣"}, "amount", "with a point for decimals"),
        ({"amount": -5.5}, "amount", 'kind "refund"'),
        ({"amount": "1e999999999"}, "amount", "from 0 to 10,000,000,000"),
        ({"amount": 2e10}, "amount", "from 0 to 10,000,000,000"),
        ({"kind": "gift"}, "kind", '"purchase" or "refund"'),
        ({"currency": "dollars"}, "currency", "ISO 4217"),
        ({"category": "x" * 129}, "category", "at most 128"),
        ({"category": {"a": 1}}, "category", "must be text"),
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
        ({"age": "old"}, "age", "a number of years"),
        ({"age": 131}, "age", "from 0 to 130"),
        ({"birth_year": 1700}, "birth_year", "from 1850 to 2200"),
        ({"income": 0}, "income", "above 0"),
        ({"location": "moon"}, "location", '"urban", "suburban" or "rural"'),
        ({"marketing_consent": "maybe"}, "consent.marketing", "must be true or false"),
        ({"consent": {"profiling": 7}}, "consent.profiling", "must be true or false"),
        ({"consent": True}, "consent", "must be an object"),
    ],
)
def test_a_broken_profile_names_file_line_and_field(
    tmp_path: Path, changes: dict[str, Any], field: str, why: str
) -> None:
    path = jsonl_of(tmp_path / "p.jsonl", PROFILE, PROFILE | changes)
    with pytest.raises(BrokenRowError, match=why) as caught:
        list(read_events(path, "profiles"))
    assert (caught.value.line, caught.value.field) == (2, field)


def test_a_consent_in_a_skipped_profile_is_sent(tmp_path: Path) -> None:
    wrong = {"income": "30-40k", "age": 37, "profiling_consent": "false"}
    path = jsonl_of(tmp_path / "p.jsonl", PROFILE | wrong, PROFILE | {"income": "30-40k"})
    skipped: list[BrokenRowError] = []
    [sent] = read_events(path, "profiles", on_broken=skipped.append)
    assert json.loads(sent.value or b"") == PROFILE | {"age": 37, "consent": {"profiling": False}}
    assert [(row.line, "the consent in it counts" in row.why) for row in skipped] == [
        (1, True),
        (2, False),
    ]


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "null", "[" * 100_000])
def test_a_line_that_is_no_json_object_is_a_broken_row(tmp_path: Path, line: str) -> None:
    path = csv_of(tmp_path / "p.jsonl", json.dumps(PURCHASE), line, json.dumps(PURCHASE))
    skipped: list[BrokenRowError] = []
    assert len(read_all(path, on_broken=skipped.append)) == 2
    assert [(row.line, row.field) for row in skipped] == [(2, "row")]


@pytest.mark.parametrize(
    ("row", "which"), [("a,2026-01-01T00:00:00Z", "fewer"), ("a,2026-01-01T00:00:00Z,1,2", "more")]
)
def test_a_csv_row_of_another_width_is_broken(tmp_path: Path, row: str, which: str) -> None:
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount", row)
    with pytest.raises(BrokenRowError, match=f"line 2, row: has {which} cells than the header"):
        read_all(path)


def test_bytes_that_are_not_utf8_break_only_their_row(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    row = b"caf\xe9,2026-01-01T00:00:00Z,1\n"
    path.write_bytes(b"customer_id,occurred_at,amount\n" + row + row.replace(b"\xe9", b"e"))
    skipped: list[BrokenRowError] = []
    assert [record.key for record in read_all(path, on_broken=skipped.append)] == [b"cafe"]
    assert [(row.line, row.field) for row in skipped] == [(2, "row")]
    assert "--encoding" in skipped[0].why


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


def test_a_badly_quoted_row_is_broken_and_the_next_ones_are_read(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "p.csv",
        "customer_id,occurred_at,amount",
        "a,2026-01-01T00:00:00Z,1",
        '"b"x,2026-01-01T00:00:00Z,1',
        "c,2026-01-01T00:00:00Z,1",
    )
    with pytest.raises(BrokenRowError, match=r"line 3, row: is badly quoted"):
        read_all(path)
    skipped: list[BrokenRowError] = []
    assert [record.key for record in read_all(path, on_broken=skipped.append)] == [b"a", b"c"]
    assert [(row.line, row.field) for row in skipped] == [(3, "row")]


def test_a_cell_may_be_as_long_as_a_row(tmp_path: Path) -> None:
    row = f"a,2026-01-01T00:00:00Z,1,{'x' * 200_000}"
    path = csv_of(tmp_path / "p.csv", "customer_id,occurred_at,amount,note", row)
    assert [record.key for record in read_all(path)] == [b"a"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_column_that_is_there_twice_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    names = [*PURCHASE, "note", "note", "amount"]
    if suffix == ".csv":
        csv_of(path, ",".join(names))
    else:
        pq.write_table(pa.Table.from_arrays([pa.array(["1"])] * len(names), names), path)
    with pytest.raises(FileError, match="more than one column amount"):
        read_all(path, on_broken=[].append)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    WRITERS[suffix](path, [], ["customer_id", "occurred_at", "Amount"])
    with pytest.raises(FileError, match=r"no column amount; the columns are .*Amount"):
        read_all(path, on_broken=[].append)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ids_that_became_floats_are_refused_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    if suffix == ".parquet":
        ids = [15001.0, None, 2.0**60]
        table = pa.table({**{k: [v] * 3 for k, v in PURCHASE.items()}, "customer_id": ids})
        pq.write_table(table, path)
    else:
        rows = [{**PURCHASE, "customer_id": each} for each in (15001.0, None, 2.0**60)]
        WRITERS[suffix](path, rows, list(PURCHASE))
    skipped: list[BrokenRowError] = []
    assert read_all(path, on_broken=skipped.append) == []
    whys = [row.why for row in skipped]
    assert {row.field for row in skipped} == {"customer_id"}
    assert whys[1] == "is missing"
    assert all('write ids as text, like "15001"' in why for why in (whys[0], whys[2]))


def not_utf8(*texts: bytes) -> pa.Array:
    """Texts as written by a program that checks nothing."""
    return pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_parquet_column_that_is_not_utf8_is_named(tmp_path: Path, dictionary: bool) -> None:
    ids = not_utf8(b"c-1", b"\xff")
    columns = {**{name: [cell] * 2 for name, cell in PURCHASE.items()}, "customer_id": ids}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", use_dictionary=dictionary)
    with pytest.raises(FileError, match=r"p\.parquet: .* not valid UTF8"):
        read_all(tmp_path / "p.parquet")


def test_parquet_columns_whose_names_are_not_utf8_are_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({name: [cell] for name, cell in PURCHASE.items()}), path)
    path.write_bytes(path.read_bytes().replace(b"customer_id", b"customer_\xff\xff"))
    with pytest.raises(FileError, match=r"p\.parquet: .*unicode"):
        read_all(path)


def test_a_parquet_time_that_does_not_fit_is_no_other_time(tmp_path: Path) -> None:
    times = pa.array([2**62]).view(pa.timestamp("ms", "UTC"))
    table = pa.table({**{k: [v] for k, v in PURCHASE.items()}, "occurred_at": times})
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(FileError, match="Could not convert"):
        read_all(tmp_path / "p.parquet")


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl.gz", "p.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match=name):
        read_all(tmp_path / name)


def test_a_folder_is_not_called_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder or a pipe; name a file"):
        read_all(tmp_path)


@pytest.mark.parametrize("name", ["p.csv.gz", "p.jsonl.gz", "p.parquet", "p.xlsx"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"x" * 10_000)[:-20] if name.endswith("gz") else b"PAR1" * 9)
    with pytest.raises(FileError, match=name):
        read_all(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty; it must name the columns"),
        ("\n\ncustomer_id,occurred_at,amount\n", "is empty; it must name the columns"),
        ("customer_id,occurred_at,amount,größe\n", "is not UTF-8.*--encoding"),
    ],
)
def test_a_first_line_that_names_no_columns_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FileError, match=rf"p\.csv, line 1: {why}"):
        read_all(path)


@pytest.mark.parametrize(
    ("amount", "decimal", "why"),
    [("12,50", ".", "has a comma.*--decimal ,"), ("1.234,50", ",", "has points for thousands")],
)
def test_an_amount_with_other_separators_names_the_option(
    tmp_path: Path, amount: str, decimal: str, why: str
) -> None:
    path = csv_of(
        tmp_path / "p.csv",
        "customer_id;occurred_at;amount",
        f"c-1;2026-02-25T06:00:00Z;{amount}",
    )
    with pytest.raises(BrokenRowError, match=rf"p\.csv, line 2, amount: {why}"):
        read_all(path, options=FileOptions(decimal=decimal))


@pytest.mark.parametrize(
    ("name", "piece", "why"),
    [
        ("p.jsonl.gz", b"x" * 1_000, "last line: has more than 1,048,576 bytes"),
        ("p.csv.gz", b"x" * 1_000, "last line: has more than 1,048,576 bytes"),
        # Quoted line ends: one endless row.
        ("p.csv.gz", b'"\n",' * 200, "row: has more cells"),
    ],
)
def test_a_row_that_would_fill_the_memory_is_named_before_it_does(
    tmp_path: Path, name: str, piece: bytes, why: str
) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) as file:
        if name.startswith("p.csv"):
            file.write(",".join(PURCHASE).encode() + b"\n")
        for _ in range(50_000):
            file.write(piece)
    tracemalloc.start()
    with pytest.raises(FileError, match=f"{name}, .*{why}"):
        read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"p\.xls: the name must end in one of \.csv"):
        read_all(csv_of(tmp_path / "p.xls", "a"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "mixed"])
def test_lines_are_counted_past_blank_lines_broken_rows_and_quoted_line_ends(
    tmp_path: Path, end: str
) -> None:
    lines = [
        "customer_id,occurred_at,amount,note",
        "",
        'a,2026-01-01T00:00:00Z,1,"two\n\nlines"',
        "a,2026-01-01T00:00:00Z",
        "b,2026-01-01T00:00:00Z,none,",
        "",
        "c,2026-01-01T00:00:00Z,1,2,3",
        "d,never,1,",
        "e,2026-01-01T00:00:00Z,1,",
    ]
    ends = ["\n", "\r\n"] * 9 if end == "mixed" else [end] * 9
    text = "".join(line.replace("\n", at) + at for line, at in zip(lines, ends, strict=False))
    path = tmp_path / "p.csv"
    path.write_bytes(text.encode())
    skipped: list[BrokenRowError] = []
    assert [each.key for each in read_all(path, on_broken=skipped.append)] == [b"a", b"e"]
    assert sorted((row.line, row.field) for row in skipped) == [
        (6, "row"),
        (7, "amount"),
        (9, "row"),
        (10, "occurred_at"),
    ]
    with pytest.raises(BrokenRowError, match=r"p\.csv, line 6, row: has fewer cells"):
        read_all(path)
