"""Events of files: the rows of a query become purchases or profiles, ready to send.

`source` is the file as DuckDB reads it: the columns of a text file as text, the documents of a JSON
file as ``value``, the columns of a Parquet file as they are; and ``row``, the number of each. A
query sees the whole file: it may sum, sort and join. DuckDB uses a bounded memory, and beyond it a
temporary folder. A file of the contract's shape needs no query.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, tzinfo
from json import dumps, loads
from pathlib import Path
from typing import Literal, TypeAlias

import duckdb
import numpy as np
from numpy.typing import NDArray

from livesegments.contracts import events, partial_profiles, timestamps, validation
from livesegments.contracts.dead_letters import Reason, Rejection
from livesegments.contracts.validation import Document, Documents, RefusedError
from livesegments.ingest.columns import CONTRACTS, ColumnError, select_list, without_semicolon
from livesegments.ingest.contract_files import DOCUMENT, contract_query
from livesegments.ingest.file_formats import (
    BADLY_QUOTED,
    FileError,
    FileOptions,
    explained,
    literal,
    readable,
    rejects,
    view,
)
from livesegments.ingest.line_numbers import LineNumbers
from livesegments.ingest.sandbox import ISOLATED, columns_of, query_line
from livesegments.producers.delivery_tracker import Record

MEMORY_MB = 1_024
BATCH_ROWS = 2_048

Input: TypeAlias = Literal["purchases", "profiles"]

_TIMES = {"purchases": "occurred_at", "profiles": "updated_at"}


class BrokenRowError(FileError):
    """Row that is not a valid event: its file, line, field, and the reason without the value.

    The line is that of a text file, from 1, or the row of another file or of a query; the field is
    ``row`` for the row itself.
    """

    def __init__(self, file: Path, line: int, field: str, why: str, unit: str = "line") -> None:
        super().__init__(f"{file}, {unit} {line}, {field}: {why}")
        self.file = file
        self.line = line
        self.field = field
        self.why = why


def read_events(
    path: Path,
    into: Input,
    options: FileOptions | None = None,
    *,
    currency: str = "USD",
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
) -> Iterator[Record]:
    """Yield the events of a file, in its order or that of the query.

    By default, ``kind`` is ``purchase``, ``currency`` is the parameter, and ``event_id`` is a
    UUIDv5 of the file's name, the row's number and its customer, time, amount and kind: reading the
    same file again gives the same ids, a file with another name does not.

    Parameters
    ----------
    path
        CSV, tab-separated, JSON Lines, JSON, Parquet or Excel; also compressed with gzip or zstd.
    into
        The input that the rows belong to.
    options
        A query, its lookup tables, and how to read the file.
    currency
        Of purchases without one of their own.
    timezone
        Of times without an offset; if not given, such a time is an error.
    on_broken
        Called with each broken row, which is then skipped; if not given, the error is raised.

    Raises
    ------
    FileError
        If a file cannot be read or lacks a required column, or if the query fails or does not
        return what its input needs.
    BrokenRowError
        If the contract refuses a row and ``on_broken`` is not given.
    MissingExtraError
        If the file is Excel and openpyxl is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        reader = _Reader(path, into, options or FileOptions(), timezone, on_broken)
        with closing(reader.open(Path(folder))) as connection:
            yield from reader.events(connection, currency)


class _Reader:
    """Reader of one file, for one pass."""

    def __init__(
        self,
        path: Path,
        into: Input,
        options: FileOptions,
        timezone: tzinfo | None,
        on_broken: Callable[[BrokenRowError], None] | None,
    ) -> None:
        self._path, self._into, self._options, self._timezone = path, into, options, timezone
        self._on_broken = on_broken
        # A name may contain any bytes, which Python decodes as lone surrogates.
        self._name = path.name.encode(errors="backslashreplace").decode()
        self._files: dict[Path, Path] = {}
        """What DuckDB reads -> the file that was named."""
        self._lines: LineNumbers | None = None
        self._tells_rows = False
        self._has_documents = False

    def open(self, folder: Path) -> duckdb.DuckDBPyConnection:
        """Return a connection that reaches the files and a temporary folder only."""
        connection = duckdb.connect(
            config={
                # With one thread, the rows of a file keep their order.
                "threads": 1,
                "memory_limit": f"{MEMORY_MB}MB",
                "temp_directory": str(folder),
                **ISOLATED,
            }
        )
        connection.execute(f"SET TimeZone = {literal(str(self._timezone or 'UTC'))}")
        skip = self._on_broken is not None
        for name, file in {"source": self._path, **self._options.tables}.items():
            if not file.is_file():
                why = "is a folder or a pipe; name a file" if file.exists() else "no such file"
                raise FileError(f"{file}: {why}")
            is_source = name == "source"
            options = self._options if is_source else FileOptions()
            local = readable(file, folder / name, options.encoding)
            self._files[local] = file
            try:
                sql, text = view(local, options, skip=skip and is_source)
                connection.execute(f"CREATE VIEW {name} AS {sql}")
            except (FileError, duckdb.Error) as error:
                raise self._explained(error) from None
            if is_source and text is not None:
                self._lines = LineNumbers(local, text)
        allowed = ", ".join(literal(str(each)) for each in self._files)
        connection.execute(f"SET allowed_paths = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection

    def events(self, connection: duckdb.DuckDBPyConnection, currency: str) -> Iterator[Record]:
        """Yield the events; report the rows that DuckDB has skipped last."""
        try:
            result = connection.execute(self._query(connection, currency))
            while rows := result.fetchmany(BATCH_ROWS):
                numbers, keys, values = zip(*rows, strict=True)
                yield from self._valid(numbers, keys, values)
        except ColumnError as error:
            raise FileError(f"{self._path}: {error}") from None
        except duckdb.Error as error:
            raise self._explained(error) from None
        if self._lines is not None:
            self._report_rejects(connection, self._lines)

    def _report_rejects(self, connection: duckdb.DuckDBPyConnection, lines: LineNumbers) -> None:
        for record, why in rejects(connection) if self._on_broken is not None else ():
            broken = BrokenRowError(self._path, lines.of_record(record), "row", why)
            if why == BADLY_QUOTED and lines.ends_with(record):
                raise broken  # the quote is open, and what follows it is lost
            self._refuse(broken)

    def _query(self, connection: duckdb.DuckDBPyConnection, currency: str) -> str:
        sql = without_semicolon(self._options.sql)
        if sql:
            connection.extract_statements(self._options.sql)  # its errors name its own lines
        else:
            columns = columns_of(connection, "FROM source")
            self._has_documents = columns == DOCUMENT
            sql = contract_query(columns, self._into, self._options, currency, self._name)
        columns = columns_of(connection, f"FROM ({sql}\n)")
        fields = [each for each in columns if each[0] != "row"]
        selected = select_list(
            fields,
            self._into,
            currency,
            record_id=f"{literal(self._name)} || '-' || nth",
            has_timezone=self._timezone is not None,
            without_nulls=True,
        )
        self._tells_rows = len(fields) < len(columns)
        row = '"row"' if self._tells_rows else "nth"
        return (
            f"SELECT {row}, {selected} FROM (SELECT *, row_number() OVER () AS nth FROM ({sql}\n))"
        )

    def _valid(
        self, numbers: Sequence[int], keys: Sequence[bytes | None], values: Sequence[bytes | None]
    ) -> Iterator[Record]:
        field = _TIMES[self._into]
        if self._timezone is not None:
            values = _in_utc(values, field, self._timezone)
        instants, refused = _validated(self._into, field, keys, values)
        faults = {each.row: each.message for each in refused}
        consents = self._consents(keys, values, refused)
        for row, (number, key, value) in enumerate(zip(numbers, keys, values, strict=True)):
            if key is not None and row in instants:
                yield Record(key, value, instants[row])
                continue
            name, why = self._fault(key, value, faults.get(row, ""))
            is_row = self._tells_rows and isinstance(number, int)
            line = self._lines.of_row(number) if self._lines and is_row else number
            told = why + partial_profiles.CONSENT_COUNTS if row in consents else why
            unit = "line" if self._tells_rows else "row of the query"
            self._refuse(BrokenRowError(self._path, line, name, told, unit))
            if key is not None and row in consents:
                yield Record(key, dumps(consents[row]).encode(), 0)

    def _consents(
        self, keys: Sequence[bytes | None], values: Sequence[bytes | None], refused: list[Rejection]
    ) -> dict[int, Document]:
        """Return what can be read of refused profiles with a consent, by row, as a worker does."""
        if self._into != "profiles" or self._on_broken is None:
            return {}
        # Where both consents are required, the worker decides.
        partial, _ = partial_profiles.read(keys, values, refused, consent_required=False)
        return dict(zip(partial.row.tolist(), partial.documents, strict=True))

    def _fault(self, key: bytes | None, value: bytes | None, message: str) -> tuple[str, str]:
        """Return the field that is at fault, and why."""
        if key is None:
            required = CONTRACTS[self._into].required
            if self._has_documents and not loads(value or b"{}").keys() & {*required}:
                return "row", f"is not a JSON object with {', '.join(required)}"
            return "customer_id", "is missing"
        name, _, why = message.partition(": ")
        text = loads(value or b"{}").get(name, "")
        if name != _TIMES[self._into] or value is None:
            return name, self._about_number(text, why)
        if not isinstance(text, str) or not text:
            return name, "is missing"
        why = timestamps.explain(text, self._timezone)
        if self._timezone is None and _is_local(text):
            why += ", or name the file's time zone: --timezone UTC"
        if "is not a time like" in why and not self._options.sql:
            why += ", or name the file's format: --date-format '%d/%m/%Y %H:%M'"
        return name, why

    def _about_number(self, text: object, why: str) -> str:
        """Add the remedy that a file has for a number with other separators."""
        if not isinstance(text, str) or "," not in text:
            return why
        if self._options.decimal == ",":
            return "has points for thousands; leave them out, or read the file by a query"
        of_decimals = re.fullmatch(r"-?\d+,\d{1,2}", text)
        return f"{why}, or name the file's decimal separator: --decimal ," if of_decimals else why

    def _refuse(self, broken: BrokenRowError) -> None:
        if self._on_broken is None:
            raise broken
        self._on_broken(broken)

    def _explained(self, error: Exception) -> FileError:
        """Return the error of a file: a row that is broken, or the file as a whole."""
        text = str(error)
        for local, file in self._files.items():
            text = text.replace(str(local), str(file))
        where = re.match(r".*CSV Error on Line: (\d+)", text)
        if where is not None:
            file = next(
                (each for each in self._files.values() if f"file = {each}\n" in text), self._path
            )
            line = int(where[1])
            if file == self._path and self._lines is not None:
                line = self._lines.of_record(line)
            return BrokenRowError(file, line, "row", explained(text))
        if isinstance(error, FileError):
            return FileError(text)
        what = "the query fails: " if self._options.sql and self._files else ""
        place = query_line(error) if isinstance(error, duckdb.Error) else ""
        first, *rest = text.splitlines()
        names = next((f" {each}" for each in rest if each.startswith("Candidate bindings")), "")
        return FileError(f"{self._path}: {what}{first.strip()}{names}{place}")


def _validated(
    into: Input, field: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]
) -> tuple[dict[int, int], list[Rejection]]:
    """Return row -> time of the valid events, in microseconds, and the rejections of the others."""
    # Times are compared with no clock: a file is history.
    if into == "purchases":
        valid, refused = validation.validate_purchases(keys, values)
        return _in_calendar(valid, field, valid.occurred_at(), refused)
    profiles, refused = validation.validate(
        events.CUSTOMER_PROFILE, keys, values, read_null=_deleted
    )
    micros = timestamps.microseconds(profiles.column(field))
    return _in_calendar(profiles, field, micros, refused)


def _in_calendar(
    valid: Documents, field: str, micros: NDArray[np.int64], refused: list[Rejection]
) -> tuple[dict[int, int], list[Rejection]]:
    valid, kept, others = valid.sift([validation.no_such_date(field, micros)])
    return dict(zip(valid.row.tolist(), micros[kept].tolist(), strict=True)), refused + others


def _deleted(key: bytes | None) -> Document:
    if key is None:
        raise RefusedError(Reason.KEY_MISMATCH, "")
    return {"customer_id": key.decode(), "updated_at": "1970-01-01T00:00:00Z"}


def _in_utc(values: Sequence[bytes | None], field: str, timezone: tzinfo) -> list[bytes | None]:
    """Write times in UTC, of which those without an offset are of a time zone."""
    # No string within JSON holds these quotes unescaped.
    pattern = re.compile(rb'(?<="%s":")[^"\\]*' % field.encode())
    found = [pattern.search(value or b"") for value in values]
    micros = timestamps.microseconds([each[0].decode() if each else "" for each in found], timezone)
    known = (micros != timestamps.NOT_A_TIME).tolist()
    texts = timestamps.rfc3339(micros)
    return [
        value[: at.start()] + text.encode() + value[at.end() :]
        if value is not None and at is not None and is_known
        else value
        for value, at, text, is_known in zip(values, found, texts, known, strict=True)
    ]


def _is_local(text: str) -> bool:
    return bool(timestamps.microseconds([text], UTC)[0] != timestamps.NOT_A_TIME)
