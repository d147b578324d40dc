"""Header names of any bytes are read; a kafka-python that changes what this rests on shows here."""

import pytest
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from consumers.header_names import AnyHeaderNames
from tests.service import RawName

Header = tuple[str, bytes | None]


def batch_of(*records: list[Header], compression: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1_000_000)
    for offset, headers in enumerate(records):
        assert builder.append(offset, 1_000 + offset, b"key", b"value %d" % offset, headers)
    return bytes(builder.build())


def read(data: bytes) -> list[ConsumerRecord]:
    return [record for batch in MemoryRecords(data) for record in batch]


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_a_header_name_that_is_not_utf_8_is_read_with_its_bytes_written_out(
    compression: int,
) -> None:
    odd: list[Header] = [("ok", b"1"), (RawName(b"a\xff\xfe"), b"2"), (RawName(b"\xc3"), None)]
    records = read(batch_of([], odd, [("é", b"3")], compression=compression))
    assert [record.value for record in records] == [b"value 0", b"value 1", b"value 2"]
    assert [record.headers for record in records] == [
        [],
        [("ok", b"1"), ("a\\xff\\xfe", b"2"), ("\\xc3", None)],
        [("é", b"3")],
    ]
    for record in records:
        assert type(record.key) is type(record.value) is bytes


def test_a_record_that_is_broken_otherwise_is_still_refused() -> None:
    data = bytearray(batch_of([(RawName(b"\xff"), b"1")]))
    data[-2] = 0x06  # a header value longer than what is left
    with pytest.raises(CorruptRecordError, match="Invalid record size"):
        read(bytes(data))


def test_kafka_python_itself_refuses_such_a_name_and_reads_through_our_batch() -> None:
    """When the first part fails, `consumers.header_names` has had its day."""
    with pytest.raises(CorruptRecordError, match="UnicodeDecodeError"):
        list(DefaultRecordBatch(batch_of([(RawName(b"\xff"), b"1")])))
    [batch] = MemoryRecords(batch_of([]))
    assert type(batch) is AnyHeaderNames
