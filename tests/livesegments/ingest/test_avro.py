"""Avro schemas whose values could end the process, or keep it busy for ever."""

import json
from typing import Any

import pytest

from livesegments.ingest.avro import AvroDecoder
from livesegments.ingest.definitions import RegistryConnection
from livesegments.ingest.registry import Schema, SchemaRegistry, UndecodableError

PREFIX = b"\0\0\0\0\1"


def record(name: str, **fields: Any) -> dict[str, Any]:
    """Return the schema of a record."""
    types = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": types}


def decoder(schema: Any) -> AvroDecoder:
    registry = SchemaRegistry(RegistryConnection(url="http://127.0.0.1"))
    registry._schemas[1] = Schema(json.dumps(schema), "AVRO", ())
    return AvroDecoder(registry)


@pytest.mark.parametrize(
    "schema",
    [
        record("link", next=["null", "link"]),
        record("a", next=["null", record("b", next=["null", "a"])]),
        record("first", next=["null", record("link", next=["null", "link"])]),
    ],
)
def test_a_value_that_is_nested_too_deep_is_undecodable(schema: Any) -> None:
    decode = decoder(schema)
    assert decode(PREFIX + b"\2\0") == '{"next":{"next":null}}'
    with pytest.raises(UndecodableError, match="RecursionError"):
        decode(PREFIX + b"\2" * 1_000_000 + b"\0")


EMPTY = record("empty", nothing="null")


@pytest.mark.parametrize(
    "items",
    [
        "null",
        EMPTY,
        {**EMPTY, "type": "error"},
        {"type": "fixed", "name": "f", "size": 0},
        record("twice", a=EMPTY),
    ],
)
def test_an_array_of_nothing_is_refused_whatever_its_length(items: Any) -> None:
    decode = decoder(record("r", empty=["null", {"type": "array", "items": items}]))
    with pytest.raises(UndecodableError, match="items that take no bytes"):
        decode(PREFIX + b"\2" + b"\xfe" * 9 + b"\1\0")


def test_a_record_that_is_used_twice_is_no_recursion() -> None:
    line = record("line", n="int")
    decode = decoder(record("order", first=line, rest={"type": "array", "items": "line"}))
    assert decode(PREFIX + b"\2\2\4\0") == '{"first":{"n":1},"rest":[{"n":2}]}'
    assert "_read_py" not in decode._schemas[1][1].__module__
