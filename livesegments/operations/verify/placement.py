"""Checks that each customer is in one partition, the one that the key belongs to."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TypeAlias
from zlib import crc32

from kafka.partitioner import murmur2

from livesegments.contracts.topics import INPUTS
from livesegments.operations.verify.reference import Erasure
from livesegments.operations.verify.report import Check
from livesegments.operations.verify.store_reader import Store

RESTORE = 2


Misplaced: TypeAlias = tuple[int, str, Erasure]
"""Partition and customer of a valid request that belongs to another partition, and the request."""


class Placement:
    """Partition of each customer under the deployment's partitioner."""

    def __init__(self, partitioner: str, partitions: int) -> None:
        self.partitioner, self.partitions = partitioner, partitions
        # A customer comes in many records, and this murmur2 takes microseconds.
        self.hash = cache(self._hash)

    def of(self, key: bytes) -> int:
        """Return the partition of a key."""
        mask = 0xFFFF_FFFF if self.partitioner == "crc32" else 0x7FFF_FFFF
        return (self.hash(key) & mask) % self.partitions

    def _hash(self, key: bytes) -> int:
        return crc32(key) if self.partitioner == "crc32" else int(murmur2(key)) & 0xFFFF_FFFF


def check_counts(check: Check, counts: Mapping[str, int], partitions: int) -> None:
    """Check that every input topic has as many partitions as when the deployment began."""
    for topic in INPUTS:
        check.that(
            counts[topic] == partitions,
            f"{topic} has {counts[topic]} partitions, and had {partitions} when the deployment"
            " began: customers are in other partitions now",
        )


def check_customers(
    check: Check, placement: Placement, partition: int, names: Iterable[str]
) -> None:
    """Check that customers with a record or a state in a partition belong to it."""
    for name in names:
        own = placement.of(name.encode())
        check.that(
            own == partition,
            f"partition {partition}, customer {name}: belongs to partition {own}"
            f" ({placement.partitioner})",
        )


def check_misplaced_erasures(
    check: Check,
    placement: Placement,
    stores: Mapping[int, Store],
    misplaced: Iterable[Misplaced],
    tile_us: int,
) -> None:
    """Check that nothing is left of a customer whose erasure came to another partition."""
    for partition, name, request in misplaced:
        if request.action == RESTORE:
            continue
        own = placement.of(name.encode())
        store = stores[own]
        _, records = store.records([name])
        _, marker = store.markers([name])[name]
        cutoff = (request.at // tile_us + 1) * tile_us
        arrived = marker is not None and marker[0] >= cutoff
        check.that(
            arrived or records[name] is None,
            f"partition {own}, customer {name}: is kept, and their erasure is in partition"
            f" {partition}, offset {request.offset}. Send it to the right one: livesegments"
            " dead-letters replay --reason wrong_partition",
        )
