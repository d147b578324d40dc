"""What a version publishes, kept as bytes until Kafka has confirmed it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec


class Output(NamedTuple):
    """One record to publish; it goes to the partition of the input it came from."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


_decode = msgspec.msgpack.Decoder(list[Output]).decode


def pack(outputs: Sequence[Output]) -> bytes:
    """Return outputs as bytes: MessagePack of (topic, key, value, [(name, value), ...]) each."""
    return msgspec.msgpack.encode(outputs)


def unpack(data: bytes) -> list[Output]:
    """Return the outputs that `pack` made bytes of.

    Raises
    ------
    ValueError
        If these are no such bytes, or not all of them.
    """
    return _decode(data)
