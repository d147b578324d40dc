"""The columns that a query may return for each input, and the JSON that becomes of them.

The JSON is built by DuckDB: a micro-batch's rows leave it as bytes that are ready to be validated.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

import duckdb

from livesegments.ingest.definitions import Into

Column: TypeAlias = tuple[str, str]
"""Name and DuckDB type."""

RECORD_ID = (
    "topic || '-' || \"partition\" || '-' || \"offset\""
    " || CASE WHEN nth = 1 THEN '' ELSE '-' || nth END"
)
"""Id of an event without one: its record, and which of the record's rows, if not the first."""

_DECIMALS = ("DECIMAL",)
_WHOLE: tuple[str, ...] = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)
_FLOATS = ("FLOAT", "DOUBLE")


class ColumnError(ValueError):
    """The query does not return what its input needs; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The fields of an input: how each is written, and which a query has to return."""

    fields: Mapping[str, Callable[[str, str], str]]
    required: tuple[str, ...]
    event_id: str | None
    """Field that gets the id of the source record if the query does not return it."""


def _text(name: str, kind: str) -> str:
    column = quoted(name)
    if kind != "JSON":
        return f"CAST({column} AS VARCHAR)"
    # Lists and objects stay unchanged, for the contract to refuse.
    return (
        f"CASE WHEN json_type({column}) IN ('ARRAY', 'OBJECT') THEN {column}"
        f" ELSE to_json({column}->>'$') END"
    )


def _time(name: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"strftime({quoted(name)} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    if kind in ("VARCHAR", "JSON"):
        return _text(name, kind)
    if kind.startswith("TIMESTAMP"):
        raise ColumnError(
            f"{name} is a time without a zone: write {name} AT TIME ZONE 'UTC', or its own zone"
        )
    if kind == "DATE":
        raise ColumnError(f"{name} is a date without a time: write {name} + TIME '00:00+00:00'")
    raise ColumnError(
        f"{name} is {kind}, not a time: write to_timestamp(seconds), make_timestamptz(microseconds)"
        " or strptime(text, format) AT TIME ZONE 'UTC'"
    )


def _is_local(kind: str) -> bool:
    return kind == "DATE" or (kind.startswith("TIMESTAMP") and kind != "TIMESTAMP WITH TIME ZONE")


def _amount(name: str, kind: str) -> str:
    if kind.startswith(_DECIMALS):
        # One of a type without digits before its point is written without a zero there.
        return f"regexp_replace(CAST({quoted(name)} AS VARCHAR), '^(-?)[.]', '\\10.')"
    return _as_is(name, kind, (*_WHOLE, *_FLOATS, "VARCHAR", "JSON"), "a number")


def _number(name: str, kind: str) -> str:
    if kind == "VARCHAR":
        return _or_text(name, "DOUBLE")
    return _as_is(name, kind, (*_WHOLE, *_FLOATS, *_DECIMALS, "JSON"), "a number")


def _whole(name: str, kind: str) -> str:
    column = quoted(name)
    if kind == "VARCHAR":
        return _or_text(name, "BIGINT")
    if kind.startswith((*_FLOATS, *_DECIMALS)):
        whole = f"to_json(CAST({column} AS HUGEINT))"
        return f"CASE WHEN {column} = round({column}) THEN {whole} ELSE to_json({column}) END"
    return _as_is(name, kind, (*_WHOLE, "JSON"), "a whole number")


def _flag(name: str, kind: str) -> str:
    if kind == "VARCHAR":
        return _or_text(name, "BOOLEAN")
    return _as_is(name, kind, ("BOOLEAN", "JSON"), "true or false")


def _object(name: str, kind: str) -> str:
    return _as_is(name, kind, ("STRUCT", "JSON"), "an object such as {'marketing': true}")


def _as_is(name: str, kind: str, kinds: tuple[str, ...], what: str) -> str:
    if not kind.startswith((*kinds, '"NULL"')):
        raise ColumnError(f"{name} is {kind}, not {what}")
    return quoted(name)


def _or_text(name: str, kind: str) -> str:
    """Convert text; leave what cannot be converted, so that the contract refuses it by name."""
    column = quoted(name)
    return f"coalesce(to_json(TRY_CAST({column} AS {kind})), to_json({column}))"


CONTRACTS: Mapping[Into, Contract] = {
    "purchases": Contract(
        {
            "event_id": _text,
            "customer_id": _text,
            "occurred_at": _time,
            "kind": _text,
            "amount": _amount,
            "currency": _text,
            "items": _whole,
            "category": _text,
            "channel": _text,
        },
        required=("customer_id", "occurred_at", "amount"),
        event_id="event_id",
    ),
    "profiles": Contract(
        {
            "customer_id": _text,
            "updated_at": _time,
            "age": _number,
            "birth_year": _whole,
            "income": _number,
            "location": _text,
            "consent": _object,
        },
        required=("customer_id", "updated_at"),
        event_id=None,
    ),
    "erasures": Contract(
        {"request_id": _text, "customer_id": _text, "requested_at": _time, "action": _text},
        required=("customer_id", "requested_at", "action"),
        event_id="request_id",
    ),
}

TIMES = ("occurred_at", "updated_at", "requested_at")
_PROFILE_EXTRAS = {"deleted": _flag, "marketing_consent": _flag, "profiling_consent": _flag}


def quoted(name: str) -> str:
    """Return an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def without_semicolon(sql: str) -> str:
    """Return a statement without its last semicolon and the comments after it."""
    text = sql.encode()
    end = len(text)
    for at, kind in reversed(duckdb.tokenize(sql)):
        if text[at : at + 1] == b";":
            end = at
        elif kind is not duckdb.token_type.comment:
            break
    return text[:end].decode().strip()


def select_list(
    columns: Iterable[Column],
    into: Into,
    currency: str,
    *,
    record_id: str = RECORD_ID,
    has_timezone: bool = False,
    without_nulls: bool = False,
) -> str:
    """Return the SQL that makes a record of a row of the query: its key and its value.

    Parameters
    ----------
    currency
        Of purchases without one of their own.
    record_id
        SQL for the id of an event whose query returns none.
    has_timezone
        Whether times without an offset are of a known zone, and may stay as they are.
    without_nulls
        Whether to leave out fields that are null.

    Raises
    ------
    ColumnError
        If a column is unknown, missing, given twice, or of a type that cannot be its field.
    """
    kinds = _checked(list(columns), into)
    contract = CONTRACTS[into]
    if has_timezone:
        kinds |= {name: "VARCHAR" for name in TIMES if _is_local(kinds.get(name, ""))}
    written = {
        name: write(name, kinds[name]) for name, write in contract.fields.items() if name in kinds
    }
    if contract.event_id is not None and contract.event_id not in kinds:
        written = {contract.event_id: record_id, **written}
    if into == "purchases":
        written.setdefault("kind", "'purchase'")
        written.setdefault("currency", f"'{currency}'")
    consent = [
        f"{name} := {_flag(f'{name}_consent', kinds[f'{name}_consent'])}"
        for name in ("marketing", "profiling")
        if f"{name}_consent" in kinds
    ]
    if consent:
        written["consent"] = f"struct_pack({', '.join(consent)})"
    fields = ", ".join(f"{quoted(name)} := {value}" for name, value in written.items())
    value = f"to_json(struct_pack({fields}))"
    if without_nulls:
        value = f"json_merge_patch('{{}}', {value})"
    value = f"encode(CAST({value} AS VARCHAR))"
    if "deleted" in kinds:
        _as_is(
            "deleted", kinds["deleted"], ("BOOLEAN", "JSON", "VARCHAR", *_WHOLE), "true or false"
        )
        value = f"CASE WHEN coalesce(CAST(deleted AS BOOLEAN), false) THEN NULL ELSE {value} END"
    own = "customer_id->>'$'" if kinds["customer_id"] == "JSON" else "CAST(customer_id AS VARCHAR)"
    key = f"encode({own})"
    return f"{key} AS record_key, {value} AS record_value"


def numbers_rows(columns: Iterable[Column], into: Into) -> bool:
    """Return whether an event's id is that of its record, so that its rows have to be counted."""
    event_id = CONTRACTS[into].event_id
    return event_id is not None and event_id not in {name for name, _ in columns}


def _checked(columns: list[Column], into: Into) -> dict[str, str]:
    contract = CONTRACTS[into]
    known = [*contract.fields, *(_PROFILE_EXTRAS if into == "profiles" else ())]
    kinds = dict(columns)
    if len(kinds) < len(columns):
        names = [name for name, _ in columns]
        twice = next(name for name in names if names.count(name) > 1)
        raise ColumnError(f"the query returns {twice} twice")
    for name in kinds:
        if name not in known:
            close = get_close_matches(name.lower(), known, 1)
            meant = f" ({close[0]}?)" if close else ""
            raise ColumnError(
                f"the query returns {name}{meant}, which {into} do not have: they have"
                f" {', '.join(known)}"
            )
    missing = [name for name in contract.required if name not in kinds]
    if missing:
        raise ColumnError(f"the query does not return {' and '.join(missing)}: {into} need it")
    if "consent" in kinds and {"marketing_consent", "profiling_consent"} & kinds.keys():
        raise ColumnError("the query returns consent, and a column of one consent too: choose one")
    return kinds
