"""What a version publishes, kept as bytes until Kafka has confirmed it."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

Header: TypeAlias = tuple[str, bytes]


class Output(NamedTuple):
    """One record to publish; it goes to the partition of the input it came from.

    Attributes
    ----------
    topic, key, value
        Of the record.
    own_headers
        Its first headers.
    shared_headers
        Those after them, which it shares with others: where they are one object, they are kept and
        encoded once.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    own_headers: list[Header]
    shared_headers: tuple[Header, ...] = ()

    @property
    def headers(self) -> list[Header]:
        """All headers."""
        return [*self.own_headers, *self.shared_headers]


_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Row: TypeAlias = tuple[str, bytes | None, bytes | None, list[Header], _Place]
_decode = msgspec.msgpack.Decoder(tuple[list[tuple[Header, ...]], list[_Row]]).decode


def pack(outputs: Sequence[Output]) -> bytes:
    """Return outputs as bytes: MessagePack of all shared headers, and then the outputs.

    Each as (topic, key, value, own headers, place of its shared headers among those).
    """
    shared = {id(output.shared_headers): output.shared_headers for output in outputs}
    place = {each: i for i, each in enumerate(shared)}
    rows = [
        (topic, key, value, own, place[id(others)]) for topic, key, value, own, others in outputs
    ]
    return msgspec.msgpack.encode((list(shared.values()), rows))


def unpack(data: bytes) -> list[Output]:
    """Return the outputs that `pack` made bytes of.

    Raises
    ------
    ValueError
        If these are no such bytes, or not all of them.
    """
    shared, rows = _decode(data)
    try:
        return [
            Output(topic, key, value, own, shared[place]) for topic, key, value, own, place in rows
        ]
    except IndexError as error:
        raise ValueError("an output refers to headers that are not there") from error
