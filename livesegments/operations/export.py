"""Export of every customer's current segment to a file, one row per customer."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from livesegments.contracts.timestamps import rfc3339
from livesegments.features.record_codec import is_known
from livesegments.features.window import Tiling, window
from livesegments.operations.atomic_file import replacing
from livesegments.operations.customer_scan import Stretch, scan
from livesegments.store.partitions import Partitions

SUFFIXES = (".csv", ".jsonl", ".parquet")
LOCATIONS = {0.0: "rural", 0.5: "suburban", 1.0: "urban"}
_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("segment", pa.string()),
        ("since", pa.string()),
        ("version", pa.int64()),
        ("cluster", pa.int8()),
        ("purchases", pa.int64()),
        ("spend", pa.float64()),
        ("age", pa.float64()),
        ("income", pa.float64()),
        ("location", pa.string()),
    ]
)

Row = dict[str, Any]


class ExportError(RuntimeError):
    """There is nothing to export."""


def export(store: Partitions, path: Path, progress: Callable[[int], None] = lambda _: None) -> int:
    """Write one row per customer; return the number of rows.

    Purchases and spend are those of the window that ends at the partition's clock; unknown values
    are empty. Erased customers, customers suppressed until a restore, and those with only a
    deleted profile have no row.
    The file appears under its name only when complete.

    Parameters
    ----------
    store
        The deployment's store.
    path
        Output file, with a suffix in `SUFFIXES`.
    progress
        Called with the number of rows after each chunk.

    Raises
    ------
    ExportError
        If no worker has run yet.
    UnsettledError
        If a recovery is running.
    ValueError
        If the suffix is not supported.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name must end in .csv, .jsonl or .parquet")
    deployment = store.deployment()
    if deployment is None:
        raise ExportError(
            f"group {store.keys.group_id!r} has nothing in the store: start a worker first"
        )
    layout = Tiling(deployment.window_days, deployment.tiles)
    rows = 0
    with replacing(path) as unfinished, _WRITERS[path.suffix](unfinished) as out:
        for stretch in scan(store, deployment):
            chunk = _rows(stretch, layout, deployment.segments)
            out.write(chunk)
            rows += len(chunk)
            progress(rows)
    return rows


def _rows(stretch: Stretch, layout: Tiling, segments: Sequence[str]) -> list[Row]:
    records = stretch.records
    at = window(records, layout.tile(stretch.clock_us))
    since = rfc3339(records["since"])
    kept = (records["segment"] >= 0) | is_known(records)
    return [
        {
            "customer_id": stretch.names[i],
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


class _Text(AbstractContextManager["_Text"]):
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")

    def __exit__(self, *_: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class _Csv(_Text):
    def __enter__(self) -> Self:
        self._writer = csv.DictWriter(self._file, _SCHEMA.names)
        self._writer.writeheader()
        return self

    def write(self, rows: list[Row]) -> None:
        self._writer.writerows({**row, "spend": f"{row['spend']:.2f}"} for row in rows)


class _Jsonl(_Text):
    def write(self, rows: list[Row]) -> None:
        self._file.writelines(json.dumps(row) + "\n" for row in rows)


class _Parquet(AbstractContextManager["_Parquet"]):
    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, _SCHEMA)

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: list[Row]) -> None:
        self._writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))


_WRITERS: dict[str, Any] = {".csv": _Csv, ".jsonl": _Jsonl, ".parquet": _Parquet}
