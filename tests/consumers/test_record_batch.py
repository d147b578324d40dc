"""Batches are read as kafka-python reads them, and header names of any bytes besides.

A kafka-python that changes what this rests on shows here.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from consumers.record_batch import Record, RecordBatch
from tests.service import RawName

Header = tuple[str, bytes | None]
Content = tuple[bytes | None, bytes | None, list[Header], int]

some_bytes = st.none() | st.binary(max_size=300)
contents = st.lists(
    st.tuples(
        some_bytes,
        some_bytes,
        st.lists(st.tuples(st.text(max_size=8), some_bytes), max_size=3),
        st.integers(0, 2**41),
    ).filter(lambda content: content[:2] != (None, None)),
    min_size=1,
    max_size=150,
)
WHAT = ("offset", "timestamp", "timestamp_type", "key", "value", "headers", "size_in_bytes")


def batch_of(records: list[Content], compression: int = 0, appended_at: int | None = None) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 10_000_000)
    for offset, (key, value, headers, timestamp) in enumerate(records):
        assert builder.append(offset, timestamp, key, value, headers)
    data = bytearray(builder.build())
    if appended_at is not None:
        data[22] |= DefaultRecordBatch.TIMESTAMP_TYPE_MASK
        data[35:43] = appended_at.to_bytes(8, "big")
    return bytes(data)


def with_headers(*records: list[Header]) -> list[Content]:
    return [(b"key", b"value %d" % i, headers, 1_000 + i) for i, headers in enumerate(records)]


def read(data: bytes) -> list[Record]:
    return [record for batch in MemoryRecords(data) for record in batch]


@given(contents, st.sampled_from([0, 1]), st.none() | st.integers(0, 2**41))
def test_both_readers_read_the_same(
    records: list[Content], compression: int, appended_at: int | None
) -> None:
    data = batch_of(records, compression, appended_at)
    ours, theirs = list(RecordBatch(data)), list(DefaultRecordBatch(data))
    assert [[getattr(each, name) for name in WHAT] for each in ours] == [
        [getattr(each, name) for name in WHAT] for each in theirs
    ]
    assert [(each.key, each.value) for each in ours] == [record[:2] for record in records]
    for record in ours:
        assert type(record.key) is not bytearray
        assert type(record.value) is not bytearray


@given(contents, st.data())
def test_a_batch_cut_or_changed_anywhere_is_refused_or_read_like_theirs(
    records: list[Content], data: st.DataObject
) -> None:
    whole = bytearray(batch_of(records))
    at = data.draw(st.integers(DefaultRecordBatch.HEADER_STRUCT.size, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(whole)) | st.integers(at, len(whole)))
    changed = bytes(whole[:cut])
    try:
        theirs = [(each.key, each.value, each.offset) for each in DefaultRecordBatch(changed)]
    except CorruptRecordError as error:
        if "UnicodeDecodeError" not in str(error):
            with pytest.raises(CorruptRecordError):
                list(RecordBatch(changed))
    else:
        assert [(each.key, each.value, each.offset) for each in RecordBatch(changed)] == theirs


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_a_header_name_that_is_not_utf_8_is_read_with_its_bytes_written_out(
    compression: int,
) -> None:
    odd: list[Header] = [("ok", b"1"), (RawName(b"a\xff\xfe"), b"2"), (RawName(b"\xc3"), None)]
    records = read(batch_of(with_headers([], odd, [("é", b"3")]), compression))
    assert [record.value for record in records] == [b"value 0", b"value 1", b"value 2"]
    assert [record.headers for record in records] == [
        [],
        [("ok", b"1"), ("a\\xff\\xfe", b"2"), ("\\xc3", None)],
        [("é", b"3")],
    ]


def test_a_record_that_is_broken_otherwise_is_still_refused() -> None:
    data = bytearray(batch_of(with_headers([(RawName(b"\xff"), b"1")])))
    data[-2] = 0x06  # a header value longer than what is left
    with pytest.raises(CorruptRecordError, match="Invalid record size"):
        read(bytes(data))


def test_records_before_a_broken_one_are_read() -> None:
    data = bytearray(batch_of(with_headers([], [], [("name", b"1")])))
    data[-2] = 0x06
    found: list[Record] = []
    with pytest.raises(CorruptRecordError):
        found.extend(RecordBatch(bytes(data)))
    assert [record.value for record in found] == [b"value 0", b"value 1"]
    assert all(later.offset == earlier.offset + 1 for earlier, later in pairwise(found))


def test_kafka_python_itself_refuses_such_a_name_and_reads_through_our_batch() -> None:
    """When the first part fails, strictness is no reason for `consumers.record_batch` any more."""
    with pytest.raises(CorruptRecordError, match="UnicodeDecodeError"):
        list(DefaultRecordBatch(batch_of(with_headers([(RawName(b"\xff"), b"1")]))))
    [batch] = MemoryRecords(batch_of(with_headers([])))
    assert type(batch) is RecordBatch
