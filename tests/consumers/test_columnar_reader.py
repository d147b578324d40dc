"""Batches decode as in kafka-python, and batches it cannot read decode too.

A new kafka-python that changes the code this relies on fails here.
"""

import gzip
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.util import decode_varint

from livesegments.consumers import columnar_reader
from livesegments.consumers.columnar_reader import (
    WORTH_COLUMNS,
    Batches,
    PartitionRecords,
    RecordBatch,
    WholeBatch,
)
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
    # Drawing many records one by one is slow; a few records cover their contents.
    lambda few, many: few * many,
    st.lists(content, min_size=1, max_size=10),
    st.integers(1, 2 * WORTH_COLUMNS),
)
many = st.lists(content, min_size=1, max_size=10).map(lambda few: few * WORTH_COLUMNS)
KAFKA_PYTHON = Fetcher.PartitionRecords
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
    # Corruption here must not already be caught by the checksum.
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


class TheirBatch(DefaultRecordBatch):  # type: ignore[misc]
    """kafka-python's batch with two fixes: attributes are a byte, offsets are the broker's."""

    __slots__ = ()

    def _read_msg(self, decode_varint: Any = decode_varint) -> Any:
        numbers = count()

        def read(buffer: bytes, at: int) -> Any:
            return (buffer[at], at + 1) if next(numbers) == 1 else decode_varint(buffer, at)

        record = super()._read_msg(read)
        record._offset = self.base_offset + self._next_record_index
        return record


class Theirs(KAFKA_PYTHON):  # type: ignore[misc, valid-type]
    """kafka-python's reader with that batch."""

    def _unpack_records(self, tp: TopicPartition, records: Any, *more: Any) -> Any:
        return super()._unpack_records(tp, Batches(records, TheirBatch), *more)


def assert_read_like_theirs(
    ours: list[Any],
    theirs: list[Any],
    refused: Exception | None,
    last_offset: int,
    is_cut: bool = False,
) -> None:
    """Compare the records of a batch with kafka-python's, which may have stopped at one."""
    what = [(each.key, each.value, each.headers, each.offset) for each in ours]
    known = [(each.key, each.value, each.headers, each.offset) for each in theirs]
    if is_cut and refused is not None and what[: len(known)] != known:
        known.pop()  # it accepts a truncated last record
    assert what[: len(known)] == known
    if refused is None:
        assert len(ours) == len(theirs)
    elif "UnicodeDecodeError" not in str(refused) and "after all records" not in str(refused):
        [unreadable] = ours[len(known) :]
        assert (unreadable.key, unreadable.offset) == (None, last_offset)


@given(contents, st.data())
def test_a_batch_cut_or_changed_anywhere_is_read_as_far_as_theirs(
    records: list[Content], data: st.DataObject
) -> None:
    whole = bytearray(batch_of(records))
    at = data.draw(st.integers(DefaultRecordBatch.HEADER_STRUCT.size, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(whole)) | st.integers(at, len(whole)))
    theirs: list[Any] = []
    refused = None
    try:
        theirs.extend(TheirBatch(bytes(whole[:cut])))
    except CorruptRecordError as error:
        refused = error
    ours = list(RecordBatch(bytes(whole[:cut])))
    assert_read_like_theirs(ours, theirs, refused, len(records) - 1, is_cut=cut < len(whole))


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


def number(value: int, bits: int = 64) -> bytes:
    """Encode a number as in a record."""
    raw, data = (value << 1 ^ value >> bits) & (1 << bits) - 1, bytearray()
    while raw >= 0x80:
        data.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*data, raw])


def raw_record(
    attributes: int = 0,
    since: int = 0,
    place: int = 0,
    value: bytes = b"\x0avalue",
    length: int | None = None,
) -> bytes:
    """Encode a record as no client would."""
    data = bytes([attributes]) + number(since) + number(place) + b"\x06key" + value + b"\x00"
    return number(len(data) if length is None else length) + data


def raw_batch(*records: bytes, first_timestamp: int = 1_000, after: bytes | None = None) -> bytes:
    """Encode a batch of records, optionally with gzip and with trailing bytes."""
    head = bytearray(batch_of([(b"k", b"v", [], first_timestamp)] * len(records))[:61])
    head[27:35] = first_timestamp.to_bytes(8, "big", signed=True)
    body = b"".join(records)
    if after is not None:
        head[22] |= DefaultRecordBatch.CODEC_GZIP
        body = gzip.compress(body) + after
    head[8:12] = (len(head) - 12 + len(body)).to_bytes(4, "big")
    return bytes(head) + body


@pytest.mark.parametrize("n", [1, 2, WORTH_COLUMNS])
@pytest.mark.parametrize(
    ("odd", "timestamp"),
    [
        (raw_record(attributes=0x80), 1_000),
        (raw_record(attributes=0xFF), 1_000),
        (raw_record(place=1_000_000), 1_000),
        (raw_record(place=-1), 1_000),
        (raw_record(value=b"\x8a\x80\x80\x80\x70value"), 1_000),
        (raw_record(since=2**63 - 1), 1_000 + 2**63 - 1 - 2**64),
    ],
    ids=["attributes", "all attributes", "far offset", "earlier offset", "lost bits", "far time"],
)
def test_what_a_broker_takes_is_read_as_the_broker_reads_it(
    n: int, odd: bytes, timestamp: int
) -> None:
    plain = [raw_record(place=i) for i in range(n)]
    records = read(raw_batch(*plain, odd))
    assert [record.offset for record in records] == list(range(n + 1))
    assert {(record.key, record.value) for record in records} == {(b"key", b"value")}
    assert records[-1].timestamp == timestamp


def test_the_offsets_of_a_compacted_batch_are_those_it_has_and_never_beyond_its_last() -> None:
    for n in (2, WORTH_COLUMNS):
        data = bytearray(raw_batch(*(raw_record(place=3 * i) for i in range(n))))
        data[23:27] = (3 * n - 5).to_bytes(4, "big")
        offsets = [record.offset for record in read(bytes(data))]
        assert offsets == [min(3 * i, 3 * n - 5) for i in range(n)]


@pytest.mark.parametrize("n", [0, 1, WORTH_COLUMNS])
@pytest.mark.parametrize("after", [None, b""], ids=["plain", "gzip"])
@pytest.mark.parametrize("length", [0, 3, -1, 500, 2**31 - 1])
def test_what_cannot_be_read_of_a_batch_is_one_record_without_key(
    n: int, after: bytes | None, length: int
) -> None:
    plain = [raw_record(place=i) for i in range(n)]
    rest = [raw_record(length=length), raw_record()]
    records = read(raw_batch(*plain, *rest, after=after))
    assert [record.value for record in records] == [b"value"] * n + [b"".join(rest)]
    assert (records[-1].key, records[-1].offset) == (None, n + 1)


@pytest.mark.parametrize("n", [1, WORTH_COLUMNS])
def test_a_batch_that_cannot_be_uncompressed_is_one_record_too(n: int) -> None:
    batch = raw_batch(*(raw_record(place=i) for i in range(n)), after=b"no gzip")
    [record] = read(batch)
    assert (record.key, record.value, record.offset) == (None, batch[61:], n - 1)


@pytest.mark.parametrize("compression", [1, 4], ids=["gzip", "zstd"])
def test_a_batch_that_would_fill_the_memory_is_one_record_without_key(
    monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    data = batch_of([(b"key", b"x" * 3_000_000, [], 0)] * 3, compression)
    assert [len(record.value) for record in read(data)] == [3_000_000] * 3
    monkeypatch.setattr(columnar_reader, "MOST_UNCOMPRESSED_BYTES", 9_000_000)
    [record] = read(data)
    assert (record.key, record.offset) == (None, 2)
    assert data[61:].startswith(record.value)


def test_kafka_python_itself_refuses_such_a_name() -> None:
    """One reason for the columnar reader; obsolete once kafka-python accepts such a name."""
    with pytest.raises(CorruptRecordError, match="UnicodeDecodeError"):
        list(DefaultRecordBatch(batch_of(with_headers([(RawName(b"\xff"), b"1")]))))


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
    for portion in [*portions, 2_000]:
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
    """Brokers accept such timestamps; values beyond 64 bits fit into no column."""
    data = bytearray(batch_of([(b"key", b"value", [], 0), (b"key", b"value", [], since)] * n))
    data[27:35] = first.to_bytes(8, "big", signed=True)
    assert {each.timestamp for each in read(bytes(data))} == {
        first,
        (first + since + 2**63) % 2**64 - 2**63,
    }


@given(many, st.data())
def test_a_large_batch_changed_anywhere_is_handed_out_as_far_as_theirs(
    records: list[Content], data: st.DataObject
) -> None:
    changed = bytearray(batch_of(records))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(DefaultRecordBatch.HEADER_STRUCT.size, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    theirs, refused = fetched(Theirs, bytes(changed)), None
    found = []
    try:
        found = theirs.take()
        theirs._maybe_raise_next_inline_exception()
    except CorruptRecordError as error:
        refused = error
    assert_read_like_theirs(read(bytes(changed)), found, refused, len(records) - 1)


def test_a_consumer_with_deserializers_gets_what_they_make() -> None:
    class Upper:
        def deserialize(self, _topic: str, _headers: Any, data: bytes) -> str:
            return data.decode().upper()

    data = batch_of(with_headers(*([] for _ in range(100))))
    assert {each.key for each in fetched(PartitionRecords, data, deserializer=Upper()).take()} == {
        "KEY"
    }
