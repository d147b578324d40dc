"""Avro values that no JSON can be made of."""

import json

import pytest

from livesegments.ingest.avro import AvroDecoder
from livesegments.ingest.decoding import UndecodableError
from livesegments.ingest.definitions import RegistryConnection
from livesegments.ingest.registry import Schema, SchemaRegistry

CHAIN = {"type": "record", "name": "link", "fields": [{"name": "next", "type": ["null", "link"]}]}


def test_a_value_that_is_nested_too_deep_is_undecodable() -> None:
    registry = SchemaRegistry(RegistryConnection(url="http://127.0.0.1"))
    registry._schemas[1] = Schema(json.dumps(CHAIN), "AVRO", ())
    decode = AvroDecoder(registry)
    assert decode(b"\0\0\0\0\1\2\0") == '{"next":{"next":null}}'
    with pytest.raises(UndecodableError, match="RecursionError"):
        decode(b"\0\0\0\0\1" + b"\2" * 3_000 + b"\0")
