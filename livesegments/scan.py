"""Walk over all customers as the store has them, in batches of arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from sys import maxsize

import numpy as np
from numpy.typing import NDArray

from consumers.seen import Seen, hashes_of
from features.erasures import Marker, marker_key
from features.record import Records, decode
from store.deployment import Deployment
from store.partitions import Partitions, Want

CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some customers of one partition: ids and records (n,), and the partition's clock."""

    names: list[str]
    records: Records
    clock_us: int

    def where(self, kept: NDArray[np.bool_]) -> "Stretch":
        """Return those that are kept, by a flag each."""
        return Stretch(list(compress(self.names, kept)), self.records[kept], self.clock_us)


def scan(store: Partitions, deployment: Deployment) -> Iterator[Stretch]:
    """Yield every customer once, but for those who must not be profiled until restored.

    Memory is bounded: a batch, and 16 bytes for each customer of one partition.
    """
    for partition in range(deployment.partitions):
        loaded = store.load(partition)
        if loaded.progress is None:
            continue
        # HSCAN may give a customer twice while the hash grows. Of a million customers the chance
        # that two share a hash, so that one is missed, is 3e-8.
        seen = Seen(size=maxsize)
        customers = store.customers(partition, CHUNK)
        while chunk := list(islice(customers, CHUNK)):
            seen, again = seen.after(hashes_of([name for name, _ in chunk]))
            new = list(compress(chunk, ~again))
            names = [name for name, _ in new]
            records = decode([blob for _, blob in new], deployment.tiles)
            stretch = Stretch(names, records, loaded.progress.clock_us)
            if loaded.erasures:
                markers = markers_of(store, partition, names)
                stretch = stretch.where(np.array([not m.suppressed for m in markers], np.bool_))
            if stretch.names:
                yield stretch


def markers_of(store: Partitions, partition: int, names: Sequence[str]) -> list[Marker]:
    """Return what is remembered of each customer's erasure requests."""
    keys = [marker_key(name, store.keys.group_id) for name in names]
    [reading] = store.read([Want(partition, (), keys)])
    return [Marker.from_bytes(stored) for stored in reading.erasures] if keys else []
