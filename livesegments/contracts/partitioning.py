"""Partition of a customer's events, as producers choose it: by a hash of the key.

All events of a customer must be in one partition, whoever produced them. Kafka's clients have two
defaults:

- ``murmur2``: Java, Kafka Streams, Kafka Connect, kafka-python, KafkaJS, franz-go;
- ``crc32``: librdkafka (``consistent_random``), and with it the clients for Python, Go, .NET,
  Node.js and PHP that are built on it.

A record without a key goes to any partition. So does one with an empty key under librdkafka; Java
hashes it. No customer has an empty id, so both kinds are dead letters wherever they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Partitioner = Literal["murmur2", "crc32"]
KeyHashes = NDArray[np.uint32]

PARTITIONERS: tuple[Partitioner, ...] = ("murmur2", "crc32")

_SEED, _MULTIPLIER = np.uint32(0x9747B28C), np.uint32(0x5BD1E995)


def hash_keys(keys: Sequence[bytes], partitioner: Partitioner) -> KeyHashes:
    """Return the hash of each key, (n,)."""
    if partitioner == "crc32":
        return np.array([crc32(key) for key in keys], np.uint32)
    return _murmur2(keys)


@dataclass(frozen=True, slots=True)
class Partitioning:
    """Partitioner of the producers, and the number of partitions of each input topic.

    Examples
    --------
    >>> Partitioning("murmur2", 12).of_customer("42"), Partitioning("crc32", 12).of_customer("42")
    (4, 8)
    """

    partitioner: Partitioner
    partitions: int

    def of_hashes(self, hashes: KeyHashes) -> NDArray[np.int64]:
        """Return the partition of each key, (n,), by its hash."""
        if self.partitioner == "murmur2":
            # Java's hash is signed; its partitioner drops the sign.
            hashes = hashes & np.uint32(0x7FFF_FFFF)
        return (hashes % np.uint32(self.partitions)).astype(np.int64)

    def of_keys(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Return the partition of each key, (n,)."""
        return self.of_hashes(hash_keys(keys, self.partitioner))

    def of_customer(self, customer_id: str) -> int:
        """Return the partition of a customer."""
        return int(self.of_keys([customer_id.encode()])[0])


def _murmur2(keys: Sequence[bytes]) -> KeyHashes:
    """Return the murmur2 hash of each key as Kafka's Java client computes it, (n,)."""
    texts = np.array([*keys, b""], object)[:-1]
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    hashes = np.empty(len(keys), np.uint32)
    words = lengths >> 2
    # Keys of as many words together, so that a long one does not widen all others.
    for count in set(words.tolist()):
        rows = np.flatnonzero(words == count)
        blocks = texts[rows].astype(f"S{4 * (count + 1)}").view("<u4").reshape(-1, count + 1)
        hashes[rows] = _murmur2_of_words(blocks, lengths[rows])
    return hashes


def _murmur2_of_words(blocks: KeyHashes, lengths: NDArray[np.int64]) -> KeyHashes:
    """Hash rows of whole words and a last word of up to three bytes, (n, words + 1)."""
    hashes = lengths.astype(np.uint32) ^ _SEED
    for block in blocks.T[:-1]:
        word = block * _MULTIPLIER
        word ^= word >> np.uint32(24)
        word *= _MULTIPLIER
        hashes *= _MULTIPLIER
        hashes ^= word
    has_tail = lengths & 3 > 0
    hashes = np.where(has_tail, (hashes ^ blocks[:, -1]) * _MULTIPLIER, hashes)
    hashes ^= hashes >> np.uint32(13)
    hashes *= _MULTIPLIER
    hashes ^= hashes >> np.uint32(15)
    return hashes
