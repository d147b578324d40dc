"""Query of a source: SQL on a micro-batch by DuckDB, one record at a time, in a sandbox.

DuckDB runs a query once for all records, as a lateral join: its `source` has one record, and its
rows say which record they are of. So the result cannot depend on how records fall into batches.
A query that means otherwise, such as a sum over several records, is refused: `check` runs it on a
sample as a whole too, and compares.

If a query fails, the records that make it fail are found by halving.
"""

import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from livesegments.ingest.columns import CONTRACTS, ColumnError, numbers_rows, select_list
from livesegments.ingest.definitions import Into, Table
from livesegments.ingest.sandbox import (
    MEMORY_MB,
    SECONDS,
    QueryError,
    columns_of,
    explained,
    open_sandbox,
    single_select,
    versions_of,
)

CHECKED_CHARACTERS = 8 * 1024 * 1024
"""Maximum of a sample's values, which DuckDB holds several times."""

_RECORDS = """
CREATE OR REPLACE TEMP TABLE {records} AS
SELECT
    record,
    CASE WHEN has_key THEN key END AS key,
    CASE WHEN has_value THEN {value} END AS value,
    CAST(headers AS JSON) AS headers,
    CAST(topic AS VARCHAR) AS topic,
    "partition",
    "offset",
    CASE WHEN timestamp_ms >= 0 THEN make_timestamptz(timestamp_ms * 1000) END AS "timestamp",
    has_value
FROM {polled}
WHERE record BETWEEN {first} AND {last} AND is_decoded
"""
_SOURCE = 'SELECT key, value, headers, topic, "partition", "offset", "timestamp" FROM {records}'
_EACH = (
    "SELECT {columns} FROM {records} r,"
    f" LATERAL (WITH source AS ({_SOURCE} WHERE {{records}}.record = r.record)"
    " SELECT * FROM ({query}\n)) q"
)
_WHOLE = f"WITH source AS ({_SOURCE}) SELECT * FROM ({{query}}\n)"
_PLACE = 'r.record, r.topic, r."partition", r."offset", q.*'
_NUMBERED = "SELECT *, row_number() OVER (PARTITION BY record) AS nth FROM ({each})"

_ENGINE_FAULTS = (duckdb.FatalException, duckdb.InternalException)


class SlowQueryError(RuntimeError):
    """The query took too long on several records; fewer may do."""

    def __init__(self, records: int, seconds: float) -> None:
        super().__init__(f"the query took longer than {seconds:g} s on {records} records")
        self.records = records


@dataclass(frozen=True, slots=True)
class Records:
    """Decoded records of a micro-batch, n of them, as columns.

    ``headers`` are JSON objects; ``timestamps_ms`` (n,) are milliseconds since the epoch, -1 for
    none. The query sees only those in ``is_decoded`` (n,).
    """

    topic: str
    keys: Sequence[str | None]
    values: Sequence[str | None]
    headers: Sequence[str]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    is_decoded: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a query, m of them: their record (m,) ascending, and the event's key and value.

    ``not_json`` are the records whose value is no JSON, ``failed`` those on which the query fails,
    and why.
    """

    record: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    not_json: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


class Query:
    """A source's query, with the lookup tables that it may join.

    Tables are read now, and again when their files change. Without ``json``, values are text.

    Raises `QueryError` if a table's file or the query is invalid, or does not return what its input
    needs.
    """

    def __init__(
        self,
        sql: str,
        into: Into,
        *,
        currency: str = "USD",
        tables: Sequence[Table] = (),
        json: bool = True,
        memory_mb: int = MEMORY_MB,
        seconds: float = SECONDS,
    ) -> None:
        self._sql, self._into, self._currency = sql, into, currency
        self._tables, self._json = tables, json
        self._memory_mb, self._seconds = memory_mb, seconds
        # Names that no query can know: it would see more than one record.
        token = secrets.token_hex(8)
        self._records, self._polled = f"records_{token}", f"polled_{token}"
        self._open()

    def _open(self) -> None:
        self._versions = versions_of(self._tables)
        self._connection = open_sandbox(self._tables, self._memory_mb)
        self._query = single_select(self._connection, self._sql)
        self._register(_no_records())
        self._create(0, -1)
        try:
            columns = columns_of(self._connection, self._alone())
            selected = select_list(columns, self._into, self._currency)
        except duckdb.Error as error:
            raise QueryError(explained(error)) from None
        except ColumnError as error:
            raise QueryError(str(error)) from None
        each = self._filled(_EACH, columns=_PLACE)
        self._event_id = CONTRACTS[self._into].event_id
        if numbers_rows(columns, self._into):
            each, self._event_id = _NUMBERED.format(each=each), None
        self._each = f"SELECT record, {selected} FROM ({each}) ORDER BY record"

    def close(self) -> None:
        """Release DuckDB's memory."""
        self._connection.close()

    def refresh(self) -> bool:
        """Read the lookup tables again if a file has changed; return whether one has.

        Raises `QueryError` if a file is gone or invalid; the tables stay as they are.
        """
        if versions_of(self._tables) == self._versions:
            return False
        before = self._connection
        try:
            self._open()
        except BaseException:
            self._connection = before
            raise
        before.close()
        return True

    def run(self, records: Records, *, halve_slow: bool = True) -> Rows:
        """Run the query on each record of a micro-batch.

        Raises `SlowQueryError` if it takes too long and not ``halve_slow``. Otherwise it is tried
        on half of the records, and so on, which may take long.
        """
        return self._run_first(len(records.values), records, halve_slow)

    def _run_first(self, n: int, records: Records, halve_slow: bool) -> Rows:
        rows = Rows()
        if n:
            self._register(records)
            self._run(0, n - 1, rows, records, halve_slow)
        return rows

    def check(self, records: Records, *, halve_slow: bool = True) -> None:
        """Check on a sample that the query means one record at a time.

        Of large records only the first are used: the memory is that of a micro-batch.

        Raises
        ------
        QueryError
            If its rows are others when it sees all of the records at once.
        SlowQueryError
            As for `run`.
        """
        characters = np.cumsum([len(each or "") for each in records.values])
        n = max(1, int(np.searchsorted(characters, CHECKED_CHARACTERS, side="right")))
        rows = self._run_first(n, records, halve_slow)
        left_out = {*rows.failed, *rows.not_json, *_repeated(records, rows, self._event_id)}
        self._create(0, n - 1)
        if left_out:
            numbers = ", ".join(map(str, sorted(left_out)))
            self._connection.execute(f"DELETE FROM {self._records} WHERE record IN ({numbers})")
        columns = columns_of(self._connection, self._alone())
        renamed = ", ".join(f"c{i}" for i in range(len(columns)))
        alone, whole = (
            f"(SELECT * FROM ({sql}) AS t({renamed}))"
            for sql in (self._alone(), self._filled(_WHOLE))
        )
        try:
            with self._limited():
                [(differing,)] = self._connection.execute(
                    f"SELECT count(*) FROM (({alone} EXCEPT ALL {whole})"
                    f" UNION ALL ({whole} EXCEPT ALL {alone}))"
                ).fetchall()
        except duckdb.Error as error:
            if isinstance(error, duckdb.InterruptException) and not halve_slow:
                raise SlowQueryError(n, self._seconds) from None
            raise QueryError(f"{_ALONE} As a whole it fails: {explained(error)}") from None
        if differing:
            raise QueryError(_ALONE)

    def _alone(self) -> str:
        """Return the SQL for the query's own columns, one record at a time."""
        return self._filled(_EACH, columns="q.*")

    def _filled(self, sql: str, **more: str) -> str:
        return sql.format(records=self._records, query=self._query, **more)

    def _run(self, first: int, last: int, rows: Rows, records: Records, halve_slow: bool) -> None:
        try:
            with self._limited():
                self._create(first, last)
                if self._json:
                    rows.not_json.extend(self._take_not_json())
                found: dict[str, Any] = self._connection.execute(self._each).fetchnumpy()
        except duckdb.Error as error:
            if isinstance(error, _ENGINE_FAULTS):
                self._open()
                self._register(records)
            if first == last:
                rows.failed[first] = explained(error, self._seconds)
                return
            if isinstance(error, duckdb.InterruptException) and not halve_slow:
                raise SlowQueryError(last - first + 1, self._seconds) from None
            # Those that were no JSON are found again in each half.
            rows.not_json[:] = [each for each in rows.not_json if each < first]
            middle = (first + last) // 2
            self._run(first, middle, rows, records, halve_slow)
            self._run(middle + 1, last, rows, records, halve_slow)
        else:
            rows.record.extend(found["record"].tolist())
            rows.keys.extend(map(_bytes, found["record_key"].tolist()))
            rows.values.extend(map(_bytes, found["record_value"].tolist()))

    def _take_not_json(self) -> list[int]:
        where = "WHERE has_value AND value IS NULL"
        found = self._connection.execute(
            f"DELETE FROM {self._records} {where} RETURNING record"
        ).fetchall()
        return sorted(record for (record,) in found)

    def _register(self, records: Records) -> None:
        n = len(records.values)
        self._connection.register(
            self._polled,
            {
                "record": np.arange(n, dtype=np.int32),
                # DuckDB takes the type of a column from a sample: it must not be null throughout.
                "key": np.array([each or "" for each in records.keys], object),
                "has_key": np.array([each is not None for each in records.keys], bool),
                "value": np.array([each or "" for each in records.values], object),
                "has_value": np.array([each is not None for each in records.values], bool),
                "headers": np.array(records.headers, object),
                "topic": np.array([records.topic] * n, object),
                "partition": records.partitions,
                "offset": records.offsets,
                "timestamp_ms": records.timestamps_ms,
                "is_decoded": records.is_decoded,
            },
        )

    def _create(self, first: int, last: int) -> None:
        value = (
            "TRY_CAST(CAST(value AS VARCHAR) AS JSON)" if self._json else "CAST(value AS VARCHAR)"
        )
        self._connection.execute(
            _RECORDS.format(
                records=self._records, polled=self._polled, value=value, first=first, last=last
            )
        )

    @contextmanager
    def _limited(self) -> Iterator[None]:
        timer = threading.Timer(self._seconds, self._connection.interrupt)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


_ALONE = (
    "the query does not work record by record: on a sample its rows are others when it sees one"
    " record at a time, as it will. A source cannot sum, count, number or deduplicate over several"
    " records, nor use random values; within a record it can, by unnest. To aggregate over"
    " records, export them to a file and use `livesegments replay FILE --query FILE.sql`."
)


def _repeated(records: Records, rows: Rows, event_id: str | None) -> set[int]:
    """Return records of a sample with the content or an event id of an earlier one.

    A query that groups by an order's number means each record, and would join these as a whole.
    """
    repeated: set[int] = set()
    contents: set[tuple[str | None, str | None]] = set()
    for record, content in enumerate(zip(records.keys, records.values, strict=True)):
        if content in contents:
            repeated.add(record)
        contents.add(content)
    first: dict[Any, int] = {}
    for record, value in zip(rows.record, rows.values, strict=True) if event_id else ():
        if first.setdefault(json.loads(value or b"{}").get(event_id), record) != record:
            repeated.add(record)
    return repeated


def _bytes(data: Any) -> bytes | None:
    return None if data is None else bytes(data)


def _no_records() -> Records:
    """Return one record that no query sees, which gives the columns their types."""
    return Records(
        topic="",
        keys=[""],
        values=[""],
        headers=["{}"],
        partitions=np.zeros(1, np.int32),
        offsets=np.zeros(1, np.int64),
        timestamps_ms=np.zeros(1, np.int64),
        is_decoded=np.ones(1, np.bool_),
    )
