"""The rolling record of a customer: a NumPy structured row in memory, fixed-size bytes at rest.

In memory all rows are wide (64-bit counters). At rest a row uses the narrow format unless one of
its tiles does not fit: with 30 tiles that is 250 bytes, just within an allocator size class of
Redis. The first byte of every record is its format.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

NEVER = np.iinfo(np.int64).min
NARROW, WIDE = 3, 4
MOST_COUNT, MOST_CENTS = np.iinfo(np.uint8).max, np.iinfo(np.int32).max
"""Largest values of a tile in the narrow format."""
EARLIER = (1, 2)
"""Formats of earlier versions, without the place of the last change."""

Records = NDArray[np.void]


class RecordFormatError(ValueError):
    """A stored record has a format or length that this version cannot read."""


class RecordShape(NamedTuple):
    """Numbers of tiles, features and segments in a deployment's records."""

    tiles: int
    features: int
    segments: int


@cache
def memory_dtype(shape: RecordShape) -> np.dtype[np.void]:
    """Return the dtype of records in memory.

    ``head`` is the newest tile with a purchase; slot ``t % tiles`` of ``counts`` and ``cents``
    holds tile ``t`` of the ``tiles`` tiles that end at ``head``. ``cluster`` and ``vector`` are the
    customer's contribution to the statistics of ``generation`` (-1: none). ``segment``, ``since``
    (microseconds) and ``version`` are those last published (-1: none). ``place`` and ``gaps``
    are the customer's place at that change: the vector, and for each segment the squared distance
    to the published one less that to it; NaN if the place is not known. ``erased`` is set while the
    tombstone of an erasure is still to be published, and until a customer with data since is back;
    ``suppressed`` while a request forbids profiling. ``profile_updated`` is the time of the
    profile, or `NEVER` if there is none or an erasure covers it.
    """
    return np.dtype(
        [
            ("head", np.int64),
            ("profile_updated", np.int64),
            ("age", np.float16),
            ("income", np.float64),
            ("urbanicity", np.float32),
            ("marketing", np.int8),
            ("profiling", np.int8),
            ("erased", np.bool_),
            ("suppressed", np.bool_),
            ("cluster", np.int8),
            ("segment", np.int8),
            ("generation", np.int64),
            ("since", np.int64),
            ("version", np.int64),
            ("vector", np.int32, (shape.features,)),
            ("place", np.int32, (shape.features,)),
            ("gaps", np.float16, (shape.segments,)),
            ("counts", np.int64, (shape.tiles,)),
            ("cents", np.int64, (shape.tiles,)),
        ]
    )


@cache
def _stored_dtype(shape: RecordShape, fmt: int) -> np.dtype[np.void]:
    count: DTypeLike = np.uint8 if fmt == NARROW else "<i8"
    cents: DTypeLike = "<i4" if fmt == NARROW else "<i8"
    return np.dtype(
        [
            ("format", np.uint8),
            ("flags", np.uint8),  # from here on as in memory
            ("cluster", np.int8),
            ("segment", np.int8),
            ("head", "<i4"),
            ("profile_updated", "<i8"),
            ("age", "<f2"),
            ("income", "<f8"),
            ("generation", "<i8"),
            ("since", "<i8"),
            ("version", "<i8"),
            ("vector", "<i4", (shape.features,)),
            ("place", "<i4", (shape.features,)),
            ("gaps", "<f2", (shape.segments,)),
            ("counts", count, (shape.tiles,)),
            ("cents", cents, (shape.tiles,)),
        ]
    )


def empty(n: int, shape: RecordShape) -> Records:
    """Return ``n`` records of customers without any data."""
    records = np.zeros(n, memory_dtype(shape))
    records["profile_updated"] = NEVER
    for name in ("age", "income", "urbanicity"):
        records[name] = np.nan
    for name in ("marketing", "profiling", "cluster", "segment"):
        records[name] = -1
    forget_place(records, slice(None))
    return records


def forget_place(records: Records, rows: slice | NDArray[np.bool_]) -> None:
    """Forget the place of some customers at their last change, in place.

    Customers without a segment have none, and after an erasure or a lost store it is not known.
    """
    records["place"][rows], records["gaps"][rows] = 0, np.nan


def may_be_profiled(records: Records) -> NDArray[np.bool_]:
    """Mask, shape (n,), of customers who may be profiled: neither opted out nor suppressed."""
    consents = records["profiling"] != 0
    return np.asarray(consents & ~records["suppressed"], np.bool_)


def is_profiled(records: Records) -> NDArray[np.bool_]:
    """Mask, shape (n,), of customers with any profile field; after an erasure, only refusals."""
    known = ~np.isnan(records["age"]) | ~np.isnan(records["income"])
    known |= ~np.isnan(records["urbanicity"])
    known |= (records["marketing"] >= 0) | (records["profiling"] >= 0)
    return np.asarray(known, np.bool_)


def is_known(records: Records) -> NDArray[np.bool_]:
    """Mask, shape (n,), of customers with purchases, or a profile not covered by an erasure."""
    bought = records["counts"].any(axis=1) | records["cents"].any(axis=1)
    return np.asarray(bought | (records["profile_updated"] != NEVER), np.bool_)


def tiles_in_slots(heads: NDArray[np.int64], tiles: int) -> NDArray[np.int64]:
    """Return the tile that each slot holds, (n, tiles), of records with these heads, (n,)."""
    ends = heads[:, None]
    return np.asarray(ends - (ends - np.arange(tiles)) % tiles)


def encode(records: Records) -> list[bytes]:
    """Return the stored bytes of each record."""
    names = ("counts", "vector", "gaps")
    shape = RecordShape(*(records[name].shape[1] for name in names))
    wide = (records["counts"].max(axis=1, initial=0) > MOST_COUNT) | (
        np.abs(records["cents"]).max(axis=1, initial=0) > MOST_CENTS
    )
    location = np.nan_to_num(records["urbanicity"] * 2 + 1, nan=0).astype(np.uint8)
    marketing = (records["marketing"] + 1).astype(np.uint8)
    profiling = (records["profiling"] + 1).astype(np.uint8)
    erased = records["erased"].astype(np.uint8)
    suppressed = records["suppressed"].astype(np.uint8)
    flags = location | marketing << 2 | profiling << 4 | erased << 6 | suppressed << 7
    formats: list[tuple[int, slice | NDArray[np.bool_]]] = [(NARROW, slice(None))]
    if wide.any():
        formats = [(NARROW, ~wide), (WIDE, wide)]
    blobs = [b""] * len(records)
    for fmt, chosen in formats:
        rows = np.arange(len(records))[chosen].tolist()
        dtype = _stored_dtype(shape, fmt)
        stored = np.empty(len(rows), dtype)
        stored["format"], stored["flags"] = fmt, flags[chosen]
        for name in (dtype.names or ())[2:]:
            stored[name] = records[name][chosen]
        size, buffer = dtype.itemsize, stored.tobytes()
        for place, row in enumerate(rows):
            blobs[row] = buffer[place * size : (place + 1) * size]
    return blobs


def decode(blobs: Sequence[bytes | None], shape: RecordShape) -> Records:
    """Return the records of stored bytes; ``None`` gives an empty record.

    Raises
    ------
    RecordFormatError
        If a record has an unknown format, or its length does not match the shape.
    """
    records = empty(len(blobs), shape)
    rows_of: dict[int, list[int]] = {}
    for row, blob in enumerate(blobs):
        if blob is not None:
            rows_of.setdefault(blob[0] if blob else 0, []).append(row)
    for fmt, rows in sorted(rows_of.items()):
        if fmt in EARLIER:
            raise RecordFormatError(
                f"record format {fmt} is that of an earlier version: stop all workers and rebuild"
                " the store from Kafka: livesegments rebuild"
            )
        if fmt not in (NARROW, WIDE):
            raise RecordFormatError(
                f"record format {fmt} is not known here (known: {NARROW}, {WIDE}); it was written"
                " by a newer version: run that one, or rebuild this store from Kafka"
            )
        dtype = _stored_dtype(shape, fmt)
        found = [blobs[row] or b"" for row in rows]
        wrong = next((len(blob) for blob in found if len(blob) != dtype.itemsize), None)
        if wrong is not None:
            raise RecordFormatError(
                f"a record has {wrong} bytes where {shape.tiles} tiles and {shape.features}"
                f" features need {dtype.itemsize}; the store was written with another"
                " LIVESEGMENTS_TILES or LIVESEGMENTS_SEGMENTATION"
            )
        stored = np.frombuffer(b"".join(found), dtype)
        for name in (dtype.names or ())[2:]:
            records[name][rows] = stored[name]
        flags = stored["flags"]
        location = (flags & 3).astype(np.float32)
        records["urbanicity"][rows] = np.where(location > 0, (location - 1) / 2, np.nan)
        records["marketing"][rows] = (flags >> 2 & 3).astype(np.int8) - 1
        records["profiling"][rows] = (flags >> 4 & 3).astype(np.int8) - 1
        records["erased"][rows] = (flags >> 6 & 1).astype(np.bool_)
        records["suppressed"][rows] = (flags >> 7).astype(np.bool_)
    return records
