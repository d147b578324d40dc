"""Export of every customer's current segment, one row per customer."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from livesegments.contracts.timestamps import rfc3339
from livesegments.extras import require
from livesegments.features.record_codec import is_known
from livesegments.features.window import Tiling, window
from livesegments.operations.atomic_file import replacing
from livesegments.operations.customer_scan import CustomerBatch, scan
from livesegments.operations.model_loader import deployment_of
from livesegments.store.partitions import Partitions

LOCATIONS = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}
COLUMNS: dict[str, type] = {
    "customer_id": str,
    "segment": str,
    "since": str,
    "version": int,
    "cluster": int,
    "purchases": int,
    "spend": float,
    "age": float,
    "income": float,
    "location": str,
}

Row = dict[str, Any]
_Write: TypeAlias = Callable[[list[Row]], object]


def export(store: Partitions, path: Path, progress: Callable[[int], None] = lambda _: None) -> int:
    """Write a file with one row per customer; return the number of rows.

    The suffix is the format. The file appears under its name only when complete. See `write_rows`.
    """
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        return write_rows(store, file, path.suffix.removeprefix("."), progress)


def write_rows(
    store: Partitions, file: BinaryIO, format: str, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Write one row per customer to an open file, which stays open; return the number of rows.

    Purchases and spend are those of the window that ends at the partition's clock; unknown values
    are empty. Erased customers, customers suppressed until a restore, and those with only a
    deleted profile have no row. ``format`` is ``csv``, ``jsonl``, or ``parquet``, which needs
    DuckDB.

    Raises as `deployment_of` and `scan`.
    """
    deployment = deployment_of(store)
    layout = Tiling(deployment.window_days, deployment.tiles)
    rows = 0
    with _WRITERS[format](file) as write:
        for batch in scan(store, deployment):
            chunk = _rows(batch, layout, deployment.segments)
            write(chunk)
            rows += len(chunk)
            progress(rows)
    return rows


def _rows(batch: CustomerBatch, layout: Tiling, segments: Sequence[str]) -> list[Row]:
    records = batch.records
    at = window(records, layout.tile(batch.clock_us), layout)
    since = rfc3339(records["since"])
    kept = (records["segment"] >= 0) | is_known(records)
    return [
        {
            "customer_id": batch.names[i],
            "segment": segments[segment] if segment >= 0 else None,
            "since": since[i] if segment >= 0 else None,
            "version": int(records["version"][i]),
            "cluster": cluster if cluster >= 0 else None,
            "purchases": int(at.purchases[i]),
            "spend": int(at.cents[i]) / 100,
            "age": _known(records["age"][i]),
            "income": _known(records["income"][i]),
            "location": LOCATIONS.get(float(records["urbanicity"][i])),
        }
        for i, (segment, cluster) in enumerate(
            zip(records["segment"].tolist(), records["cluster"].tolist(), strict=True)
        )
        if kept[i]
    ]


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


@contextmanager
def _csv(file: BinaryIO) -> Iterator[_Write]:
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    yield lambda rows: writer.writerows({**row, "spend": f"{row['spend']:.2f}"} for row in rows)
    text.detach()  # flushes; the file stays open


@contextmanager
def _jsonl(file: BinaryIO) -> Iterator[_Write]:
    yield lambda rows: file.writelines(json.dumps(row).encode() + b"\n" for row in rows)


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[_Write]:
    """Yield a writer of JSON Lines in a temporary folder; make Parquet of them in the end."""
    require("files", "Parquet", "duckdb")
    import duckdb

    types = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}
    columns = {name: types[kind] for name, kind in COLUMNS.items()} | {"cluster": "TINYINT"}
    with TemporaryDirectory() as folder:
        lines, parquet = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        with lines.open("wb") as unfinished, _jsonl(unfinished) as write:
            yield write
        with duckdb.connect() as connection:
            rows = connection.read_json(str(lines), columns=columns, format="newline_delimited")
            rows.write_parquet(str(parquet))
        with parquet.open("rb") as made:
            copyfileobj(made, file)


_WRITERS = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
