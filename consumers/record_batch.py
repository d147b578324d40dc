r"""Read the records of a batch in one go, whatever bytes their header names hold.

kafka-python decodes header names strictly, though a name may be any bytes: one such record would
hold its partition up for ever, since `poll` raises and the next one does not return. Here such
bytes are read as ``\xff``. And one loop over a batch is quicker than its methods for each record
and each number in it (`python -m bench reading`).

To import this module is to have every consumer of the process read so. A test pins what of
kafka-python it rests on, and holds both readers against each other.
"""

from collections.abc import Iterator
from typing import Any

from kafka.errors import CorruptRecordError
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint


class Record:
    """What `KafkaConsumer` wants to know of a record; times in milliseconds since the epoch."""

    __slots__ = (
        "headers",
        "key",
        "offset",
        "size_in_bytes",
        "timestamp",
        "timestamp_type",
        "value",
    )

    checksum = None

    def __init__(
        self,
        size_in_bytes: int,
        offset: int,
        timestamp: int,
        timestamp_type: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        self.size_in_bytes, self.offset = size_in_bytes, offset
        self.timestamp, self.timestamp_type = timestamp, timestamp_type
        self.key, self.value, self.headers = key, value, headers

    def validate_crc(self) -> bool:
        """Return True: the checksum is the batch's."""
        return True


class RecordBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch in format 2 (https://kafka.apache.org/documentation/#record)."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        if self.is_control_batch:
            return super().__iter__()  # type: ignore[no-any-return]
        self._maybe_uncompress()
        return self._records()

    def _records(self) -> Iterator[Record]:
        buffer, at, records = bytes(self._buffer), self._pos, self._num_records
        offset, first, kind = self.base_offset, self.first_timestamp, self.timestamp_type
        appended = self.max_timestamp if kind == self.LOG_APPEND_TIME else None
        for _ in range(records):
            try:
                length, at = decode_varint(buffer, at)
                end = at + length
                _attributes, at = decode_varint(buffer, at)
                delta, at = decode_varint(buffer, at)
                timestamp = first + delta if appended is None else appended
                delta, at = decode_varint(buffer, at)
                key, at = _bytes(buffer, at)
                value, at = _bytes(buffer, at)
                count, at = decode_varint(buffer, at)
                headers: list[tuple[str, bytes | None]] = []
                if count:
                    at = _read_headers(buffer, at, count, headers)
            except (ValueError, IndexError) as error:
                raise CorruptRecordError(f"Found invalid record structure: {error!r}") from error
            if at != end or end > len(buffer):
                raise CorruptRecordError(
                    f"Invalid record size: expected to end at byte {end}, but ended at {at}"
                )
            yield Record(length, offset + delta, timestamp, kind, key, value, headers)
        if at != len(buffer):
            raise CorruptRecordError(f"{len(buffer) - at} bytes left after all records")


def _bytes(buffer: bytes, at: int) -> tuple[bytes | None, int]:
    """Read a length and as many bytes; a negative length is null."""
    length, at = decode_varint(buffer, at)
    if length < 0:
        return None, at
    return buffer[at : at + length], at + length


def _read_headers(
    buffer: bytes, at: int, count: int, headers: list[tuple[str, bytes | None]]
) -> int:
    if count < 0:
        raise CorruptRecordError(f"Found invalid number of record headers {count}")
    for _ in range(count):
        name, at = _bytes(buffer, at)
        if name is None:
            raise CorruptRecordError("Invalid negative header key size")
        value, at = _bytes(buffer, at)
        headers.append((name.decode(errors="backslashreplace"), value))
    return at


memory_records.DefaultRecordBatch = RecordBatch
