r"""Read what was fetched batch by batch, whatever bytes header names hold.

kafka-python decodes header names strictly, though a name may be any bytes: one such record would
hold its partition up for ever, since `poll` raises and the next one does not return. Here such
bytes are read as ``\xff``. A broker also takes numbers with more bits than their type has,
attributes of any kind and any offsets within a batch, and of what is compressed it hardly checks
the lengths, and not how much it holds. So numbers are read as it reads them, offsets are those that
it gave, and what cannot be read of a batch, or would fill the memory, is one record without key: no
topic takes it, and it becomes a dead letter.

And a batch is read as columns, in a quarter of the time that methods for each record and each
number in it take (`python -m bench reading`).

To import this module is to have every consumer of the process read so. A test pins what of
kafka-python it rests on, and holds the readers against each other.
"""

import gzip
import io
from collections.abc import Callable, Iterator
from functools import partial
from itertools import dropwhile, repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from kafka import TopicPartition, codec
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import KafkaError
from kafka.record import MemoryRecords, default_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint
from numpy.typing import NDArray

Int = NDArray[np.int64]
Headers: TypeAlias = list[tuple[str, bytes | None]]
Number: TypeAlias = Callable[[bytes, int], tuple[int, int]]
"""Reads a number at a place; returns it and the place behind it."""

WORTH_COLUMNS = 32
"""Of fewer records, columns cost more than they save."""
LEAST_BYTES = 6
"""Of a record: attributes, two deltas, two sizes, a number of headers."""
MOST_BITS = 8 * 7
"""Of a number in columns; in the format it may have 64."""
MOST_UNREADABLE_BYTES = 65_536
"""Of what is kept of a batch that cannot be read."""

MOST_UNCOMPRESSED_BYTES = 256 * 1024 * 1024
"""Of a batch: gzip makes a thousand times as much of what a topic takes, and zstd far more."""

_PIECE_BYTES = 1024 * 1024
_NO_HEADERS: Headers = []
"""Of most records, and never changed."""
_record = partial(tuple.__new__, ConsumerRecord)


class Columns(NamedTuple):
    """The n records of a batch; sizes in bytes, -1 for null, and for headers where none are."""

    offsets: list[int]
    timestamps: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers]
    key_sizes: list[int]
    value_sizes: list[int]
    header_sizes: list[int]


class Record:
    """What `Fetcher` wants to know of a record; times in milliseconds since the epoch.

    With ``columns`` it stands for all records of its batch: `Fetcher` passes a checksum on.
    """

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "size_in_bytes",
        "timestamp",
        "timestamp_type",
        "value",
    )

    def __init__(
        self,
        size_in_bytes: int,
        offset: int,
        timestamp: int,
        timestamp_type: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        columns: Columns | None = None,
    ) -> None:
        self.size_in_bytes, self.offset = size_in_bytes, offset
        self.timestamp, self.timestamp_type = timestamp, timestamp_type
        self.key, self.value, self.headers = key, value, headers
        self.checksum = columns

    def validate_crc(self) -> bool:
        """Return True: the checksum is the batch's."""
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
        """Whether no record is missing, as some may after a compaction: offsets are counted."""
        return bool(self._num_records == self.last_offset_delta + 1)

    def _is_open(self) -> bool:
        """Uncompress it; return whether it could be."""
        try:
            self._maybe_uncompress()
        except (KafkaError, MemoryError):  # of a codec that is not installed, for one
            raise
        except Exception:  # noqa: BLE001 - each codec has its own
            return False
        return True

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
            read = _read(buffer, at, decode_varint) or _read(buffer, at, _integer)
            if read is None:
                yield self._unreadable(at)
                return
            length, since, delta, key, value, headers, at = read
            timestamp = _wrapped(first + since) if appended is None else appended
            delta = place if is_whole else min(delta, last)
            yield Record(length, offset + delta, timestamp, kind, key, value, headers)


class WholeBatch(RecordBatch):
    """A batch that gives one record for all of its own, where they can be read as columns."""

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
        """Return all records, or None where anything is odd: single records tell what it is."""
        try:
            starts, ends = _bounds(buffer, self._pos, self._num_records)
            octets = np.frombuffer(buffer, np.uint8)
            since, at = _varints(octets, starts + 1)
            offset, at = _varints(octets, at)
            key_size, key = _varints(octets, at)
            value_size, value = _varints(octets, key + np.maximum(key_size, 0))
            at = value + np.maximum(value_size, 0)
            headers = [_NO_HEADERS] * len(at)
            header_sizes = [-1] * len(at)
            after = at + 1
            for row in np.flatnonzero(octets[at]).tolist():
                headers[row], after[row] = _headers(buffer, int(at[row]), decode_varint)
                header_sizes[row] = _size(headers[row])
        except (ValueError, IndexError):
            return None
        if (after != ends).any():
            return None
        # Where a compaction has taken records out, the offsets say which.
        offset = np.arange(len(at)) if self._is_whole else offset.clip(max=self.last_offset_delta)
        timestamps = self.first_timestamp + since
        if self.timestamp_type == self.LOG_APPEND_TIME:
            timestamps = np.full_like(since, self.max_timestamp)
        return Columns(
            (self.base_offset + offset).tolist(),
            timestamps.tolist(),
            _slices(buffer, key, key_size),
            _slices(buffer, value, value_size),
            headers,
            np.maximum(key_size, -1).tolist(),
            np.maximum(value_size, -1).tolist(),
            header_sizes,
        )


def _bounds(buffer: bytes, at: int, records: int) -> tuple[Int, Int]:
    """Return where each record begins, behind its length, and where it ends."""
    starts, ends = [], []
    for _ in range(records):
        first, second = buffer[at], buffer[at + 1]
        # Lengths of two bytes are the usual ones.
        if first >= 0x80 > second:
            number, at = second << 7 | first & 0x7F, at + 2
            length = number >> 1 ^ -(number & 1)
        else:
            length, at = decode_varint(buffer, at)
        starts.append(at)
        if length < LEAST_BYTES:
            raise ValueError(length)
        at += length
        ends.append(at)
    if at != len(buffer):
        raise ValueError(at)
    return np.array(starts, np.int64), np.array(ends, np.int64)


def _varints(octets: NDArray[np.uint8], at: Int) -> tuple[Int, Int]:
    """Read a number at each place; return them and the places behind them."""
    octet = octets[at]
    number = (octet & 0x7F).astype(np.int64)
    more, at, bits = octet >= 0x80, at + 1, 7
    while more.any():
        if bits == MOST_BITS:
            raise ValueError(bits)
        octet = np.where(more, octets[at], 0)
        number |= (octet & 0x7F).astype(np.int64) << bits
        more, at, bits = octet >= 0x80, at + more, bits + 7
    return (number >> 1) ^ -(number & 1), at


def _slices(buffer: bytes, at: Int, sizes: Int) -> list[bytes | None]:
    bounds = zip(at.tolist(), (at + sizes).tolist(), strict=True)
    return [buffer[start:end] if end >= start else None for start, end in bounds]


def _read(
    buffer: bytes, at: int, number: Number
) -> tuple[int, int, int, bytes | None, bytes | None, Headers, int] | None:
    """Read a record: how long, when and where it is, what it has, and the place behind it."""
    try:
        length, at = number(buffer, at)
        end = at + length
        since, at = _integer(buffer, at + 1, bits=64)  # attributes are a byte, and say nothing
        offset, at = number(buffer, at)
        key, at = _bytes(buffer, at, number)
        value, at = _bytes(buffer, at, number)
        headers, at = _headers(buffer, at, number)
    except (ValueError, IndexError):
        return None
    if at != end or end > len(buffer):
        return None
    return length, since, offset, key, value, headers, at


def _integer(buffer: bytes, at: int, bits: int = 32) -> tuple[int, int]:
    """Read a number; its type has no room for more bits, and a broker drops them."""
    number, at = decode_varint(buffer, at)
    if number >> bits - 1 not in (0, -1):
        raw = (number << 1 ^ -(number < 0)) & (1 << bits) - 1
        number = raw >> 1 ^ -(raw & 1)
    return number, at


def _wrapped(number: int) -> int:
    """Return what a sum is in 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _bytes(buffer: bytes, at: int, number: Number) -> tuple[bytes | None, int]:
    """Read a length and as many bytes; a negative length is null."""
    length, at = number(buffer, at)
    if length < 0:
        return None, at
    return buffer[at : at + length], at + length


def _headers(buffer: bytes, at: int, number: Number) -> tuple[Headers, int]:
    headers: Headers = []
    count, at = number(buffer, at)
    if count < 0:
        raise ValueError(count)
    for _ in range(count):
        name, at = _bytes(buffer, at, number)
        if name is None:
            raise ValueError(name)
        value, at = _bytes(buffer, at, number)
        headers.append((name.decode(errors="backslashreplace"), value))
    return headers, at


def _size(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)


class Batches:
    """Fetched batches; those in format 2 become ``kind``."""

    def __init__(self, records: MemoryRecords, kind: type[RecordBatch]) -> None:
        self._records, self._kind = records, kind

    def next_batch(self) -> Any:
        """Return the next one, None after the last."""
        batch = self._records.next_batch()
        if type(batch) is DefaultRecordBatch:
            batch.__class__ = self._kind
        return batch


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of a partition, taken batch by batch where kafka-python goes one by one."""

    _run: list[ConsumerRecord] = []  # noqa: RUF012 - replaced, never changed
    _at = 0

    def take(self, n: int | None = None) -> list[ConsumerRecord]:
        """Return the next records, ``n`` at most; what is wrong after them is raised next time."""
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
        # A fetch from the middle of a batch brings all of it.
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


def _gzip_decode(payload: Any) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
        return _whole(file)


def _zstd_decode(payload: bytes) -> bytes:
    decompressor = codec.zstd.ZstdDecompressor()
    with decompressor.stream_reader(io.BytesIO(payload), read_across_frames=True) as file:
        return _whole(file)


def _whole(file: Any) -> bytes:
    """Return all of a file, if it is not too large."""
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > MOST_UNCOMPRESSED_BYTES:
            raise ValueError(size)
        pieces.append(piece)
    return b"".join(pieces)


Fetcher.PartitionRecords = PartitionRecords
default_records.gzip_decode = _gzip_decode
default_records.zstd_decode = _zstd_decode
