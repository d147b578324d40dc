r"""Columnar reader of fetched batches that tolerates malformed records.

kafka-python decodes header names strictly, although a name may be any bytes: one such record would
block its partition forever, since `poll` raises and the next poll does not return. This reader
decodes such bytes as ``\xff``. A broker also accepts numbers with more bits than their type has,
attributes of any kind and any offsets within a batch; for compressed batches it barely checks the
lengths, and not the uncompressed size. Therefore numbers are read as the broker reads them, and
offsets are those it assigned. Data that cannot be read, or would exhaust the memory, becomes one
record without a key: it fails validation in every topic and becomes a dead letter.

Reading a batch as columns takes a quarter of the time of a method call for each record and number
(`python -m bench reading`).

`ColumnarConsumer` is kafka-python's consumer with this reader. A test pins the kafka-python
internals it relies on and compares the readers.
"""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile, repeat
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaConsumer, TopicPartition, codec
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import KafkaError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from livesegments.consumers.columnar_format import (
    Headers,
    bounds,
    integer,
    read_headers,
    read_record,
    slices,
    varints,
    wrapped,
)

WORTH_COLUMNS = 32
"""Minimum number of records for which columns pay off."""
MOST_UNREADABLE_BYTES = 65_536
"""Maximum bytes kept of an unreadable batch."""
MOST_UNCOMPRESSED_BYTES = 256 * 1024 * 1024
"""Maximum of a batch: gzip expands up to a thousandfold, Zstandard far more."""
_PIECE_BYTES = 1024 * 1024

_NO_HEADERS: Headers = []
"""Shared by most records; never modified."""
_record = partial(tuple.__new__, ConsumerRecord)


class Columns(NamedTuple):
    """The n records of a batch; sizes in bytes, -1 for null and for no headers."""

    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers]
    key_sizes: list[int]
    value_sizes: list[int]
    header_sizes: list[int]


@dataclass(slots=True, eq=False)
class Record:
    """Record interface required by `Fetcher`; timestamps in milliseconds since the epoch.

    With columns it stands for all records of its batch: `Fetcher` passes the checksum through.
    """

    size_in_bytes: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    checksum: Columns | None = None

    def validate_crc(self) -> bool:
        """Return True: the checksum covers the batch."""
        return True


class RecordBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch in format 2 (https://kafka.apache.org/documentation/#record)."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        if self.is_control_batch:
            return super().__iter__()  # type: ignore[no-any-return]
        if not self._is_open():
            return iter([self._unreadable(self._pos)])
        return self._records()

    @property
    def _is_whole(self) -> bool:
        """True if no record was removed, as by compaction; offsets are then consecutive."""
        return bool(self._num_records == self.last_offset_delta + 1)

    def _is_open(self) -> bool:
        """Decompress the batch; return whether it succeeded."""
        try:
            self._maybe_uncompress()
        except (KafkaError, MemoryError):  # e.g. a codec that is not installed
            raise
        except Exception:  # noqa: BLE001 - each codec has its own
            return False
        return True

    def _maybe_uncompress(self) -> None:
        """Decompress the batch, with a size limit for a codec that expands bytes to any size."""
        batch: Any = self  # its attributes have no types
        decode = _DECODERS.get(batch.compression_type)
        if decode is not None and not batch._decompressed:
            batch._assert_has_codec(batch.compression_type)
            batch._buffer = bytearray(decode(memoryview(batch._buffer)[batch._pos :]))
            batch._pos, batch._decompressed = 0, True
        super()._maybe_uncompress()

    def _unreadable(self, at: int) -> Record:
        rest = bytes(self._buffer[at : at + MOST_UNREADABLE_BYTES])
        last, kind = self.last_offset, self.timestamp_type
        return Record(len(rest), last, self.max_timestamp, kind, None, rest, _NO_HEADERS)

    def _records(self) -> Iterator[Record]:
        buffer, at, records = bytes(self._buffer), self._pos, self._num_records
        offset, first, kind = self.base_offset, self.first_timestamp, self.timestamp_type
        appended = self.max_timestamp if kind == self.LOG_APPEND_TIME else None
        is_whole, last = self._is_whole, self.last_offset_delta
        for place in range(records):
            read = read_record(buffer, at, decode_varint) or read_record(buffer, at, integer)
            if read is None:
                yield self._unreadable(at)
                return
            length, since, delta, key, value, headers, at = read
            timestamp = wrapped(first + since) if appended is None else appended
            delta = place if is_whole else min(delta, last)
            yield Record(length, offset + delta, timestamp, kind, key, value, headers)


def _gzip_decode(payload: memoryview) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return _whole(file)


def _zstd_decode(payload: memoryview) -> bytes:
    decompressor = codec.zstd.ZstdDecompressor()
    with decompressor.stream_reader(io.BytesIO(payload), read_across_frames=True) as file:
        return _whole(file)


def _whole(file: Any) -> bytes:
    """Read a whole file, up to the size limit."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_UNCOMPRESSED_BYTES:
            raise ValueError(size)
        pieces.append(piece)
    return b"".join(pieces)


_DECODERS = {
    DefaultRecordBatch.CODEC_GZIP: _gzip_decode,
    DefaultRecordBatch.CODEC_ZSTD: _zstd_decode,
}


class WholeBatch(RecordBatch):
    """A batch that yields one record for all of its own if they can be read as columns."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        columns = None
        if self._num_records >= WORTH_COLUMNS and not self.is_control_batch:
            columns = self._columns(bytes(self._buffer)) if self._is_open() else None
        if columns is None:
            return super().__iter__()
        size, kind = len(self._buffer) - self._pos, self.timestamp_type
        last = columns.offsets[-1], columns.timestamps[-1]
        return iter([Record(size, *last, kind, None, None, [], columns)])

    def _columns(self, buffer: bytes) -> Columns | None:
        """Return all records, None if any is malformed: then records are read one by one."""
        try:
            starts, ends = bounds(buffer, self._pos, self._num_records)
            octets = np.frombuffer(buffer, np.uint8)
            since, at = varints(octets, starts + 1)
            offset, at = varints(octets, at)
            key_size, key = varints(octets, at)
            value_size, value = varints(octets, key + np.maximum(key_size, 0))
            at = value + np.maximum(value_size, 0)
            headers = [_NO_HEADERS] * len(at)
            header_sizes = [-1] * len(at)
            after = at + 1
            for row in np.flatnonzero(octets[at]).tolist():
                found, after[row] = read_headers(buffer, int(at[row]), decode_varint)
                headers[row] = found
                header_sizes[row] = sum(len(n.encode()) + len(value or b"") for n, value in found)
        except (ValueError, IndexError):
            return None
        if (after != ends).any():
            return None
        # After compaction, the stored offset deltas identify the remaining records.
        offset = np.arange(len(at)) if self._is_whole else offset.clip(max=self.last_offset_delta)
        timestamps = self.first_timestamp + since
        if self.timestamp_type == self.LOG_APPEND_TIME:
            timestamps = np.full_like(since, self.max_timestamp)
        return Columns(
            (self.base_offset + offset).tolist(),
            timestamps.tolist(),
            slices(buffer, key, key_size),
            slices(buffer, value, value_size),
            headers,
            np.maximum(key_size, -1).tolist(),
            np.maximum(value_size, -1).tolist(),
            header_sizes,
        )


class Batches:
    """Fetched batches, with those in format 2 converted to ``kind``."""

    def __init__(self, records: MemoryRecords, kind: type[RecordBatch]) -> None:
        self._records, self._kind = records, kind

    def next_batch(self) -> Any:
        """Return the next batch, None after the last."""
        batch = self._records.next_batch()
        if type(batch) is DefaultRecordBatch:
            batch.__class__ = self._kind
        return batch


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Fetched records of a partition, taken by batch where kafka-python takes single records."""

    _run: list[ConsumerRecord] = []  # noqa: RUF012 - replaced, never changed
    _at = 0

    def take(self, n: int | None = None) -> list[ConsumerRecord]:
        """Return the next records, at most ``n``; the next call raises an error after them."""
        self._maybe_raise_next_inline_exception()
        records: list[ConsumerRecord] = []
        try:
            while n is None or len(records) < n:
                if self._at == len(self._run):
                    self._run, self._at = next(self.record_iterator), 0
                end = None if n is None else self._at + n - len(records)
                taken = self._run[self._at : end]
                self._at += len(taken)
                records += taken
                self.next_fetch_offset = self._run[self._at - 1].offset + 1
        except StopIteration:
            pass
        except Exception as error:
            if not records:
                raise
            self._next_inline_exception = error
        return records

    def _maybe_skip_record(self, run: list[ConsumerRecord]) -> bool:
        # A fetch from the middle of a batch returns the whole batch.
        run[:] = dropwhile(super()._maybe_skip_record, run)
        return not run

    def _unpack_records(
        self, tp: TopicPartition, records: MemoryRecords, *deserializers: Any
    ) -> Iterator[list[ConsumerRecord]]:
        batches = Batches(records, RecordBatch if any(deserializers) else WholeBatch)
        for record in super()._unpack_records(tp, batches, *deserializers):
            yield self._whole(tp, record) if isinstance(record.checksum, Columns) else [record]

    def _whole(self, tp: TopicPartition, record: ConsumerRecord) -> list[ConsumerRecord]:
        columns: Columns = record.checksum
        self.records_read += len(columns.offsets) - 1
        rows = zip(
            repeat(tp.topic),
            repeat(tp.partition),
            repeat(record.leader_epoch),
            columns.offsets,
            columns.timestamps,
            repeat(record.timestamp_type),
            columns.keys,
            columns.values,
            columns.headers,
            repeat(None),
            columns.key_sizes,
            columns.value_sizes,
            columns.header_sizes,
            strict=False,
        )
        return list(map(_record, rows))


class ColumnarConsumer(KafkaConsumer):  # type: ignore[misc]
    """kafka-python's consumer with the columnar reader; takes the same arguments."""

    def __init__(self, *topics: str, **config: Any) -> None:
        super().__init__(*topics, **config)
        self._fetcher.PartitionRecords = PartitionRecords
