"""Outbox of a partition: the outputs of each version, stored until Kafka confirms them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, Self, TypeAlias

import msgspec

from livesegments.store.checkpoint import Checkpoint

Header: TypeAlias = tuple[str, bytes]

OVERHEAD_BYTES = 512
"""Approximate size of an output's topic and shared headers, in bytes."""


class Output(NamedTuple):
    """One record to publish, to the same partition as the input it was made from.

    Attributes
    ----------
    topic, key, value
        Of the record.
    own_headers
        Headers of this record alone; they come first.
    shared_headers
        Headers that follow them. Outputs that share one object store and encode it once.
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
        """Approximate size of the record in bytes."""
        # A dead letter keeps the original key and headers, which can be of any size.
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
    """Outputs of one version: the smallest unit that is published.

    Attributes
    ----------
    version
        The commit that produced them.
    offsets
        Input offsets to commit to Kafka if this is the last version of a transaction. None if it
        must not be the last one.
    outputs
        In the order of publication.
    """

    version: int
    offsets: Offsets | None
    outputs: tuple[Output, ...]

    @cached_property
    def size(self) -> int:
        """Approximate size of the outputs in bytes: in the store, in memory and on the wire."""
        return sum(output.size for output in self.outputs)

    @classmethod
    def of(cls, progress: Checkpoint, outputs: Sequence[Output]) -> Self | None:
        """Return the entry of a commit; None if it publishes nothing."""
        return cls(progress.version, progress.offsets, tuple(outputs)) if outputs else None

    def to_bytes(self) -> bytes:
        """Serialize to MessagePack: the offsets and the packed outputs."""
        return msgspec.msgpack.encode((self.offsets, _packed(self.outputs)))

    @classmethod
    def from_bytes(cls, version: int, data: bytes) -> Self:
        """Inverse of `to_bytes`.

        Raises
        ------
        ValueError
            If the bytes are malformed or truncated.
        """
        offsets, packed = _decode_entry(data)
        return cls(version, offsets, tuple(_unpacked(packed)))


@dataclass(frozen=True, slots=True)
class Publication:
    """Outputs of one partition, and the input offsets committed with them.

    Attributes
    ----------
    offsets
        In the order of ``livesegments.contracts.topics.INPUTS``; None to commit none.
    metadata
        Metadata of these offsets.
    """

    partition: int
    outputs: Iterable[Output]
    offsets: Offsets | None = None
    metadata: str = ""


def pack(outputs: Sequence[Output]) -> bytes:
    """Serialize outputs to MessagePack: all shared headers, then the outputs.

    Each output is (topic, key, value, own headers, index of its shared headers).
    """
    return msgspec.msgpack.encode(_packed(outputs))


def unpack(data: bytes) -> list[Output]:
    """Inverse of `pack`.

    Raises
    ------
    ValueError
        If the bytes are malformed or truncated.
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
