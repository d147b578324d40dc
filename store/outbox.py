"""What a version publishes, kept as bytes until Kafka has confirmed it."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_LENGTHS = struct.Struct("<IiiI")
_HEADER = struct.Struct("<II")
_NULL = -1


@dataclass(frozen=True, slots=True)
class Output:
    """One record to publish; it goes to the partition of the input it came from."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def pack(outputs: Sequence[Output]) -> bytes:
    """Return outputs as bytes.

    Each is the lengths of topic, key and value (-1 for null) and the number of headers, then those
    bytes, then each header as two lengths and its bytes. All numbers are 32 bits, little-endian: a
    dead letter brings along whatever headers its record had.
    """
    parts: list[bytes] = []
    for output in outputs:
        topic = output.topic.encode()
        key_length = _NULL if output.key is None else len(output.key)
        value_length = _NULL if output.value is None else len(output.value)
        parts.append(_LENGTHS.pack(len(topic), key_length, value_length, len(output.headers)))
        parts += (topic, output.key or b"", output.value or b"")
        for name, value in output.headers:
            encoded = name.encode()
            parts += (_HEADER.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def unpack(data: bytes) -> list[Output]:
    """Return the outputs that `pack` made bytes of.

    Raises
    ------
    ValueError
        If the bytes end inside an output.
    """
    outputs: list[Output] = []
    at = 0

    def take(length: int) -> bytes:
        nonlocal at
        if at + length > len(data):
            raise ValueError(f"outbox entry ends at byte {len(data)}, inside an output")
        at += length
        return data[at - length : at]

    while at < len(data):
        topic_length, key_length, value_length, headers = _LENGTHS.unpack(take(_LENGTHS.size))
        topic = take(topic_length).decode()
        key = None if key_length == _NULL else take(key_length)
        value = None if value_length == _NULL else take(value_length)
        named: list[tuple[str, bytes]] = []
        for _ in range(headers):
            name_length, header_length = _HEADER.unpack(take(_HEADER.size))
            named.append((take(name_length).decode(), take(header_length)))
        outputs.append(Output(topic, key, value, named))
    return outputs
