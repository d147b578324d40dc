"""Avro values of a schema registry, as JSON."""

import json
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from livesegments.ingest.decoding import UndecodableError, split_prefix
from livesegments.ingest.registry import SchemaRegistry

_FAULTS = (
    *(EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, ArithmeticError),
    RecursionError,  # of a schema that refers to itself
)


class AvroDecoder:
    """Decoder that reads each value by the schema it was written with.

    A union is its value, bytes are base64, a decimal is a string of digits, a date and a time of
    day are ISO 8601 text, and a timestamp is one with its offset, or without for a local timestamp.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._schemas: dict[int, Any] = {}
        self._encoder = msgspec.json.Encoder(decimal_format="string", enc_hook=_plain)

    def __call__(self, data: bytes) -> str:
        """Return a value as JSON.

        Raises
        ------
        UndecodableError
            If the bytes do not fit the schema.
        """
        schema_id, rest = split_prefix(data)
        schema = self._schema(schema_id)
        stream = BytesIO(rest)
        try:
            value = fastavro.schemaless_reader(stream, schema, None)
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

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            found = self._registry.schema(schema_id)
            if found.kind != "AVRO":
                raise UndecodableError(f"is of schema {schema_id}, which is {found.kind}, not Avro")
            named: dict[str, Any] = {}
            try:
                for _, text in found.references:
                    fastavro.parse_schema(json.loads(text), named)
                self._schemas[schema_id] = fastavro.parse_schema(json.loads(found.text), named)
            except (SchemaParseException, UnknownType, ValueError) as error:
                raise UndecodableError(
                    f"is of Avro schema {schema_id}, which cannot be used: {error}"
                ) from None
        return self._schemas[schema_id]


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
