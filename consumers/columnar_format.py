"""Kafka's record format 2 (https://kafka.apache.org/documentation/#record), scalar and columnar."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from kafka.record.util import decode_varint
from numpy.typing import NDArray

Int = NDArray[np.int64]
Headers: TypeAlias = list[tuple[str, bytes | None]]
Number: TypeAlias = Callable[[bytes, int], tuple[int, int]]
"""Reads a number at a position; returns it and the position after it."""

LEAST_BYTES = 6
"""Minimum size of a record: attributes, two deltas, two sizes and a header count."""
MOST_BITS = 8 * 7
"""Maximum bits of a number read as columns; the format allows 64."""


def bounds(buffer: bytes, at: int, records: int) -> tuple[Int, Int]:
    """Return the start of each record, after its length field, and its end."""
    starts, ends = [], []
    for _ in range(records):
        first, second = buffer[at], buffer[at + 1]
        # Most lengths take two bytes.
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


def varints(octets: NDArray[np.uint8], at: Int) -> tuple[Int, Int]:
    """Read a number at each position; return the numbers and the positions after them."""
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


def slices(buffer: bytes, at: Int, sizes: Int) -> list[bytes | None]:
    """Return the given number of bytes from each position; a negative size is null."""
    ends = (at + sizes).tolist()
    return [
        buffer[start:end] if end >= start else None
        for start, end in zip(at.tolist(), ends, strict=True)
    ]


def read_record(
    buffer: bytes, at: int, number: Number
) -> tuple[int, int, int, bytes | None, bytes | None, Headers, int] | None:
    """Read a record: length, timestamp and offset deltas, contents and the position after it."""
    try:
        length, at = number(buffer, at)
        end = at + length
        since, at = integer(buffer, at + 1, bits=64)  # skip the attributes byte, which is unused
        offset, at = number(buffer, at)
        key, at = read_bytes(buffer, at, number)
        value, at = read_bytes(buffer, at, number)
        headers, at = read_headers(buffer, at, number)
    except (ValueError, IndexError):
        return None
    if at != end or end > len(buffer):
        return None
    return length, since, offset, key, value, headers, at


def integer(buffer: bytes, at: int, bits: int = 32) -> tuple[int, int]:
    """Read a number, dropping excess bits of its type as a broker does."""
    number, at = decode_varint(buffer, at)
    if number >> bits - 1 not in (0, -1):
        raw = (number << 1 ^ -(number < 0)) & (1 << bits) - 1
        number = raw >> 1 ^ -(raw & 1)
    return number, at


def wrapped(number: int) -> int:
    """Return a sum wrapped to 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def read_bytes(buffer: bytes, at: int, number: Number) -> tuple[bytes | None, int]:
    """Read a length and as many bytes; a negative length is null."""
    length, at = number(buffer, at)
    if length < 0:
        return None, at
    return buffer[at : at + length], at + length


def read_headers(buffer: bytes, at: int, number: Number) -> tuple[Headers, int]:
    """Read headers; bytes of a name that are not UTF-8 are escaped."""
    headers: Headers = []
    count, at = number(buffer, at)
    if count < 0:
        raise ValueError(count)
    for _ in range(count):
        name, at = read_bytes(buffer, at, number)
        if name is None:
            raise ValueError(name)
        value, at = read_bytes(buffer, at, number)
        headers.append((name.decode(errors="backslashreplace"), value))
    return headers, at
