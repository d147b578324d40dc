"""Purchases and profiles from CSV, JSON Lines and Parquet files, as records ready to send.

Columns are the contract's field names; others are ignored. Files are read in chunks, so their size
does not matter. Every format is converted to rows of text cells, where an empty cell is an absent
field, and then to JSON: the same table gives the same events in each format.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from livesegments.contracts.events import CUSTOMER_PROFILE, PURCHASE
from livesegments.producers.file_readers import REQUIRED, SUFFIXES, FileError, RowError, read_rows

__all__ = [
    "SUFFIXES",
    "BrokenRowError",
    "FileError",
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
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


def read_purchases(
    path: Path,
    *,
    currency: str,
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
) -> Iterator[Record]:
    """Read the purchases of a file, in file order.

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

    Raises
    ------
    FileError
        If the file is missing, of an unknown type, damaged, or lacks a required column.
    BrokenRowError
        If a row violates the contract of purchases and ``on_broken`` is not given.
    """
    # A name may contain any bytes, which Python decodes as lone surrogates.
    name = path.name.encode(errors="backslashreplace").decode()

    def record(cells: Sequence[str], line: int) -> Record:
        customer_id, occurred_at, amount, event_id, kind, own_currency, items, *labels = cells
        instant, time = _instant("occurred_at", occurred_at, timezone)
        if not event_id:
            row = f"{name}:{line}:{customer_id}:{occurred_at}:{amount}:{kind}"
            event_id = str(uuid.uuid5(_EVENT_IDS, row))
        text = (
            f'{{"event_id":{quoted(event_id)},"customer_id":{quoted(customer_id)}'
            f',"occurred_at":"{time}","kind":{quoted(kind or "purchase")}'
            f',"amount":{_number("amount", amount)},"currency":{quoted(own_currency or currency)}'
        )
        if items:
            text += f',"items":{_whole("items", items)}'
        for label, cell in zip(("category", "channel"), labels, strict=True):
            if cell:
                text += f',"{label}":{quoted(cell)}'
        return Record(customer_id.encode(), (text + "}").encode(), instant)

    return _records(path, _PURCHASE_COLUMNS, record, PURCHASE, on_broken)


def read_profiles(
    path: Path,
    *,
    timezone: tzinfo | None = None,
    on_broken: Callable[[BrokenRowError], None] | None = None,
) -> Iterator[Record]:
    """Read the customer profiles of a file, in file order; see `read_purchases`.

    Consent is in the columns ``marketing_consent`` and ``profiling_consent`` (true, false, 1, 0),
    or nested as in the contract if the format supports nesting.
    """

    def record(cells: Sequence[str], _line: int) -> Record:
        customer_id, updated_at, age, birth_year, income, location, marketing, profiling = cells
        instant, time = _instant("updated_at", updated_at, timezone)
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
        return Record(customer_id.encode(), (text + "}").encode(), instant)

    return _records(path, _PROFILE_COLUMNS, record, CUSTOMER_PROFILE, on_broken)


def _records(
    path: Path,
    columns: Sequence[str],
    record: Callable[[Sequence[str], int], Record],
    contract: TypeAdapter[Any],
    on_broken: Callable[[BrokenRowError], None] | None,
) -> Iterator[Record]:
    required = len(REQUIRED.intersection(columns))
    for line, cells in read_rows(path, columns):
        try:
            if isinstance(cells, RowError):
                raise cells
            if "" in cells[:required]:
                raise RowError(columns[cells.index("")], "is missing")
            found = record(cells, line)
            # Validate exactly the bytes that are sent.
            contract.validate_json(found.value)
        except (RowError, UnicodeEncodeError, ValidationError) as error:
            fault = _fault(error, columns, cells)
            broken = BrokenRowError(path, line, fault.field, fault.why)
            if on_broken is None:
                raise broken from None
            on_broken(broken)
        else:
            yield found


def _fault(
    error: RowError | UnicodeEncodeError | ValidationError,
    columns: Sequence[str],
    cells: Sequence[str] | RowError,
) -> RowError:
    if isinstance(error, RowError):
        return error
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "row"
        return RowError(field, first["msg"][0].lower() + first["msg"][1:])
    assert not isinstance(cells, RowError)
    field = next(c for c, cell in zip(columns, cells, strict=True) if not _is_unicode(cell))
    return RowError(field, "is not UTF-8")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _instant(field: str, text: str, timezone: tzinfo | None) -> tuple[int, str]:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            if timezone is None:
                raise RowError(
                    field,
                    "has no UTC offset; add one (such as Z) to the file's times, or name their "
                    "time zone: --timezone UTC",
                )
            time = time.replace(tzinfo=timezone)
        time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RowError(field, "is not a time like 2026-03-01T08:30:00Z") from None
    return (time - _EPOCH) // _MICROSECOND, time.isoformat()[:-6] + "Z"


def _number(field: str, text: str) -> str:
    if _json_number(text) is None:
        raise RowError(field, "is not a plain decimal number like 54.66")
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
