"""The published schemas, applied by a third-party validator."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from livesegments.contracts import schemas
from livesegments.contracts.schemas import Message


def _is_instant(instance: object) -> bool:
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(instance, str) or re.fullmatch(shape, instance) is not None


_formats = FormatChecker(formats=["uuid"])
_formats.checks("date-time")(_is_instant)


def _pattern(
    _validator: Validator, pattern: str, instance: object, _schema: object
) -> Iterator[ValidationError]:
    # In JSON Schema's dialect `$` is the end; in Python's it may precede a final line feed.
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})


@cache
def _validator(message: Message, part: str) -> Validator:
    if part == "key":
        schema: Any = schemas.key(message)
    elif part == "headers":
        schema = schemas.headers(message) or {"maxProperties": 0}
    elif message.model:
        schema = schemas.standalone(message)
    else:
        schema = schemas.payloads()[0][message.name]
    _Validator.check_schema(schema)
    return _Validator(schema, format_checker=_formats)


def faults_of_value(message: Message, value: Any) -> list[str]:
    """Return a parsed value's violations of its message's schema."""
    return [error.message for error in _validator(message, "value").iter_errors(value)]


def faults_of_headers(message: Message, headers: dict[str, str]) -> list[str]:
    """Return the violations of headers, as text, against their message's schema."""
    return [error.message for error in _validator(message, "headers").iter_errors(headers)]


def faults_of_key(message: Message, key: str | None) -> list[str]:
    """Return a key's violations, as text, of its message's schema."""
    return [error.message for error in _validator(message, "key").iter_errors(key)]
