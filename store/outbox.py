"""What a version publishes, kept as bytes until Kafka has confirmed it."""

from collections.abc import Sequence
from typing import NamedTuple

import msgpack


class Output(NamedTuple):
    """One record to publish; it goes to the partition of the input it came from."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def pack(outputs: Sequence[Output]) -> bytes:
    """Return outputs as bytes: MessagePack of (topic, key, value, [(name, value), ...]) each."""
    packed: bytes = msgpack.packb(outputs)
    return packed


def unpack(data: bytes) -> list[Output]:
    """Return the outputs that `pack` made bytes of.

    Raises
    ------
    ValueError
        If these are no such bytes, or not all of them.
    """
    return [
        Output(topic, key, value, [(name, content) for name, content in headers])
        for topic, key, value, headers in msgpack.unpackb(data)
    ]
