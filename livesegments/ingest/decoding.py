"""Decoding of keys and values of any format to text: JSON, or the string itself."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from livesegments.extras import require
from livesegments.ingest.definitions import Format, KeyFormat, Source
from livesegments.ingest.registry import PREFIX_BYTES, SchemaRegistry, UndecodableError

_BOM = b"\xef\xbb\xbf"
_INT64_BYTES = 8

Texts: TypeAlias = list[str | None]
Bytes: TypeAlias = Sequence[bytes | None]
Decode: TypeAlias = Callable[[bytes], str]
"""Function that returns the text of a value; raises `UndecodableError`."""


class Decoder:
    """Decoder of the keys and values of a source."""

    def __init__(self, source: Source, registry: SchemaRegistry | None) -> None:
        self._value = _decode(source.format, registry)
        self._key = _decode(source.key_format, registry)

    def values(self, values: Bytes) -> tuple[Texts, dict[int, str]]:
        """Return the text of each value, null for null, and why some have none, by row."""
        return _texts(self._value, values)

    def keys(self, keys: Bytes) -> Texts:
        """Return the text of each key; a key that is not of its format is shown by its bytes."""
        texts, faults = _texts(self._key, keys)
        for row in faults:
            texts[row] = (keys[row] or b"").decode(errors="backslashreplace")
        return texts


def _texts(decode: Decode, data: Bytes) -> tuple[Texts, dict[int, str]]:
    if decode in (_json, _string) and (plain := _plain(data)) is not None:
        return plain, {}
    texts: Texts = []
    faults: dict[int, str] = {}
    for row, each in enumerate(data):
        try:
            texts.append(None if each is None else decode(each))
        except UndecodableError as error:
            texts.append(None)
            faults[row] = str(error)
    return texts, faults


def _plain(data: Bytes) -> Texts | None:
    """Return all as UTF-8 text; None if one is null, is no text, or begins with what is taken off.

    Most micro-batches are plain, and a call for each value takes five times as long.
    """
    try:
        texts: Texts = [str(each, "utf-8") for each in data]  # type: ignore[arg-type]
    except (TypeError, UnicodeDecodeError):
        return None
    return None if any(text[:1] in ("\0", "\ufeff") for text in texts if text) else texts


def _json(data: bytes) -> str:
    if data[:1] == b"\0" and len(data) > PREFIX_BYTES:
        data = data[PREFIX_BYTES:]
    return _string(data)


def _string(data: bytes) -> str:
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise UndecodableError("is not UTF-8 text") from None


def _int64(data: bytes) -> str:
    if len(data) != _INT64_BYTES:
        raise UndecodableError("is not an integer of eight bytes")
    return str(int.from_bytes(data, "big", signed=True))


def _decode(format: Format | KeyFormat, registry: SchemaRegistry | None) -> Decode:
    plain: dict[str, Decode] = {
        "json": _json,
        "json-schema": _json,
        "string": _string,
        "int64": _int64,
    }
    if format in plain:
        return plain[format]
    assert registry is not None
    if format == "avro":
        require("ingest", "format avro", "fastavro")
        from livesegments.ingest.avro import AvroDecoder

        return AvroDecoder(registry)
    require("ingest", "format protobuf", "google", "grpc_tools")
    from livesegments.ingest.protobuf import ProtobufDecoder

    return ProtobufDecoder(registry)
