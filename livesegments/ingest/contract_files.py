"""The query of a file of the contract's shape: its fields by name, whatever their types.

Columns are the contract's field names; others are ignored. An empty cell is an absent field. Text
becomes what its field is, if it is written as JSON writes it; other text stays as it is, for the
contract to refuse.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from livesegments.ingest.columns import CONTRACTS, Column, ColumnError, quoted
from livesegments.ingest.file_formats import FileOptions, literal

UNKNOWN_CONSENT = "is no consent; those are marketing and profiling. Is one of them misspelt?"

_CONSENTS = ("marketing_consent", "profiling_consent")
_NESTED = {"consent.marketing": "marketing_consent", "consent.profiling": "profiling_consent"}
_TIMES = ("occurred_at", "updated_at")
_NUMBERS = ("amount", "age", "income")
_WHOLE = ("items", "birth_year")
DOCUMENT = [("row", "BIGINT"), ("value", "JSON")]

_NUMBER_PATTERN = r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?"
_WHOLE_PATTERN = r"(-?(?:0|[1-9]\d*))(?:\.0+)?"
_NAMESPACE = "5f0c1f0e3f635d0b9d0c6b7f5f0f9f6e"
"""Of the UUIDs that are made for rows without an event id."""


def contract_query(
    columns: Sequence[Column],
    into: Literal["purchases", "profiles"],
    options: FileOptions,
    currency: str,
    file_name: str,
) -> str:
    """Return the SQL that picks the fields of an input from the columns of `source`.

    ``currency`` is that of purchases without their own, ``file_name`` a part of the event ids that
    are made.

    Raises `ColumnError` if a required column is missing, or one is there twice or names no consent
    that there is.
    """
    fields = [*CONTRACTS[into].fields, *(_CONSENTS if into == "profiles" else ())]
    is_document = list(columns) == DOCUMENT
    if is_document:
        cells = {name: _cell_of_document(name) for name in fields}
    else:
        cells = _cells(columns, fields, CONTRACTS[into].required)
    if options.date_format:
        cells |= {
            each: _parsed(cells[each], options.date_format) for each in _TIMES if each in cells
        }
    if options.decimal == ",":
        for each in _NUMBERS:
            if each in cells:
                # A point separates thousands then, and is refused as a comma otherwise is.
                cells[each] = f"translate({cells[each]}, ',.', '.,')"
    inner = ", ".join(f"{cell} AS {name}" for name, cell in cells.items())
    written = {name: _written(name) for name in cells}
    if into == "purchases":
        made = _event_id(file_name, cells, is_document=is_document)
        defaults = {"event_id": made, "kind": "'purchase'", "currency": literal(currency)}
        for name, value in defaults.items():
            default = f"to_json({value})" if is_document else value
            written[name] = f"coalesce({name}, {default})" if name in cells else default
    if is_document and into == "profiles":
        flat = [written.pop(each) for each in _CONSENTS]
        written["consent"] = (
            f"coalesce(nullif(consent, 'null'), CASE WHEN coalesce({', '.join(_CONSENTS)}) IS NOT"
            f" NULL THEN json_object('marketing', {flat[0]}, 'profiling', {flat[1]}) END)"
        )
    outer = ", ".join(f"{value} AS {name}" for name, value in written.items())
    return f'SELECT "row", {outer} FROM (SELECT "row", {inner} FROM source)'


def _cell_of_document(name: str) -> str:
    path = literal(f"$.{name}")
    if name in (*_TIMES, *_NUMBERS, *_WHOLE, *_CONSENTS):
        return f"nullif(value->>{path}, '')"
    return f"nullif(value->{path}, '\"\"')"


def _cells(
    columns: Iterable[Column], fields: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    named = {_NESTED.get(name, name): (name, kind) for name, kind in columns}
    repeated = [each for each in fields if f"{each}_1" in named]
    if repeated:
        raise ColumnError(f"more than one column {', '.join(repeated)}")
    missing = [each for each in required if each not in named]
    if missing:
        found = ", ".join(name for name in named if name != "row") or "none"
        raise ColumnError(
            f"no column {', '.join(missing)}; the columns are {found}. Files of another shape are"
            " read by a query: --query FILE.sql"
        )
    if "consent" in fields:
        for name, (own, _) in named.items():
            is_consent = name.startswith("consent.") or name.endswith("_consent")
            if is_consent and name not in _CONSENTS:
                raise ColumnError(f"column {own}: {UNKNOWN_CONSENT}")
    return {each: _cell(*named[each]) for each in fields if each in named}


def _cell(name: str, kind: str) -> str:
    column = quoted(name)
    if kind == "TIMESTAMP WITH TIME ZONE" or (name == "consent" and kind.startswith("STRUCT")):
        return column
    if name == "consent":
        raise ColumnError(f"column consent must be two: {' and '.join(_CONSENTS)}")
    if kind == "VARCHAR":
        return f"nullif({column}, '')"
    if kind.startswith(("STRUCT", "MAP", "UNION")) or kind.endswith("]"):
        raise ColumnError(f"column {name} has type {kind}, not a single value")
    if kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isnan({column}) THEN NULL ELSE CAST({column} AS VARCHAR) END"
    return f"CAST({column} AS VARCHAR)"


def _written(name: str) -> str:
    """Return a field as its type, or as the text that it is."""
    if name in _NUMBERS:
        is_number = f"regexp_full_match({name}, '{_NUMBER_PATTERN}')"
        return (
            f"CASE WHEN {is_number} THEN CAST({name} AS JSON)"
            f" WHEN {name} <> 'NaN' THEN to_json({name}) END"
        )
    if name in _WHOLE:
        whole = f"regexp_extract({name}, '^{_WHOLE_PATTERN}$', 1)"
        return f"coalesce(TRY_CAST(nullif({whole}, '') AS JSON), to_json({name}))"
    if name in _CONSENTS:
        return (
            f"CASE WHEN lower({name}) IN ('true', '1') THEN to_json(true)"
            f" WHEN lower({name}) IN ('false', '0') THEN to_json(false) ELSE to_json({name}) END"
        )
    return name


def _parsed(cell: str, date_format: str) -> str:
    found = f"try_strptime({cell}, {literal(date_format)})"
    form = "%Y-%m-%dT%H:%M:%S.%f"
    if "%z" in date_format or "%Z" in date_format:
        found, form = f"{found} AT TIME ZONE 'UTC'", form + "Z"
    return f"coalesce(strftime({found}, '{form}'), {cell})"


def _event_id(file_name: str, cells: Iterable[str], *, is_document: bool) -> str:
    """Return the SQL for a UUIDv5 of the file's name, the row and its fields as written."""
    customer = "customer_id->>'$'" if is_document else "customer_id"
    parts = [customer, "occurred_at", "amount", "kind" if "kind" in cells else "NULL"]
    if is_document:
        parts[3] = "kind->>'$'"
    text = ", ".join(f"coalesce(CAST({part} AS VARCHAR), '')" for part in parts)
    text = f"concat_ws(':', {literal(file_name)}, \"row\", {text})"
    digest = f"sha1(unhex('{_NAMESPACE}') || encode({text}))"
    variant = f"substr('89ab', 1 + (CAST('0x' || substr({digest}, 17, 1) AS INTEGER) & 3), 1)"
    return (
        f"concat_ws('-', substr({digest}, 1, 8), substr({digest}, 9, 4), '5' ||"
        f" substr({digest}, 14, 3), {variant} || substr({digest}, 18, 3), substr({digest}, 21, 12))"
    )
