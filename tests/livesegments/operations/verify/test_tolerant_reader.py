"""The verifier reads what kafka-python reads, and the rest as the workers do, with other code."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import UnsupportedCodecError
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch

from livesegments.consumers.columnar_reader import PartitionRecords
from livesegments.operations.verify import tolerant_reader
from livesegments.operations.verify.tolerant_reader import TolerantRecords
from tests.consumers.test_columnar_reader import (
    Content,
    batch_of,
    contents,
    raw_batch,
    raw_record,
    with_headers,
)
from tests.service import RawName

HEADER = DefaultRecordBatch.HEADER_STRUCT.size


def read(reader: Any, data: bytes) -> list[ConsumerRecord]:
    portion = reader(0, TopicPartition("purchases.v1", 3), MemoryRecords(data), isolation_level=1)
    # Corruption here must not already be caught by the checksum.
    portion.check_crcs = False
    return portion.take()  # type: ignore[no-any-return]


@given(contents, st.sampled_from([0, 1, 4]), st.none() | st.integers(0, 2**41))
def test_what_kafka_python_reads_is_read_by_kafka_python(
    records: list[Content], compression: int, appended_at: int | None
) -> None:
    data = batch_of(records, compression, appended_at)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(tolerant_reader.TolerantBatch, "_singly")
        assert read(TolerantRecords, data) == read(Fetcher.PartitionRecords, data)


@given(contents, st.data())
def test_a_batch_changed_anywhere_is_read_as_workers_read_it(
    records: list[Content], data: st.DataObject
) -> None:
    changed = bytearray(batch_of(records))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(HEADER, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(changed)) | st.integers(HEADER, len(changed)))
    changed[8:12] = (cut - 12).to_bytes(4, "big")
    ours, workers = (
        read(each, bytes(changed[:cut])) for each in (TolerantRecords, PartitionRecords)
    )
    assert ours == workers


def test_a_value_that_its_batch_ends_within_is_no_shorter_value() -> None:
    data = bytearray(batch_of([(b"key", b"value", [("name", b"text")], 0)]))[:-1]
    data[8:12] = (len(data) - 12).to_bytes(4, "big")
    [record] = read(TolerantRecords, bytes(data))
    assert [record] == read(PartitionRecords, bytes(data))
    assert (record.key, record.headers) == (None, [])


ODD = {
    "attributes": raw_record(attributes=0x80),
    "all attributes": raw_record(attributes=0xFF),
    "far offset": raw_record(place=1_000_000),
    "earlier offset": raw_record(place=-1),
    "lost bits": raw_record(value=b"\x8a\x80\x80\x80\x70value"),
    "far time": raw_record(since=2**63 - 1),
    "no length": raw_record(length=0),
    "negative length": raw_record(length=-1),
    "long length": raw_record(length=2**31 - 1),
}


@pytest.mark.parametrize("n", [0, 1, 40])
@pytest.mark.parametrize("after", [None, b"", b"more"], ids=["plain", "gzip", "trailing bytes"])
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_what_only_a_broker_takes_is_read_as_workers_read_it(
    odd: bytes, after: bytes | None, n: int
) -> None:
    plain = [raw_record(place=i) for i in range(n)]
    data = raw_batch(*plain, odd, raw_record(place=n + 1), after=after)
    assert read(TolerantRecords, data) == read(PartitionRecords, data)


def test_the_offsets_of_a_compacted_batch_are_those_it_has_and_never_beyond_its_last() -> None:
    data = bytearray(raw_batch(*(raw_record(place=3 * i) for i in range(5))))
    data[23:27] = (10).to_bytes(4, "big")
    assert [record.offset for record in read(TolerantRecords, bytes(data))] == [0, 3, 6, 9, 10]


def test_a_header_name_that_is_not_utf_8_is_read_with_its_bytes_written_out() -> None:
    data = batch_of(with_headers([], [(RawName(b"a\xff\xfe"), b"2"), (RawName(b"\xc3"), None)]))
    plain, odd = read(TolerantRecords, data)
    assert (plain.value, plain.headers) == (b"value 0", [])
    assert (odd.value, odd.headers) == (b"value 1", [("a\\xff\\xfe", b"2"), ("\\xc3", None)])


def test_a_batch_that_cannot_be_uncompressed_is_one_record_without_key() -> None:
    batch = raw_batch(*(raw_record(place=i) for i in range(3)), after=b"no gzip")
    [record] = read(TolerantRecords, batch)
    assert (record.key, record.value, record.offset) == (None, batch[HEADER:], 2)


@pytest.mark.parametrize("compression", [1, 4], ids=["gzip", "zstd"])
def test_a_batch_that_would_fill_the_memory_is_one_record_without_key(
    monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    data = batch_of([(b"key", b"x" * 3_000_000, [], 0)] * 3, compression)
    assert [len(record.value) for record in read(TolerantRecords, data)] == [3_000_000] * 3
    monkeypatch.setattr(tolerant_reader, "MOST_BYTES", 9_000_000)
    [record] = read(TolerantRecords, data)
    assert (record.key, record.offset) == (None, 2)
    assert data[HEADER:].startswith(record.value)


def test_a_codec_that_is_not_installed_is_an_error_and_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = batch_of([(b"key", b"x" * 1_000, [], 0)], 4)
    monkeypatch.setattr("kafka.codec.zstd", None)
    with pytest.raises(UnsupportedCodecError):
        read(TolerantRecords, data)
