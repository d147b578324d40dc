"""Queries on files: the rows of a query become purchases or profiles, ready to send.

`source` is the file as DuckDB reads it: the columns of a CSV file as text, with ``row``, the line
of each; the documents of a JSON file as ``value``; the columns of a Parquet file as they are.
Unlike the query of a topic, this one sees the whole file: it may sum, sort and join. DuckDB uses a
bounded memory, and beyond it a temporary folder.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Literal

import duckdb

from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.decode import decode_profiles, decode_purchases
from livesegments.ingest.columns import ColumnError, select_list
from livesegments.producers.event_files import BrokenRowError, Record
from livesegments.producers.file_readers import FileError

MEMORY_MB = 1_024
BATCH_ROWS = 10_000

_COMPRESSED = (".gz", ".zst")
_TEXT = (".csv", ".tsv", ".txt")
_JSON = (".json", ".jsonl", ".ndjson")
_READ_ONLY = (
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True, slots=True)
class FileQuery:
    """SQL that turns a file of any shape into events.

    Attributes
    ----------
    sql
        SELECT statement on `source`, which is the file.
    tables
        Name -> file of other tables that it joins.
    delimiter, encoding
        Of a CSV file, where they are not recognised; the delimiter ``none`` reads whole lines.
    """

    sql: str
    tables: Mapping[str, Path] = field(default_factory=dict)
    delimiter: str = ""
    encoding: str = ""

    def read(
        self,
        path: Path,
        into: Literal["purchases", "profiles"],
        *,
        currency: str = "",
        timezone: tzinfo | None = None,
        on_broken: Callable[[BrokenRowError], None] | None = None,
    ) -> Iterator[Record]:
        """Yield the events of a file; see `query_file`."""
        return query_file(
            path, self, into, currency=currency, timezone=timezone, on_broken=on_broken
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    lines: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


def query_file(
    path: Path,
    query: FileQuery,
    into: Literal["purchases", "profiles"],
    *,
    currency: str = "USD",
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
) -> Iterator[Record]:
    """Run a query on a file and yield its rows as events, in the order of the query.

    Parameters
    ----------
    path
        CSV, tab-separated, JSON Lines, JSON or Parquet, also compressed with gzip or zstd.
    query
        SQL on `source`, lookup tables and how to read the file.
    into
        The input that the rows belong to.
    currency
        Of purchases without one of their own.
    timezone
        Of casts from text without an offset to TIMESTAMPTZ; by default UTC.
    on_broken
        Called with each row that the contract refuses, which is then skipped; if not given, the
        error is raised.

    Raises
    ------
    FileError
        If a file cannot be read, or the query fails or does not return what its input needs.
    BrokenRowError
        If the contract refuses a row and ``on_broken`` is not given.
    """
    with tempfile.TemporaryDirectory() as folder:
        connection = _connected(path, query, folder, timezone)
        try:
            for batch in _batches(connection, path, query, into, currency):
                yield from _events(path, batch, into, currency, on_broken)
        finally:
            connection.close()


def _connected(
    path: Path, query: FileQuery, folder: str, timezone: tzinfo | None
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            # With one thread, the rows of a file keep their order.
            "threads": 1,
            "memory_limit": f"{MEMORY_MB}MB",
            "temp_directory": folder,
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute(f"SET TimeZone = {_literal(str(timezone or 'UTC'))}")
    for name, file in {"source": path, **query.tables}.items():
        if not file.is_file():
            raise FileError(f"{file}: no such file")
        try:
            connection.execute(f"CREATE VIEW {name} AS {_reader(file, query, name == 'source')}")
        except duckdb.Error as error:
            raise FileError(f"{file}: {_first_line(error)}") from None
    files = ", ".join(_literal(str(each)) for each in (path, *query.tables.values()))
    connection.execute(f"SET allowed_paths = [{files}]")
    for each in _READ_ONLY:
        connection.execute(each)
    return connection


def _reader(path: Path, query: FileQuery, is_source: bool) -> str:
    suffixes = [each.lower() for each in path.suffixes if each.lower() not in _COMPRESSED]
    suffix, file = suffixes[-1] if suffixes else "", _literal(str(path))
    if suffix in _TEXT:
        options = ["all_varchar = true"]
        header = 1
        if is_source and query.encoding:
            options.append(f"encoding = {_literal(query.encoding)}")
        if is_source and query.delimiter == "none":
            options += ["columns = {'line': 'VARCHAR'}", "delim = '\x01'", "quote = ''"]
            options += ["header = false", "auto_detect = false"]
            header = 0
        elif is_source and query.delimiter:
            options.append(f"delim = {_literal(query.delimiter)}")
        return (
            f'SELECT row_number() OVER () + {header} AS "row", *'
            f" FROM read_csv({file}, {', '.join(options)})"
        )
    if suffix in _JSON:
        form = "'auto'" if suffix == ".json" else "'newline_delimited'"
        return (
            'SELECT row_number() OVER () AS "row", json AS value'
            f" FROM read_json_objects({file}, format = {form})"
        )
    if suffix == ".parquet":
        return (
            'SELECT file_row_number + 1 AS "row", * EXCLUDE (file_row_number)'
            f" FROM read_parquet({file}, file_row_number = true)"
        )
    known = ", ".join((*_TEXT, *_JSON, ".parquet"))
    raise FileError(f"{path}: must end with one of {known}, or with .gz or .zst after it")


def _batches(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    query: FileQuery,
    into: Literal["purchases", "profiles"],
    currency: str,
) -> Iterator[_Batch]:
    sql = query.sql.strip().rstrip(";").rstrip()
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM ({sql}\n)").fetchall()
        columns = [(name, kind) for name, kind, *_ in described]
        fields = [each for each in columns if each[0] != "row"]
        selected = select_list(
            fields, into, currency, record_id=f"{_literal(path.name)} || '-' || nth"
        )
        line = '"row"' if len(fields) < len(columns) else "nth"
        result = connection.execute(
            f"SELECT {line} AS line, {selected}"
            f" FROM (SELECT *, row_number() OVER () AS nth FROM ({sql}\n))"
        )
        while rows := result.fetchmany(BATCH_ROWS):
            yield _Batch(
                [line for line, _, _ in rows],
                [None if key is None else bytes(key) for _, key, _ in rows],
                [None if value is None else bytes(value) for _, _, value in rows],
            )
    except ColumnError as error:
        raise FileError(f"{path}: {error}") from None
    except duckdb.Error as error:
        raise FileError(f"{path}: the query fails: {_first_line(error)}") from None


def _events(
    path: Path,
    batch: _Batch,
    into: Literal["purchases", "profiles"],
    currency: str,
    on_broken: Callable[[BrokenRowError], None] | None,
) -> Iterator[Record]:
    # Times are compared with no clock: a file is history.
    timestamps = [0] * len(batch.keys)
    instants: dict[int, int]
    refused: list[Rejection]
    if into == "purchases":
        purchases, refused = decode_purchases(
            batch.keys, batch.values, timestamps, currency=currency
        )
        rows = purchases.row.tolist()
        instants = dict(zip(rows, purchases.occurred_at.tolist(), strict=True))
    else:
        profiles, refused = decode_profiles(batch.keys, batch.values, timestamps)
        rows = profiles.row.tolist()
        instants = dict(zip(rows, profiles.updated_at.tolist(), strict=True))
    faults = {each.row: each for each in refused}
    for row, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
        if row in faults:
            name, _, why = faults[row].message.partition(": ")
            broken = BrokenRowError(path, batch.lines[row], name, why or faults[row].message)
            if on_broken is None:
                raise broken
            on_broken(broken)
        else:
            yield Record(key or b"", value or b"", instants[row])


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: duckdb.Error) -> str:
    return str(error).split("\n", 1)[0].strip()
