"""What a version publishes, kept as bytes until Kafka has confirmed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, Self, TypeAlias

import msgspec

from livesegments.store.checkpoint import Checkpoint

Header: TypeAlias = tuple[str, bytes]

OVERHEAD_BYTES = 512
"""Topic and shared headers of an output, about."""


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

    @property
    def size(self) -> int:
        """Bytes of the record, about."""
        # Key and headers of a dead letter are those of any record.
        own = sum(2 + len(name.encode()) + len(value) for name, value in self.own_headers)
        return len(self.key or b"") + len(self.value or b"") + own + OVERHEAD_BYTES


Offsets: TypeAlias = tuple[int, int, int]

_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Row: TypeAlias = tuple[str, bytes | None, bytes | None, list[Header], _Place]
_Packed: TypeAlias = tuple[list[tuple[Header, ...]], list[_Row]]
_decode = msgspec.msgpack.Decoder(_Packed).decode
_decode_entry = msgspec.msgpack.Decoder(tuple[Offsets | None, _Packed]).decode


@dataclass(frozen=True)
class Entry:
    """The outputs of one version: the smallest part of an outbox that is published.

    Attributes
    ----------
    version
        The commit that made them.
    offsets
        Input offsets to commit to Kafka when this version is published and no later one is. None
        when it must not be the last of a transaction.
    outputs
        In the order of publication.
    """

    version: int
    offsets: Offsets | None
    outputs: tuple[Output, ...]

    @cached_property
    def size(self) -> int:
        """Bytes of the outputs, about: in the store, in memory and on the wire."""
        return sum(output.size for output in self.outputs)

    @classmethod
    def of(cls, progress: Checkpoint, outputs: Sequence[Output]) -> Self | None:
        """Return the entry of a commit, None when it publishes nothing."""
        return cls(progress.version, progress.offsets, tuple(outputs)) if outputs else None

    def to_bytes(self) -> bytes:
        """Return the bytes to store: MessagePack of the offsets and the packed outputs."""
        return msgspec.msgpack.encode((self.offsets, _packed(self.outputs)))

    @classmethod
    def from_bytes(cls, version: int, data: bytes) -> Self:
        """Return the entry that `to_bytes` made bytes of.

        Raises
        ------
        ValueError
            If these are no such bytes, or not all of them.
        """
        offsets, packed = _decode_entry(data)
        return cls(version, offsets, tuple(_unpacked(packed)))


def pack(outputs: Sequence[Output]) -> bytes:
    """Return outputs as bytes: MessagePack of all shared headers, and then the outputs.

    Each as (topic, key, value, own headers, place of its shared headers among those).
    """
    return msgspec.msgpack.encode(_packed(outputs))


def unpack(data: bytes) -> list[Output]:
    """Return the outputs that `pack` made bytes of.

    Raises
    ------
    ValueError
        If these are no such bytes, or not all of them.
    """
    return _unpacked(_decode(data))


def _packed(outputs: Sequence[Output]) -> _Packed:
    shared = {id(output.shared_headers): output.shared_headers for output in outputs}
    place = {each: i for i, each in enumerate(shared)}
    rows = [
        (topic, key, value, own, place[id(others)]) for topic, key, value, own, others in outputs
    ]
    return list(shared.values()), rows


def _unpacked(packed: _Packed) -> list[Output]:
    shared, rows = packed
    try:
        return [
            Output(topic, key, value, own, shared[place]) for topic, key, value, own, place in rows
        ]
    except IndexError as error:
        raise ValueError("an output refers to headers that are not there") from error
