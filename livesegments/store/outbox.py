"""Outbox of a partition: the outputs of each version, stored until Kafka confirms them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Self, TypeAlias

import msgspec

from livesegments.store.checkpoint import Offsets

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


_Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Row: TypeAlias = tuple[str, bytes | None, bytes | None, list[Header], _Place]
_Packed: TypeAlias = tuple[list[tuple[Header, ...]], list[_Row]]
_decode = msgspec.msgpack.Decoder(tuple[Offsets | None, _Packed]).decode


@dataclass(frozen=True, slots=True)
class Entry:
    """Outputs of one version: the smallest unit that is published.

    They are serialized once: the same bytes go to the store and to the publisher.

    Attributes
    ----------
    version
        The commit that produced them.
    offsets
        Input offsets to commit to Kafka if this is the last version of a transaction. None if it
        must not be the last one.
    data
        The serialized offsets and outputs, in the order of publication: see `serialize`.
    size
        Approximate size of the outputs in bytes: in the store, in memory and on the wire.
    """

    version: int
    offsets: Offsets | None
    data: bytes
    size: int

    @classmethod
    def of(cls, version: int, offsets: Offsets | None, outputs: Sequence[Output]) -> Self:
        """Serialize the outputs of a commit."""
        data = serialize(outputs, offsets)
        return cls(version, offsets, data, len(data) + OVERHEAD_BYTES * len(outputs))

    @classmethod
    def from_bytes(cls, version: int, data: bytes) -> Self:
        """Return the entry of a version from its stored bytes.

        Raises
        ------
        ValueError
            If the bytes are malformed or truncated.
        """
        offsets, outputs = deserialize(data)
        return cls(version, offsets, data, len(data) + OVERHEAD_BYTES * len(outputs))

    @property
    def outputs(self) -> list[Output]:
        """The outputs, deserialized at each access."""
        return deserialize(self.data)[1]


@dataclass(frozen=True, slots=True)
class Publication:
    """Outputs of one partition, and the input offsets committed with them.

    Attributes
    ----------
    entries
        Serialized outputs of versions of the outbox, oldest first.
    offsets
        Of the inputs; None to commit none.
    metadata
        Metadata of these offsets.
    source_offsets
        Topic and partition -> offset, for other topics that the outputs were made from.
    """

    partition: int
    entries: Sequence[bytes]
    offsets: Offsets | None = None
    metadata: str = ""
    source_offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)

    @property
    def outputs(self) -> Iterator[Output]:
        """The outputs, one entry deserialized at a time."""
        for data in self.entries:
            yield from deserialize(data)[1]


def serialize(outputs: Sequence[Output], offsets: Offsets | None = None) -> bytes:
    """Serialize outputs to MessagePack: the offsets, all shared headers, then the outputs.

    Each output is (topic, key, value, own headers, index of its shared headers).
    """
    shared = {id(output.shared_headers): output.shared_headers for output in outputs}
    place = {each: i for i, each in enumerate(shared)}
    rows = [
        (topic, key, value, own, place[id(others)]) for topic, key, value, own, others in outputs
    ]
    return msgspec.msgpack.encode((offsets, (list(shared.values()), rows)))


def deserialize(data: bytes) -> tuple[Offsets | None, list[Output]]:
    """Inverse of `serialize`.

    Raises
    ------
    ValueError
        If the bytes are malformed or truncated.
    """
    offsets, (shared, rows) = _decode(data)
    try:
        return offsets, [
            Output(topic, key, value, own, shared[place]) for topic, key, value, own, place in rows
        ]
    except IndexError as error:
        raise ValueError("an output refers to headers that are not there") from error
