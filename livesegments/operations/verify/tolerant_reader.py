"""Consumer that also reads records and batches that kafka-python rejects.

kafka-python decodes all others. A broker accepts any bytes as a header name, numbers with more bits
than their type has, and offsets that contradict the batch; of a compressed batch it barely checks
the content. Such records are read here one by one, as the broker reads them: bytes of a name that
are not UTF-8 are escaped, and offsets are those that the broker assigned. Of a batch that cannot be
read, or would exhaust the memory, the rest is one record without a key. No code is shared with the
reader of the workers.
"""

import gzip
import io
from collections.abc import Iterator
from typing import Any, TypeAlias

from kafka import KafkaConsumer, TopicPartition, codec
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError, KafkaError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch

MOST_BYTES = 256 * 1024 * 1024
"""Maximum size of an uncompressed batch."""
MOST_UNREADABLE_BYTES = 65_536
"""Maximum bytes kept of an unreadable batch."""
_PIECE_BYTES = 1024 * 1024
_TIMES = range(-(2**63), 2**63)

Headers: TypeAlias = list[tuple[str, bytes | None]]


class TolerantConsumer(KafkaConsumer):  # type: ignore[misc]
    """kafka-python's consumer, which also reads what kafka-python rejects."""

    def __init__(self, *topics: str, **config: Any) -> None:
        super().__init__(*topics, **config)
        self._fetcher.PartitionRecords = TolerantRecords


class TolerantRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Fetched records of a partition."""

    def _unpack_records(
        self, tp: TopicPartition, records: MemoryRecords, *deserializers: Any
    ) -> Iterator[ConsumerRecord]:
        return super()._unpack_records(  # type: ignore[no-any-return]
            tp, _Batches(records), *deserializers
        )


class _Batches:
    def __init__(self, records: MemoryRecords) -> None:
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if type(batch) is DefaultRecordBatch:
            batch.__class__ = TolerantBatch
        return batch


class TolerantBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch in format 2 (https://kafka.apache.org/documentation/#record)."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        if self.is_control_batch:
            return super().__iter__()  # type: ignore[no-any-return]
        try:
            self._maybe_uncompress()
        except (KafkaError, MemoryError):  # e.g. a codec that is not installed
            raise
        except Exception:  # noqa: BLE001 - each codec has its own
            return iter([self._rest(self._pos)])
        start = self._pos
        try:
            records = [self._read_msg() for _ in range(self._num_records)]
        except (CorruptRecordError, ValueError, IndexError):
            return self._singly(start)
        # kafka-python reads a value that its batch ends within as a shorter one.
        is_whole = self._pos <= len(self._buffer)
        return iter(records) if is_whole and self._are_placed(records) else self._singly(start)

    def _maybe_uncompress(self) -> None:
        _expand(self)
        super()._maybe_uncompress()

    def _are_placed(self, records: list[DefaultRecord]) -> bool:
        """Return whether offsets and times are possible ones."""
        return all(
            record.offset == self._offset(place, record.offset - self.base_offset)
            and record.timestamp in _TIMES
            for place, record in enumerate(records)
        )

    def _offset(self, place: int, delta: int) -> int:
        """Return the offset of a record; only compaction leaves gaps within a batch."""
        is_whole = self._num_records == self.last_offset_delta + 1
        return int(self.base_offset + (place if is_whole else min(delta, self.last_offset_delta)))

    def _singly(self, at: int) -> Iterator[DefaultRecord]:
        data, kind = bytes(self._buffer), self.timestamp_type
        for place in range(self._num_records):
            try:
                size, since, delta, key, value, headers, after = _record(data, at)
            except (ValueError, IndexError):
                yield self._rest(at)
                return
            at = after
            timestamp = (self.first_timestamp + since + 2**63) % 2**64 - 2**63
            if kind == self.LOG_APPEND_TIME:
                timestamp = self.max_timestamp
            offset = self._offset(place, delta)
            yield DefaultRecord(size, offset, timestamp, kind, key, value, headers)

    def _rest(self, at: int) -> DefaultRecord:
        rest = bytes(self._buffer[at : at + MOST_UNREADABLE_BYTES])
        last, kind = self.last_offset, self.timestamp_type
        return DefaultRecord(len(rest), last, self.max_timestamp, kind, None, rest, [])


def _expand(batch: Any) -> None:
    """Decompress gzip and Zstandard; raises `ValueError` above the size limit."""
    kind = batch.compression_type
    if batch._decompressed or kind not in (batch.CODEC_GZIP, batch.CODEC_ZSTD):
        return
    batch._assert_has_codec(kind)
    data = io.BytesIO(batch._buffer[batch._pos :])
    if kind == batch.CODEC_GZIP:
        file: Any = gzip.GzipFile(fileobj=data)
    else:
        file = codec.zstd.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    expanded = bytearray()
    with file:
        while piece := file.read(_PIECE_BYTES):
            expanded += piece
            if len(expanded) > MOST_BYTES:
                raise ValueError(len(expanded))
    batch._buffer, batch._pos, batch._decompressed = expanded, 0, True


def _record(data: bytes, at: int) -> tuple[int, int, int, bytes | None, bytes | None, Headers, int]:
    """Read a record: size, time and offset deltas, contents, and the position after it."""
    size, at = _number(data, at)
    end = at + size
    since, at = _number(data, at + 1, bits=64)  # after the attributes, which are unused
    delta, at = _number(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    count, at = _number(data, at)
    headers: Headers = []
    for _ in range(count):
        name, at = _bytes(data, at)
        content, at = _bytes(data, at)
        if name is None:
            raise ValueError(name)
        headers.append((name.decode(errors="backslashreplace"), content))
    if count < 0 or at != end or end > len(data):
        raise ValueError(end)
    return size, since, delta, key, value, headers, at


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = _number(data, at)
    return (None, at) if size < 0 else (data[at : at + size], at + size)


def _number(data: bytes, at: int, bits: int = 32) -> tuple[int, int]:
    """Read a zigzag varint of at most ten bytes, without the bits that its type cannot hold."""
    raw = 0
    for shift in range(0, 70, 7):
        octet = data[at]
        at += 1
        raw |= (octet & 0x7F) << shift
        if octet < 0x80:
            raw &= (1 << bits) - 1
            return raw >> 1 ^ -(raw & 1), at
    raise ValueError(at)
