"""Purchases and profiles from CSV, JSON Lines and Parquet files, as records ready to send.

Columns are the contract's field names; others are ignored. Files are read in chunks, so their size
does not matter. Every format is converted to rows of text cells, where an empty cell is an absent
field, and then to JSON: the same table gives the same events in each format.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from functools import partial
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from livesegments.contracts import (
    events,
    explanations,
    purchase_fast_path,
    timestamps,
    validation,
)
from livesegments.contracts.dead_letters import Rejection
from livesegments.contracts.validation import Documents, Keys, Values
from livesegments.producers.file_readers import (
    REQUIRED,
    SUFFIXES,
    FileError,
    RowError,
    Rows,
    read_rows,
)

__all__ = [
    "SUFFIXES",
    "BrokenRowError",
    "FileError",
    "FileQuery",
    "Record",
    "read_profiles",
    "read_purchases",
]

# The required columns come first.
_PURCHASE_COLUMNS = (
    *("customer_id", "occurred_at", "amount"),
    *("event_id", "kind", "currency", "items", "category", "channel"),
)
_PROFILE_COLUMNS = (
    *("customer_id", "updated_at"),
    *("age", "birth_year", "income", "location", "marketing_consent", "profiling_consent"),
)

_EVENT_IDS = uuid.UUID("5f0c1f0e-3f63-5d0b-9d0c-6b7f5f0f9f6e")
_CHUNK = 512
"""Rows that are read and validated at once."""
_FLAGS = {"true": "true", "1": "true", "false": "false", "0": "false"}

_json_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?").fullmatch
_whole_number = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?").fullmatch


class Record(NamedTuple):
    """Event as a Kafka record."""

    key: bytes
    """The customer id, in UTF-8."""
    value: bytes
    """The event as JSON; times in UTC, numbers with the decimals of the file."""
    instant: int
    """The event time, in microseconds since the epoch."""


class BrokenRowError(FileError):
    """Row that is not a valid event.

    Parameters
    ----------
    file
        The file.
    line
        Line of a text file or row of a Parquet file, from 1. A CSV header counts as a line.
    field
        The invalid field, ``row`` for the row itself.
    why
        The reason, without the value.
    """

    def __init__(self, file: Path, line: int, field: str, why: str) -> None:
        super().__init__(f"{file}, line {line}, {field}: {why}")
        self.file = file
        self.line = line
        self.field = field
        self.why = why


class FileQuery(Protocol):
    """Query that makes events of a file of any shape (`livesegments.ingest.files`)."""

    def read(
        self,
        path: Path,
        into: Literal["purchases", "profiles"],
        *,
        currency: str = "",
        timezone: tzinfo | None = None,
        on_broken: Callable[[BrokenRowError], None] | None = None,
    ) -> Iterator[Record]:
        """Yield the events of a file; see `read_purchases`."""


def read_purchases(
    path: Path,
    *,
    currency: str,
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
    query: FileQuery | None = None,
) -> Iterator[Record]:
    """Read the purchases of a file, in file order, or as a query returns them.

    By default, ``kind`` is ``purchase``, ``currency`` is the parameter, and ``event_id`` is a
    UUIDv5 of the file's name, the line and the row's customer, time, amount and kind: reading the
    same file again gives the same ids, a file with another name does not.

    Parameters
    ----------
    path
        A file with one of `SUFFIXES`.
    currency
        Default currency of the purchases.
    timezone
        Time zone of times without an offset; if not given, such a time is an error.
    on_broken
        Called with each broken row, which is then skipped; if not given, the error is raised.
    query
        Makes purchases of a file of another shape.

    Raises
    ------
    FileError
        If the file is missing, of an unknown type, damaged, or lacks a required column.
    BrokenRowError
        If a row violates the contract of purchases and ``on_broken`` is not given.
    """
    if query is not None:
        return query.read(
            path, "purchases", currency=currency, timezone=timezone, on_broken=on_broken
        )
    # A name may contain any bytes, which Python decodes as lone surrogates.
    name = path.name.encode(errors="backslashreplace").decode()

    def value(cells: Sequence[str], line: int, time: str) -> str:
        customer_id, occurred_at, amount, event_id, kind, own_currency, items, *labels = cells
        if not event_id:
            row = f"{name}:{line}:{customer_id}:{occurred_at}:{amount}:{kind}"
            event_id = str(uuid.uuid5(_EVENT_IDS, row))
        text = (
            f'{{"event_id":{quoted(event_id)},"customer_id":{quoted(customer_id)}'
            f',"occurred_at":"{time}","kind":{quoted(kind or "purchase")}'
            f',"amount":{_number("amount", amount)},"currency":{quoted(own_currency or currency)}'
        )
        if (number := _whole_number(items)) is not None:
            text += f',"items":{number[1]}'
        for label, cell in zip(("category", "channel"), labels, strict=True):
            if cell:
                text += f',"{label}":{quoted(cell)}'
        return text + "}"

    validate = purchase_fast_path.validate
    return _records(path, _PURCHASE_COLUMNS, value, validate, timezone, on_broken)


def read_profiles(
    path: Path,
    *,
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
    query: FileQuery | None = None,
) -> Iterator[Record]:
    """Read the customer profiles of a file, in file order; see `read_purchases`.

    Consent is in the columns ``marketing_consent`` and ``profiling_consent`` (true, false, 1, 0),
    or nested as in the contract if the format supports nesting.
    """
    if query is not None:
        return query.read(path, "profiles", timezone=timezone, on_broken=on_broken)

    def value(cells: Sequence[str], _line: int, time: str) -> str:
        customer_id, _, age, birth_year, income, location, marketing, profiling = cells
        text = f'{{"customer_id":{quoted(customer_id)},"updated_at":"{time}"'
        if age:
            text += f',"age":{_number("age", age)}'
        if birth_year:
            text += f',"birth_year":{_whole("birth_year", birth_year)}'
        if income:
            text += f',"income":{_number("income", income)}'
        if location:
            text += f',"location":{quoted(location)}'
        consent = []
        if marketing:
            consent.append(f'"marketing":{_flag("marketing_consent", marketing)}')
        if profiling:
            consent.append(f'"profiling":{_flag("profiling_consent", profiling)}')
        if consent:
            text += f',"consent":{{{",".join(consent)}}}'
        return text + "}"

    validate = partial(validation.validate, events.CUSTOMER_PROFILE)
    return _records(path, _PROFILE_COLUMNS, value, validate, timezone, on_broken)


def _records(
    path: Path,
    columns: Sequence[str],
    value: Callable[[Sequence[str], int, str], str],
    validate: Callable[[Keys, Values], tuple[Documents, list[Rejection]]],
    timezone: tzinfo | None,
    on_broken: Callable[[BrokenRowError], None] | None,
) -> Iterator[Record]:
    for rows in _chunks(read_rows(path, columns)):
        instants, times = _times([cells for _, cells in rows], timezone)
        found: list[Record | RowError] = [
            _record(columns, cells, line, instant, time, value, timezone)
            for (line, cells), instant, time in zip(rows, instants, times, strict=True)
        ]
        # Validate exactly the bytes that are sent.
        sound = [row for row, each in enumerate(found) if isinstance(each, Record)]
        records = [each for each in found if isinstance(each, Record)]
        _, rejections = validate([r.key for r in records], [r.value for r in records])
        for rejection in rejections:
            field, _, why = rejection.message.partition(": ")
            found[sound[rejection.row]] = RowError(field, why)
        for (line, _), each in zip(rows, found, strict=True):
            if isinstance(each, Record):
                yield each
                continue
            broken = BrokenRowError(path, line, each.field, each.why)
            if on_broken is None:
                raise broken
            on_broken(broken)


def _chunks(rows: Rows) -> Iterator[list[tuple[int, Sequence[str] | RowError]]]:
    """Yield lists of rows, also those before an error of the whole file."""
    chunk: list[tuple[int, Sequence[str] | RowError]] = []
    try:
        for row in rows:
            chunk.append(row)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except FileError:
        yield chunk
        raise
    yield chunk


def _times(
    rows: Sequence[Sequence[str] | RowError], timezone: tzinfo | None
) -> tuple[list[int], list[str]]:
    """Read the second cell of each row, the time: in microseconds and as text in UTC."""
    texts = ["" if isinstance(cells, RowError) else cells[1] for cells in rows]
    micros = timestamps.microseconds(texts, timezone)
    utc = timestamps.rfc3339(micros)
    return micros.tolist(), [text.replace(".000000Z", "Z") for text in utc]


def _record(
    columns: Sequence[str],
    cells: Sequence[str] | RowError,
    line: int,
    instant: int,
    time: str,
    value: Callable[[Sequence[str], int, str], str],
    timezone: tzinfo | None,
) -> Record | RowError:
    if isinstance(cells, RowError):
        return cells
    required = len(REQUIRED.intersection(columns))
    if "" in cells[:required]:
        return RowError(columns[cells.index("")], "is missing")
    if instant == timestamps.NOT_A_TIME:
        return RowError(columns[1], _explain(cells[1], timezone))
    try:
        return Record(cells[0].encode(), value(cells, line, time).encode(), instant)
    except RowError as error:
        return error
    except UnicodeEncodeError:
        field = next(c for c, cell in zip(columns, cells, strict=True) if not _is_unicode(cell))
        return RowError(field, "is not UTF-8")


def _explain(text: str, timezone: tzinfo | None) -> str:
    why = timestamps.explain(text, timezone)
    is_local = timestamps.microseconds([text], UTC)[0] != timestamps.NOT_A_TIME
    return (
        f"{why}, or name the file's time zone: --timezone UTC" if is_local and not timezone else why
    )


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _number(field: str, text: str) -> str:
    if _json_number(text) is None:
        raise RowError(field, explanations.field(field, text))
    return text


def _whole(field: str, text: str) -> str:
    found = _whole_number(text)
    if found is None:
        raise RowError(field, "is not a whole number")
    return found[1]


def _flag(field: str, text: str) -> str:
    found = _FLAGS.get(text.lower())
    if found is None:
        raise RowError(field, "is not true or false")
    return found
