"""Scan of all customers in the store, in batches of arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from sys import maxsize

import numpy as np
from numpy.typing import NDArray

from livesegments.domain import record_shape
from livesegments.features.dedup import DedupWindow, hashes_of
from livesegments.features.erasures import Marker, marker_key
from livesegments.features.record_codec import Records, decode
from livesegments.store.checkpoint import Checkpoint
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions, ReadRequest

CHUNK = 2_000
SCANNED = 250
"""Customers of one HSCAN, during which a server answers no other client."""


@dataclass(frozen=True, slots=True)
class CustomerBatch:
    """A batch of customers of one partition: ids and records (n,), and the partition's clock.

    Purchases before ``counts_from_us`` (n,) do not count, by an erasure; 0 without one.
    """

    names: list[str]
    records: Records
    clock_us: int
    counts_from_us: NDArray[np.int64]

    def where(self, kept: NDArray[np.bool_]) -> "CustomerBatch":
        """Return the customers selected by a mask."""
        names = list(compress(self.names, kept))
        return CustomerBatch(names, self.records[kept], self.clock_us, self.counts_from_us[kept])


class UnsettledError(RuntimeError):
    """The store is being rebuilt and thus incomplete; the message says when to try again."""

    def __init__(self, partition: int) -> None:
        super().__init__(
            f"a recovery of partition {partition} is under way; try again when"
            " `livesegments doctor` says it is done"
        )


def settled(store: Partitions, deployment: Deployment) -> list[Checkpoint]:
    """Return the checkpoint of every partition; an empty list if none has had an owner yet.

    Raises `UnsettledError` if a partition is in recovery, or has no checkpoint although others do.
    """
    found = store.checkpoints(range(deployment.partitions))
    for partition, checkpoint in enumerate(found):
        if checkpoint.recovering if checkpoint else any(found):
            raise UnsettledError(partition)
    return [checkpoint for checkpoint in found if checkpoint]


def scan(store: Partitions, deployment: Deployment) -> Iterator[CustomerBatch]:
    """Yield every customer once, except those suppressed until a restore.

    Memory is bounded: one batch, and 16 bytes for each customer of one partition.

    Raises `UnsettledError` if a recovery is running; this may be detected after some customers were
    yielded.
    """
    if not settled(store, deployment):
        return
    for partition in range(deployment.partitions):
        loaded = store.load(partition)
        if loaded.checkpoint is None:
            raise UnsettledError(partition)
        # HSCAN may return a customer twice while the hash grows. Among a million customers the
        # probability that two share a hash, so that one is skipped, is 3e-8.
        seen = DedupWindow(size=maxsize)
        customers = store.customers(partition, SCANNED)
        while chunk := list(islice(customers, CHUNK)):
            seen, again, _ = seen.after(hashes_of([name for name, _ in chunk]))
            new = list(compress(chunk, ~again))
            names = [name for name, _ in new]
            records = decode([blob for _, blob in new], record_shape(deployment))
            found = markers_of(store, partition, names) if loaded.erasures else []
            cutoffs = np.array([each.cutoff_us for each in found] or [0] * len(names), np.int64)
            batch = CustomerBatch(names, records, loaded.checkpoint.clock_us, cutoffs)
            if found:
                batch = batch.where(np.array([not each.suppressed for each in found], np.bool_))
            if batch.names:
                yield batch
        if not settled(store, deployment):  # emptied meanwhile, for example by a rebuild
            raise UnsettledError(partition)


def markers_of(store: Partitions, partition: int, names: Sequence[str]) -> list[Marker]:
    """Return the erasure marker of each customer."""
    keys = [marker_key(name, store.group_id) for name in names]
    [reading] = store.read([ReadRequest(partition, (), keys)])
    return [Marker.from_bytes(stored) for stored in reading.erasures] if keys else []
