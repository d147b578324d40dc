from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livesegments.features.record_codec import (
    NEVER,
    RecordFormatError,
    Records,
    RecordShape,
    decode,
    empty,
    encode,
    may_be_profiled,
    memory_dtype,
)

TILES = 30
SHAPE = RecordShape(TILES, 5, 5)
NARROW_BYTES = 250


def record(**fields: Any) -> Records:
    """One record with some fields set."""
    records = empty(1, SHAPE)
    for name, value in fields.items():
        records[name] = value
    return records


def same(a: Records, b: Records) -> bool:
    """Return whether all fields are equal, with NaN equal to NaN."""
    return all(
        np.array_equal(a[name], b[name], equal_nan=name in ("age", "income", "urbanicity", "gaps"))
        for name in memory_dtype(SHAPE).names or ()
    )


int8 = st.integers(-1, 4)
int64 = st.integers(-(2**63), 2**63 - 1)
any_record = st.builds(
    record,
    head=st.integers(0, 2**31 - 1),
    profile_updated=int64,
    age=st.sampled_from([np.nan, 0.0, 17.5, 64.25, 130.0]),
    income=st.just(np.nan) | st.floats(1e-3, 1e12),
    urbanicity=st.sampled_from([np.nan, 0.0, 0.5, 1.0]),
    marketing=st.integers(-1, 1),
    profiling=st.integers(-1, 1),
    erased=st.booleans(),
    suppressed=st.booleans(),
    cluster=int8,
    segment=int8,
    generation=int64,
    since=int64,
    version=int64,
    vector=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=5, max_size=5),
    place=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=5, max_size=5),
    gaps=st.lists(st.just(np.nan) | st.floats(-60_000, 0, width=16), min_size=5, max_size=5),
    counts=st.lists(st.integers(0, 300), min_size=TILES, max_size=TILES),
    cents=st.lists(st.integers(-(2**33), 2**33), min_size=TILES, max_size=TILES)
    | st.lists(st.integers(-1000, 1000), min_size=TILES, max_size=TILES),
)


@given(st.lists(any_record, min_size=1, max_size=4))
def test_records_come_back_from_their_bytes(parts: list[Records]) -> None:
    records = np.concatenate(parts)
    assert same(decode(encode(records), SHAPE), records)


def test_an_ordinary_record_takes_250_bytes() -> None:
    ordinary = record(counts=255, cents=2**31 - 1)
    assert [len(blob) for blob in encode(ordinary)] == [NARROW_BYTES]
    assert [len(blob) for blob in encode(record(cents=-(2**31) + 1))] == [NARROW_BYTES]


@pytest.mark.parametrize(
    "fields", [{"counts": 256}, {"cents": 2**31}, {"cents": -(2**31)}, {"cents": -(2**40)}]
)
def test_a_record_too_large_for_that_is_stored_wide(fields: dict[str, int]) -> None:
    records = record(**fields)
    [blob] = encode(records)
    assert len(blob) > NARROW_BYTES
    assert same(decode([blob], SHAPE), records)


def test_a_wide_record_turns_narrow_again() -> None:
    records = decode(encode(record(counts=300)), SHAPE)
    records["counts"] = 3
    assert len(encode(records)[0]) == NARROW_BYTES


def test_none_is_an_empty_record_wherever_it_stands() -> None:
    known = encode(record(head=7, counts=1))[0]
    wide = encode(record(head=8, counts=999))[0]
    records = decode([None, known, None, wide, None], SHAPE)
    assert records["head"].tolist() == [0, 7, 0, 8, 0]
    assert records["profile_updated"].tolist() == [NEVER] * 5
    assert same(decode([None], SHAPE), empty(1, SHAPE))
    assert len(decode([], SHAPE)) == 0
    assert encode(empty(0, SHAPE)) == []


def test_a_record_of_a_newer_format_is_refused_with_the_way_out() -> None:
    blob = b"\x05" + encode(record())[0][1:]
    with pytest.raises(RecordFormatError, match=r"format 5 .*run that one, or rebuild this store"):
        decode([encode(record())[0], blob], SHAPE)
    with pytest.raises(RecordFormatError, match="format 0 "):
        decode([b""], SHAPE)


@pytest.mark.parametrize("fmt", [1, 2])
def test_a_record_of_an_earlier_format_is_refused_with_the_way_out(fmt: int) -> None:
    blob = bytes([fmt]) + encode(record())[0][1:220]
    with pytest.raises(RecordFormatError, match=r"earlier version.*livesegments rebuild"):
        decode([blob], SHAPE)


@pytest.mark.parametrize("size", [249, 251, 220])
def test_a_record_of_another_length_is_refused_naming_the_setting(size: int) -> None:
    blob = encode(record())[0].ljust(300, b"\0")[:size]
    with pytest.raises(
        RecordFormatError,
        match=rf"{size} bytes where 30 tiles and 5 features need 250.*LIVESEGMENTS_TILES",
    ):
        decode([blob], SHAPE)


def test_another_number_of_tiles_is_refused() -> None:
    with pytest.raises(RecordFormatError, match="LIVESEGMENTS_TILES"):
        decode(encode(empty(1, RecordShape(10, 5, 5))), SHAPE)


def test_a_customer_may_be_profiled_unless_they_said_no_or_are_suppressed() -> None:
    records = empty(4, SHAPE)
    records["profiling"] = [-1, 0, 1, 1]
    records["suppressed"] = [False, False, False, True]
    assert may_be_profiled(records).tolist() == [True, False, True, False]
