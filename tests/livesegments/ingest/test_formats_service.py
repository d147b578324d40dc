"""Avro, Protobuf and JSON values of a real schema registry."""

import json
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from livesegments.ingest.decoding import Decoder
from livesegments.ingest.definitions import RegistryConnection, Source
from livesegments.ingest.query import Query
from livesegments.ingest.registry import RegistryError, SchemaRegistry
from tests.livesegments.ingest.records import records
from tests.servers import RegistryServer

pytestmark = pytest.mark.servers

ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "total",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
        },
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "raw", "type": "bytes"},
    ],
}
VALUE = {
    "id": "o-1",
    "at": datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
    "total": Decimal("54.66"),
    "day": date(2026, 3, 1),
    "raw": b"\x00\xff",
}
PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "common.proto";
message Unused { string x = 1; }
message Order {
  string id = 1;
  google.protobuf.Timestamp at = 2;
  repeated shop.common.Line lines = 3;
  double total = 4;
  int64 cents = 5;
  message Inner { string note = 1; }
}
"""
COMMON = 'syntax = "proto3";\npackage shop.common;\nmessage Line { int32 quantity = 1; }\n'


def decoder(server: RegistryServer, format: str) -> Decoder:
    source = Source.model_validate(
        {"name": "s", "topic": "t", "into": "purchases", "query": "q", "format": format}
    )
    return Decoder(source, SchemaRegistry(RegistryConnection(url=server.url)))


def avro(schema_id: int, schema: Any, value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return struct.pack(">bI", 0, schema_id) + out.getvalue()


def test_avro_values_are_read_by_the_schema_they_were_written_with(
    registry: RegistryServer,
) -> None:
    first = registry.register("orders-value", json.dumps(ORDER))
    wider = {
        **ORDER,
        "fields": [*ORDER["fields"], {"name": "paid", "type": "boolean", "default": True}],
    }
    second = registry.register("orders-value", json.dumps(wider))
    assert first != second
    texts, faults = decoder(registry, "avro").values(
        [
            avro(first, ORDER, VALUE),
            None,
            avro(second, wider, {**VALUE, "day": None, "paid": False}),
            avro(first, ORDER, VALUE)[:-3],
            avro(first, ORDER, VALUE) + b"x",
            avro(9_999, ORDER, VALUE),
            b'{"id":"o-1"}',
        ]
    )
    assert json.loads(texts[0] or "") == {
        "id": "o-1",
        "at": "2026-03-01T08:30:00Z",
        "total": "54.66",
        "day": "2026-03-01",
        "raw": "AP8=",
    }
    assert texts[1] is None
    assert json.loads(texts[2] or "")["paid"] is False
    assert sorted(faults) == [3, 4, 5, 6]
    assert faults[3] == f"does not fit Avro schema {first} (EOFError)"
    assert "longer" in faults[4]
    assert faults[5] == "is of schema 9999, which the schema registry does not have"
    assert "no schema registry prefix" in faults[6]


def test_avro_schemas_may_refer_to_others(registry: RegistryServer) -> None:
    customer = {"type": "record", "name": "Customer", "namespace": "shop", "fields": []}
    registry.register("customer", json.dumps(customer))
    schema = {
        "type": "record",
        "name": "Sale",
        "namespace": "shop",
        "fields": [{"name": "customer", "type": "shop.Customer"}, {"name": "n", "type": "int"}],
    }
    reference = {"name": "shop.Customer", "subject": "customer", "version": 1}
    schema_id = registry.register("sale", json.dumps(schema), references=(reference,))
    texts, faults = decoder(registry, "avro").values([struct.pack(">bI", 0, schema_id) + b"\x0e"])
    assert (texts, faults) == (['{"customer":{},"n":7}'], {})


def test_protobuf_values_are_json_with_the_names_of_their_schema(registry: RegistryServer) -> None:
    registry.register("common", COMMON, "PROTOBUF")
    reference = {"name": "common.proto", "subject": "common", "version": 1}
    schema_id = registry.register("proto", PROTO, "PROTOBUF", (reference,))
    # id "o-1"; at 1772353800 s; one line of quantity 2; total 54.66
    order = (
        b"\x0a\x03o-1"
        + b"\x12\x06\x08\x88\xf2\x8f\xcd\x06"
        + b"\x1a\x02\x08\x02"
        + b"\x21"
        + struct.pack("<d", 54.66)
    )
    prefix = struct.pack(">bI", 0, schema_id)
    texts, faults = decoder(registry, "protobuf").values(
        [
            prefix + b"\x02\x02" + order,
            prefix + b"\x04\x02\x00" + b"\x0a\x02hi",
            prefix + b"\x00" + b"\x0a\x01y",
            prefix + b"\x02\x08" + order,
            prefix + b"\x02\x02" + order[:-3],
        ]
    )
    assert json.loads(texts[0] or "") == {
        "id": "o-1",
        "at": "2026-03-01T08:30:00Z",
        "lines": [{"quantity": 2}],
        "total": 54.66,
        "cents": "0",
    }
    assert json.loads(texts[1] or "") == {"note": "hi"}
    assert json.loads(texts[2] or "") == {"x": "y"}
    assert "of a message that Protobuf schema" in faults[3]
    assert "does not fit Protobuf schema" in faults[4]


def test_json_schema_values_of_two_versions_are_read_by_one_query(
    registry: RegistryServer,
) -> None:
    fields = {"id": {"type": "string"}, "at": {"type": "string"}, "total": {"type": "number"}}
    order = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
    narrow = json.dumps({**order, "properties": fields, "required": ["id"]})
    wider = json.dumps({**order, "properties": {**fields, "paid": {"type": "boolean"}}})
    first = registry.register("orders-json-value", narrow, "JSON")
    second = registry.register("orders-json-value", wider, "JSON")
    assert first != second
    value = {"id": "a", "at": "2026-03-01T08:30:00Z", "total": 54.66}

    def framed(schema_id: int, document: Any) -> bytes:
        return struct.pack(">bI", 0, schema_id) + json.dumps(document).encode()

    values = [
        framed(first, value),
        framed(second, {**value, "id": "b", "paid": True}),
        framed(second, {**value, "id": "c", "paid": False}),
        None,
        json.dumps({**value, "id": "without a prefix"}).encode(),
        framed(second, value)[:-1],
        avro(first, ORDER, VALUE),
    ]
    texts, faults = decoder(registry, "json-schema").values(values)
    assert faults == {6: "is not UTF-8 text"}
    rows = Query(
        "SELECT value->>'$.id' AS customer_id, value->>'$.at' AS occurred_at,"
        " value->>'$.total' AS amount FROM source"
        " WHERE value IS NOT NULL AND coalesce((value->>'$.paid')::BOOLEAN, true)",
        "purchases",
    ).run(records(texts[:6]))
    assert rows.keys == [b"a", b"b", b"without a prefix"]
    assert (rows.not_json, rows.failed) == ([5], {})


def test_a_schema_of_another_format_is_named(registry: RegistryServer) -> None:
    schema_id = registry.register("orders-value", json.dumps(ORDER))
    data = struct.pack(">bI", 0, schema_id) + b"\x00\x0a\x03o-1"
    _, faults = decoder(registry, "protobuf").values([data])
    assert faults == {0: f"is of schema {schema_id}, which is AVRO, not Protobuf"}


def test_a_registry_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    nowhere = SchemaRegistry(RegistryConnection(url="http://127.0.0.1:9/api"))
    with pytest.raises(RegistryError, match="cannot be reached"):
        nowhere.schema(1, "AVRO")
