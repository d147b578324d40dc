"""Sandbox of a query: a DuckDB connection that reaches lookup tables only, in bounded memory."""

import re
import resource
from collections.abc import Sequence

import duckdb

from livesegments.ingest.columns import Column, without_semicolon
from livesegments.ingest.definitions import Table

MEMORY_MB = 512
PROCESS_MB = 768
"""Memory of the process beside that of its queries."""
SECONDS = 20.0
"""Time that a query may take for one micro-batch, before it is tried on half of the records."""

ISOLATED = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Options of a connection whose SQL reaches no variables of Python and loads no extensions."""

_CSV, _JSON = "read_csv(?, sample_size = -1)", "read_json(?, sample_size = -1)"
"""The whole file tells the types: an id like 007 may come late."""
_READERS = {
    ".csv": _CSV,
    ".tsv": _CSV,
    ".json": _JSON,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".parquet": "read_parquet(?)",
}


def limit_memory(queries: int) -> None:
    """Limit the memory of this process: DuckDB builds a single value outside of its own limit.

    A query that asks for more fails on the record; the process continues.
    """
    most = (PROCESS_MB + MEMORY_MB * queries) * 1024**2
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > most:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


class QueryError(ValueError):
    """The query cannot be used; the message says why, and what to write."""


def open_sandbox(tables: Sequence[Table], memory_mb: int) -> duckdb.DuckDBPyConnection:
    """Return a connection that reaches nothing but the lookup tables."""
    connection = duckdb.connect(
        config={"threads": 1, "memory_limit": f"{memory_mb}MB", "temp_directory": "", **ISOLATED}
    )
    connection.execute("SET TimeZone = 'UTC'")
    for each in tables:
        reader = _READERS[each.file.suffix.lower()]
        try:
            connection.execute(
                f"CREATE TABLE {each.name} AS SELECT * FROM {reader}", [str(each.file)]
            )
        except duckdb.Error as error:
            raise QueryError(f"table {each.name}: {each.file}: {_first_line(error)}") from None
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def versions_of(tables: Sequence[Table]) -> list[tuple[int, int]]:
    """Return time and size of the tables' files, which change when they are written."""
    try:
        stats = [each.file.stat() for each in tables]
    except OSError as error:
        raise QueryError(f"table file {error.filename}: {error.strerror}") from None
    return [(each.st_mtime_ns, each.st_size) for each in stats]


def columns_of(connection: duckdb.DuckDBPyConnection, select: str) -> list[Column]:
    """Return the columns of a SELECT statement."""
    described = connection.execute(f"DESCRIBE {select}").fetchall()
    return [(name, kind) for name, kind, *_ in described]


def single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return a query without its last semicolon; raises `QueryError` if it is no one SELECT."""
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(explained(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("the query must be one SELECT statement")
    return without_semicolon(sql)


def explained(error: duckdb.Error, seconds: float = SECONDS) -> str:
    """Return what went wrong, without values: a message may quote one of a record's."""
    if isinstance(error, duckdb.InterruptException):
        return f"the query took longer than {seconds:g} s"
    if isinstance(error, duckdb.OutOfMemoryException):
        return "the query needs more memory than it may have"
    line = _first_line(error)
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        if isinstance(error, duckdb.ParserException) and "offset" in str(error).lower():
            line += ' (offset is a keyword: write "offset" with double quotes)'
        return line + query_line(error)
    # A value may have quotes and line ends of its own: what is quoted ends with the last quote.
    return re.sub(r"""['"].*['"]|['"].*|\d+(\.\d+)?""", "…", line)


def query_line(error: duckdb.Error) -> str:
    """Return the line of a query that cannot be parsed, its number and text; empty for others."""
    found = re.search(r"^LINE (\d+): (.*)$", str(error), re.MULTILINE)
    if found is None or not isinstance(error, duckdb.ParserException):
        return ""
    return f", in line {found[1]} of the query: {found[2].strip()}"


def _first_line(error: duckdb.Error) -> str:
    return str(error).split("\n", 1)[0].strip()
