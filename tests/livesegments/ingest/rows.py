"""Rows of files, with their writers and readers."""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from livesegments.contracts.refusal_messages import FLOAT_ID
from livesegments.ingest.files import read_events
from livesegments.producers.delivery_tracker import Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PURCHASE = {"customer_id": "c-1", "occurred_at": "2026-02-25T06:00:00Z", "amount": 12.34}
PROFILE = {"customer_id": "c-1", "updated_at": "2026-02-25T06:00:00Z"}

identifiers = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
).filter(lambda text: text == text.strip() and not FLOAT_ID(text)) | st.sampled_from(
    ["0012", "1e5", "nan", "true", "7 8"]
)
times = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
labels = st.text(
    # A carriage return within quotes of a CSV file is read as a line feed.
    st.characters(exclude_categories=["Cs"], exclude_characters="\r"),
    min_size=1,
    max_size=10,
)


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


SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")

WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]], Sequence[str]], None]] = {
    ".csv": write_csv,
    ".csv.gz": write_csv,
    ".jsonl": write_jsonl,
    ".jsonl.gz": write_jsonl,
    ".parquet": write_parquet,
}


def read_all(path: Path, **options: Any) -> list[Record]:
    return list(read_events(path, "purchases", currency="USD", **options))


def values(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"", parse_float=Decimal) for record in records]


def microseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def csv_of(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def jsonl_of(path: Path, *rows: dict[str, Any]) -> Path:
    write_jsonl(path, rows, [])
    return path
