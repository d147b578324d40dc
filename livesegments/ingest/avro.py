"""Avro values of a schema registry, as JSON."""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from io import BytesIO
from typing import Any, TypeAlias

import fastavro
import fastavro._read_py
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from livesegments.ingest.registry import SchemaRegistry, UndecodableError, split_prefix

_FAULTS = (
    *(EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, ArithmeticError),
    RecursionError,  # of a schema that refers to itself
)

_Read: TypeAlias = Callable[[BytesIO, Any, None], Any]


class AvroDecoder:
    """Decoder that reads each value by the schema it was written with.

    A union is its value, bytes are base64, a decimal is a string of digits, a date and a time of
    day are ISO 8601 text, and a timestamp is one with its offset, or without for a local timestamp.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._schemas: dict[int, tuple[Any, _Read]] = {}
        self._encoder = msgspec.json.Encoder(decimal_format="string", enc_hook=_plain)

    def __call__(self, data: bytes) -> str:
        """Return a value as JSON; raises `UndecodableError`."""
        schema_id, rest = split_prefix(data)
        schema, read = self._schema(schema_id)
        stream = BytesIO(rest)
        try:
            value = read(stream, schema, None)
        except _FAULTS as error:
            raise UndecodableError(
                f"does not fit Avro schema {schema_id} ({type(error).__name__})"
            ) from None
        if stream.read(1):
            raise UndecodableError(f"is longer than Avro schema {schema_id} says")
        try:
            return self._encoder.encode(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise UndecodableError(f"cannot be JSON ({type(error).__name__})") from None

    def _schema(self, schema_id: int) -> tuple[Any, _Read]:
        if schema_id not in self._schemas:
            found = self._registry.schema(schema_id, "AVRO")
            named: dict[str, Any] = {}
            try:
                for _, text in found.references:
                    fastavro.parse_schema(json.loads(text), named)
                schema = fastavro.parse_schema(json.loads(found.text), named)
                self._schemas[schema_id] = schema, _reader(schema, named)
            except (SchemaParseException, UnknownType, ValueError, RecursionError) as error:
                raise UndecodableError(
                    f"is of Avro schema {schema_id}, which cannot be used: {error}"
                ) from None
        return self._schemas[schema_id]


def _reader(schema: Any, named: Mapping[str, Any]) -> _Read:
    """Return the reader of a schema's values, which no value ends or keeps busy for ever.

    Raises `ValueError` if a value of a few bytes could be of any size.
    """
    types = [part for each in (schema, *named.values()) for part in _parts(each)]
    if any(_is(each, "array") and _takes_no_bytes(each["items"], named) for each in types):
        raise ValueError("it has an array of items that take no bytes")
    references = {
        name: [part for part in _parts(each) if isinstance(part, str) and part in named]
        for name, each in named.items()
    }
    try:
        TopologicalSorter(references).prepare()
    except CycleError:
        # Its recursion in C has no limit, and would end the process.
        read: _Read = fastavro._read_py.schemaless_reader
        return read
    return fastavro.schemaless_reader


def _parts(schema: Any) -> Iterator[Any]:
    """Yield a schema, and the types and names that it is written with."""
    yield schema
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
    elif isinstance(schema, dict):
        for part in ("type", "fields", "items", "values"):
            if part in schema:
                yield from _parts(schema[part])


def _takes_no_bytes(schema: Any, named: Mapping[str, Any]) -> bool:
    if isinstance(schema, str):
        return schema == "null" or (schema in named and _takes_no_bytes(named[schema], named))
    if _is(schema, "record", "error"):
        return all(_takes_no_bytes(each["type"], named) for each in schema["fields"])
    return _is(schema, "null") or (_is(schema, "fixed") and schema["size"] == 0)


def _is(schema: Any, *kinds: str) -> bool:
    return isinstance(schema, dict) and schema.get("type") in kinds


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
