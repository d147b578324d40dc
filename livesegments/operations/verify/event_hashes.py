"""SipHash-2-4 of event ids, written apart from the worker's, which it checks."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

# The key and the finalizer are those of `pandas.util.hash_array`, as in every store.
_KEY = b"0123456789123456"


def hash_ids(ids: Sequence[str]) -> Words:
    """Return the hash of each id, shape (n,), as the dedup ring holds it."""
    by_length: dict[int, list[int]] = defaultdict(list)
    encoded = [each.encode() for each in ids]
    for place, text in enumerate(encoded):
        by_length[len(text)].append(place)
    hashes = np.empty(len(ids), np.uint64)
    for length, places in by_length.items():
        tail = bytes(7 - length % 8) + bytes([length % 256])
        joined = b"".join(encoded[place] + tail for place in places)
        hashes[places] = _finalize(_siphash(np.frombuffer(joined, "<u8").reshape(len(places), -1)))
    return hashes


def _siphash(messages: Words) -> Words:
    k0, k1 = (int.from_bytes(_KEY[at : at + 8], "little") for at in (0, 8))
    rows = np.zeros(len(messages), np.uint64)
    a = rows ^ np.uint64(k0 ^ 0x736F6D6570736575)
    b = rows ^ np.uint64(k1 ^ 0x646F72616E646F6D)
    c = rows ^ np.uint64(k0 ^ 0x6C7967656E657261)
    d = rows ^ np.uint64(k1 ^ 0x7465646279746573)
    for word in messages.T:
        d = d ^ word
        for _ in range(2):
            a, b, c, d = _sipround(a, b, c, d)
        a = a ^ word
    c = c ^ np.uint64(0xFF)
    for _ in range(4):
        a, b, c, d = _sipround(a, b, c, d)
    return a ^ b ^ c ^ d


def _sipround(a: Words, b: Words, c: Words, d: Words) -> tuple[Words, Words, Words, Words]:
    a, c = a + b, c + d
    b, d = _left(b, 13) ^ a, _left(d, 16) ^ c
    a = _left(a, 32)
    c, a = c + b, a + d
    b, d = _left(b, 17) ^ c, _left(d, 21) ^ a
    return a, b, _left(c, 32), d


def _left(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _finalize(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
