"""Protobuf values of a schema registry, as JSON."""

import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message
from grpc_tools import protoc

from livesegments.ingest.registry import Schema, SchemaRegistry, UndecodableError, split_prefix

_MAIN = "livesegments_value.proto"
_WELL_KNOWN = Path(protoc.__file__).parent / "_proto"


class ProtobufDecoder:
    """Decoder that compiles each schema at run time, as the registry has it.

    Field names are those of the schema; a field without presence has its default. A 64-bit integer
    is a string of digits, bytes are base64, and a Timestamp is RFC 3339 text.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._files: dict[int, Any] = {}
        self._messages: dict[tuple[int, tuple[int, ...]], type[Message]] = {}

    def __call__(self, data: bytes) -> str:
        """Return a value as JSON; raises `UndecodableError`."""
        schema_id, rest = split_prefix(data)
        path, payload = _message_path(rest)
        message = self._message(schema_id, path)()
        try:
            message.ParseFromString(bytes(payload))
            document = json_format.MessageToDict(
                message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
        except (DecodeError, json_format.Error, ValueError) as error:
            raise UndecodableError(
                f"does not fit Protobuf schema {schema_id} ({type(error).__name__})"
            ) from None
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))

    def _message(self, schema_id: int, path: tuple[int, ...]) -> type[Message]:
        if (schema_id, path) not in self._messages:
            if schema_id not in self._files:
                found = self._registry.schema(schema_id, "PROTOBUF")
                self._files[schema_id] = _compiled(schema_id, found)
            self._messages[schema_id, path] = _message_at(schema_id, self._files[schema_id], path)
        return self._messages[schema_id, path]


def _message_path(data: memoryview) -> tuple[tuple[int, ...], memoryview]:
    """Split off the indexes that lead to the message's type; a single 0 is the first type."""
    count, rest = _varint(data)
    path = []
    for _ in range(count):
        index, rest = _varint(rest)
        path.append(index)
    return tuple(path) or (0,), rest


def _varint(data: memoryview) -> tuple[int, memoryview]:
    number = shift = 0
    for at, byte in enumerate(data[:10]):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            number = (number >> 1) ^ -(number & 1)
            if 0 <= number <= 1_000:
                return number, data[at + 1 :]
            break
    raise UndecodableError("has no message index after its schema id")


def _compiled(schema_id: int, schema: Schema) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (*schema.references, (_MAIN, schema.text)):
            file = (Path(folder) / name).resolve()
            if not file.is_relative_to(Path(folder).resolve()):
                raise UndecodableError(f"is of Protobuf schema {schema_id}, whose import is unsafe")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        out = Path(folder) / "descriptors"
        with contextlib.redirect_stderr(io.StringIO()):
            status = protoc.main(
                [
                    "protoc",
                    f"--proto_path={folder}",
                    f"--proto_path={_WELL_KNOWN}",
                    f"--descriptor_set_out={out}",
                    "--include_imports",
                    _MAIN,
                ]
            )
        if status != 0:
            raise UndecodableError(f"is of Protobuf schema {schema_id}, which does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for each in files.file:
        pool.Add(each)
    return pool.FindFileByName(_MAIN)


def _message_at(schema_id: int, file: Any, path: Sequence[int]) -> type[Message]:
    types = list(file.message_types_by_name.values())
    found = None
    for index in path:
        if index >= len(types):
            raise UndecodableError(f"is of a message that Protobuf schema {schema_id} has not")
        found = types[index]
        types = list(found.nested_types)
    message: type[Message] = message_factory.GetMessageClass(found)
    return message
