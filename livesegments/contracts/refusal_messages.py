"""Sentences for people: why a record is refused, and what to send instead.

Each begins with the name of a field, or with key or value. None holds a value of the record: dead
letters and logs of refusals are read by more people than the data.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from livesegments.contracts import timestamps
from livesegments.contracts.dead_letters import Reason

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FLOAT_ID = re.compile(r"[+-]?[0-9]+(\.0+|(\.[0-9]+)?[eE]\+[0-9]+)").fullmatch
"""An id that a program took for a number: ``15001.0`` or, with digits lost, ``1.5E+16``."""

_MOST_FAULTS = 5
_LACKS = 3
"""Missing fields from which a record is of another shape altogether."""

_INSTANT = f'a time with an offset, like "{timestamps.EXAMPLE}"'
_EXPECTED = {
    "event_id": 'text that no other purchase has, like "order-1001-1"',
    "customer_id": 'the id of a customer as text, like "42"',
    "request_id": 'text that no other request has, like "r-1"',
    "occurred_at": _INSTANT,
    "updated_at": _INSTANT,
    "requested_at": _INSTANT,
    "kind": '"purchase" or "refund"; a return or a cancellation is a refund',
    "amount": 'a number from 0 to 10,000,000,000 with a point for decimals, like 54.66 or "54.66"',
    "currency": 'the three letters of ISO 4217, like "USD"',
    "category": 'text of at most 128 characters, like "bread"',
    "age": "a number of years from 0 to 130, like 37",
    "birth_year": "a year from 1850 to 2200 as a whole number, like 1988",
    "income": "a number above 0 and at most 1e12, like 52000; leave it out if it is not known",
    "location": '"urban", "suburban" or "rural"; leave it out if it is not known',
    "consent": 'an object like {"marketing": true, "profiling": false}',
    "consent.marketing": "true or false, without quotes",
    "consent.profiling": "true or false, without quotes",
    "action": '"erase", "suppress" or "restore"',
}
_NULL_TEXTS = {b"null", b'"null"', b"none", b"nil", b"undefined", b'""', b"{}"}


def explain(error: ValidationError, value: bytes, *, deletes: bool) -> tuple[Reason, str]:
    """Give reason and message of a failed validation.

    Parameters
    ----------
    error
        What pydantic says.
    value
        The record's value.
    deletes
        Whether a null value would delete the customer of the key.
    """
    faults = error.errors(include_url=False, include_context=False)
    is_json = faults[0]["type"] != "json_invalid"
    reason = Reason.SCHEMA_INVALID if is_json else Reason.NOT_JSON
    known = _recognise(value, deletes=deletes)
    if known is not None:
        return reason, f"value: {known}"
    if not is_json:
        why = faults[0]["msg"].removeprefix("Invalid JSON: ")
        return reason, f"value: is not JSON ({why}); send one JSON object in UTF-8"
    if not faults[0]["loc"]:
        return reason, "value: is not a JSON object; send one, with the fields of the contract"
    missing = [str(fault["loc"][0]) for fault in faults if fault["type"] == "missing"]
    if len(missing) >= _LACKS:
        lacks = ", ".join(missing)
        return reason, (
            f"value: lacks {lacks}; send an object with these fields, or let `livesegments ingest`"
            " make it of what other systems send"
        )
    told: dict[str, str] = {}
    for fault in faults:
        path, why = _fault(fault["loc"], fault["type"], fault["input"])
        told.setdefault(path, why)
    return reason, "; ".join(f"{path}: {why}" for path, why in [*told.items()][:_MOST_FAULTS])


def key(found: bytes | None) -> str:
    """Say why a key is not the customer's id."""
    ask = "send the customer_id in UTF-8 as the key of the record"
    if found is None:
        return f"key: is null; {ask}"
    if (schema := _registry_schema(found)) is not None:
        return f"key: starts with a Schema Registry prefix (schema id {schema}); {ask}, like 42"
    if len(found) in (4, 8) and 0 in found:
        return f"key: is a binary number of {len(found)} bytes; {ask}, like the text 42"
    try:
        document = from_json(found)
    except ValueError:
        document = None
    if isinstance(document, dict) and {"schema", "payload"} <= document.keys():
        return f"key: is a Kafka Connect envelope; {ask} (StringConverter)"
    if isinstance(document, dict):
        return f"key: is a JSON object; {ask}, without braces and names, like 42"
    if isinstance(document, str):
        return f"key: is a JSON string; {ask}, without quotes, like 42"
    return f"key: is not the customer_id of the value in UTF-8; {ask}"


def field(name: str, found: Any) -> str:
    """Say why the value of a field is not accepted, to follow the field's name."""
    must = f"must be {_EXPECTED[name]}"
    if found is None:
        return f"is null; it {must}"
    return _SPECIAL.get(name, lambda _: None)(found) or must


def _recognise(value: bytes, *, deletes: bool) -> str | None:
    """Name a value that is no event but is often sent instead of one."""
    text = value.removeprefix(BYTE_ORDER_MARK).strip()
    if (schema := _registry_schema(value)) is not None:
        return (
            f"starts with a Schema Registry prefix (magic byte 0, schema id {schema}); the topic"
            " takes plain JSON: write it without a registry, or let `livesegments ingest` read it"
        )
    if not text or (deletes and text.lower() in _NULL_TEXTS):
        what = "is empty" if not text else "is text that stands for nothing"
        ask = "to delete the profile send a null value, which has no bytes at all (a tombstone)"
        return f"{what}; {ask if deletes else 'send a JSON object'}"
    if value[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is text in UTF-16; send JSON in UTF-8"
    if value[:2] == b"\x1f\x8b":
        return "is compressed with gzip; send JSON and let the producer compress (compression.type)"
    if text[:2] == b"{'":
        return "is a dict as Python prints it; encode it with json.dumps"
    try:
        document = from_json(text)
    except ValueError:
        return None
    if isinstance(document, str):
        return "is JSON in a JSON string; encode it once, not twice"
    if isinstance(document, list):
        return "is a list; send a record for each event"
    return _envelope(document) if isinstance(document, dict) else None


def _envelope(document: Mapping[str, Any]) -> str | None:
    payload = document.get("payload")
    inner = payload if "schema" in document and isinstance(payload, dict) else document
    if "op" in inner and ("after" in inner or "before" in inner):
        return (
            "is a change event of Debezium; unwrap it (transform ExtractNewRecordState) and send"
            " the fields of the contract, or let `livesegments ingest` read it"
        )
    if "schema" in document and "payload" in document:
        return (
            "is a Kafka Connect envelope (schema and payload); send what is in payload alone:"
            " value.converter.schemas.enable=false"
        )
    if "specversion" in document and "data" in document:
        return "is a CloudEvent in structured mode; send what is in data alone"
    return None


def _registry_schema(data: bytes) -> int | None:
    is_framed = len(data) > 8 and data[0] == 0
    return int.from_bytes(data[1:5]) if is_framed else None


def _fault(loc: tuple[int | str, ...], kind: str, found: Any) -> tuple[str, str]:
    """Return the field of a fault, as in ``consent.marketing``, and the sentence about it."""
    path = str(loc[0])
    if path == "consent" and kind == "extra_forbidden":
        return path, "has a field other than marketing and profiling; is one of them misspelt?"
    if path == "consent" and len(loc) > 1 and f"consent.{loc[1]}" in _EXPECTED:
        path = f"consent.{loc[1]}"
    if kind == "missing":
        return path, f"is missing; it must be {_EXPECTED[path]}"
    return path, field(path, found)


def _identifier(found: Any) -> str | None:
    if isinstance(found, float):
        return 'is a number with a fraction; send the id as text, like "15001"'
    if not isinstance(found, str):
        return None
    if not found:
        return "is empty"
    if found != found.strip():
        return "begins or ends with a blank; send it without"
    if FLOAT_ID(found):
        return (
            "is a number with a fraction or an exponent, which programs make of ids in a column"
            ' with empty cells; write ids as text, like "15001" (pandas: dtype "string")'
        )
    if len(found) > 128:
        return "has more than 128 characters"
    return "has a control character, such as a line feed"


def _amount(found: Any) -> str | None:
    is_text = isinstance(found, str)
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if (number and found < 0) or (
        is_text and re.fullmatch(r"[-\u2212][0-9.,]+|\([0-9.,]+\)", found)
    ):
        return 'is negative; send the amount without a sign, and kind "refund" if money went back'
    if is_text and "," in found:
        return 'has a comma; send a point for decimals and nothing for thousands, like "1234.50"'
    return None


def _instant(found: Any) -> str | None:
    if isinstance(found, str):
        return timestamps.explain(found)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return timestamps.number()
    if isinstance(found, list):
        return (
            f'is a list of numbers, as Jackson writes times; send text, like "{timestamps.EXAMPLE}"'
        )
    return None


_SPECIAL: dict[str, Callable[[Any], str | None]] = {
    **dict.fromkeys(("event_id", "customer_id", "request_id"), _identifier),
    **dict.fromkeys(("occurred_at", "updated_at", "requested_at"), _instant),
    "amount": _amount,
}
