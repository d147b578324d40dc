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

from collections.abc import Iterator
from functools import partial
from itertools import dropwhile, repeat
from typing import Any, NamedTuple

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import KafkaError
from kafka.record import MemoryRecords, default_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from livesegments.consumers import decompression
from livesegments.consumers.columnar_format import (
    Headers,
    bounds,
    integer,
    read_headers,
    read_record,
    size_of,
    slices,
    varints,
    wrapped,
)

WORTH_COLUMNS = 32
"""Of fewer records, columns cost more than they save."""
MOST_UNREADABLE_BYTES = 65_536
"""Of what is kept of a batch that cannot be read."""

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
            read = read_record(buffer, at, decode_varint) or read_record(buffer, at, integer)
            if read is None:
                yield self._unreadable(at)
                return
            length, since, delta, key, value, headers, at = read
            timestamp = wrapped(first + since) if appended is None else appended
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
                headers[row], after[row] = read_headers(buffer, int(at[row]), decode_varint)
                header_sizes[row] = size_of(headers[row])
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
            slices(buffer, key, key_size),
            slices(buffer, value, value_size),
            headers,
            np.maximum(key_size, -1).tolist(),
            np.maximum(value_size, -1).tolist(),
            header_sizes,
        )


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


Fetcher.PartitionRecords = PartitionRecords
default_records.gzip_decode = decompression.gzip_decode
default_records.zstd_decode = decompression.zstd_decode
