"""Batches are read as kafka-python reads them, and header names of any bytes besides.

A kafka-python that changes what this rests on shows here.
"""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from consumers.record_batch import WORTH_COLUMNS, PartitionRecords, Record, RecordBatch, WholeBatch
from tests.service import RawName

Header = tuple[str, bytes | None]
Content = tuple[bytes | None, bytes | None, list[Header], int]

some_bytes = st.none() | st.binary(max_size=300)
content = st.tuples(
    some_bytes,
    some_bytes,
    st.lists(st.tuples(st.text(max_size=8), some_bytes), max_size=3),
    st.integers(0, 2**41),
).filter(lambda content: content[:2] != (None, None))
contents = st.lists(content, min_size=1, max_size=40) | st.builds(
    # Many records drawn one by one take long; what they have is in these few.
    lambda few, many: few * many,
    st.lists(content, min_size=1, max_size=10),
    st.integers(1, 2 * WORTH_COLUMNS),
)
many = st.lists(content, min_size=1, max_size=10).map(lambda few: few * WORTH_COLUMNS)
KAFKA_PYTHON = PartitionRecords.__base__
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


def read(data: bytes) -> list[ConsumerRecord]:
    return fetched(PartitionRecords, data).take()  # type: ignore[no-any-return]


def fetched(reader: Any, data: bytes, fetch_offset: int = 0, deserializer: Any = None) -> Any:
    portion = reader(
        fetch_offset,
        TopicPartition("purchases.v1", 3),
        MemoryRecords(data),
        key_deserializer=deserializer,
        isolation_level=1,
    )
    # What is changed here is not to be noticed by its checksum already.
    portion.check_crcs = False
    return portion


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


def test_kafka_python_itself_refuses_such_a_name() -> None:
    """When it does not, strictness is no reason for `consumers.record_batch` any more."""
    with pytest.raises(CorruptRecordError, match="UnicodeDecodeError"):
        list(DefaultRecordBatch(batch_of(with_headers([(RawName(b"\xff"), b"1")]))))


def test_every_consumer_reads_what_it_fetched_by_ours() -> None:
    assert Fetcher.PartitionRecords is PartitionRecords
    assert KAFKA_PYTHON is not PartitionRecords


@given(
    st.lists(contents, min_size=1, max_size=3),
    st.sampled_from([0, 1]),
    st.none() | st.integers(0, 2**41),
    st.lists(st.integers(1, 50), min_size=1),
    st.integers(0, 40),
)
def test_what_was_fetched_is_handed_out_in_portions_as_kafka_python_does(
    batches: list[list[Content]],
    compression: int,
    appended_at: int | None,
    portions: list[int],
    fetch_offset: int,
) -> None:
    data = b"".join(batch_of(records, compression, appended_at) for records in batches)
    theirs, ours = (fetched(each, data, fetch_offset) for each in (KAFKA_PYTHON, PartitionRecords))
    for portion in [*portions, None]:
        if not theirs:
            break
        expected, got = theirs.take(portion), ours.take(portion)
        assert got == expected
        assert all(type(each) is ConsumerRecord for each in got)
        assert (ours.next_fetch_offset, bool(ours)) == (theirs.next_fetch_offset, bool(theirs))
    assert ours.records_read == theirs.records_read


@pytest.mark.parametrize("n", [1, WORTH_COLUMNS - 1, WORTH_COLUMNS, 500])
def test_columns_are_read_where_they_are_worth_it(n: int) -> None:
    batch = WholeBatch(batch_of(with_headers(*([] for _ in range(n)))))
    [first, *rest] = batch
    assert (first.checksum is not None) == (n >= WORTH_COLUMNS)
    assert len(rest) == (n - 1 if first.checksum is None else 0)


@pytest.mark.parametrize("timestamp", [2**40, 2**54, 2**55, 2**62])
def test_numbers_of_any_size_are_read(timestamp: int) -> None:
    records: list[Content] = [(b"key", None, [], 0)] * WORTH_COLUMNS
    data = batch_of([*records, (b"key", b"value", [], timestamp)])
    assert read(data) == fetched(KAFKA_PYTHON, data).take()
    assert read(data)[-1].timestamp == timestamp


@pytest.mark.parametrize("n", [1, WORTH_COLUMNS])
@pytest.mark.parametrize(("first", "since"), [(2**63 - 1, 5), (-(2**63), -5)])
def test_times_have_64_bits_whatever_is_added_up(n: int, first: int, since: int) -> None:
    """Brokers take such, and what has more bits fits into no column."""
    data = bytearray(batch_of([(b"key", b"value", [], 0), (b"key", b"value", [], since)] * n))
    data[27:35] = first.to_bytes(8, "big", signed=True)
    assert {each.timestamp for each in read(bytes(data))} == {
        first,
        (first + since + 2**63) % 2**64 - 2**63,
    }


def test_records_before_a_broken_one_are_read_of_a_large_batch_too() -> None:
    named: Header = ("name", b"1")
    data = bytearray(batch_of(with_headers(*([named] for _ in range(100)))))
    data[-2] = 0x06
    portion = fetched(PartitionRecords, bytes(data))
    assert [record.value for record in portion.take()] == [b"value %d" % i for i in range(99)]
    with pytest.raises(CorruptRecordError, match="Invalid record size"):
        portion.take()


@given(many, st.data())
def test_a_large_batch_changed_anywhere_is_handed_out_or_refused_like_theirs(
    records: list[Content], data: st.DataObject
) -> None:
    changed = bytearray(batch_of(records))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(DefaultRecordBatch.HEADER_STRUCT.size, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    taken = []
    for reader in (KAFKA_PYTHON, PartitionRecords):
        portion = fetched(reader, bytes(changed))
        found, error = [], None
        try:
            found = portion.take()
            portion._maybe_raise_next_inline_exception()
        except CorruptRecordError as refusal:
            error = refusal
        taken.append((found, error))
    (theirs, refused), (ours, also) = taken
    if "UnicodeDecodeError" not in str(refused):
        assert ours == theirs
        assert (also is None) == (refused is None)


def test_a_consumer_with_deserializers_gets_what_they_make() -> None:
    class Upper:
        def deserialize(self, _topic: str, _headers: Any, data: bytes) -> str:
            return data.decode().upper()

    data = batch_of(with_headers(*([] for _ in range(100))))
    assert {each.key for each in fetched(PartitionRecords, data, deserializer=Upper()).take()} == {
        "KEY"
    }
