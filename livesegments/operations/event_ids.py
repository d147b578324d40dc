"""Repeated event ids, in files and in the dedup rings of the store."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livesegments.contracts.decode import decode_purchases
from livesegments.contracts.partitioning import hash_keys
from livesegments.features.dedup import CONTENT_BITS, DedupWindow, Hashes, fingerprints, hashes_of

REMEMBERED = 1_000_000
SHOWN = 3

ADVICE = (
    "an order number, an invoice number or a placeholder is no event id: sum line items up to one"
    " event, and give a refund and each shop's events ids of their own (docs/contracts.md)"
)


class EventIdCheck:
    """Counts purchases that have the event id of an earlier one, or that a worker will refuse.

    ``repeats`` have the same content and are skipped; ``conflicts`` have other content and count.
    ``examples`` are the first ids in conflict. ``refused`` counts by the reason.
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._seen = DedupWindow(REMEMBERED)
        self.repeats = self.conflicts = 0
        self.examples: list[str] = []
        self.refused: Counter[str] = Counter()

    def add(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Add purchases as they are sent."""
        arrival = [time.time_ns() // 1_000_000] * len(keys)
        found, refused = decode_purchases(keys, values, arrival, currency=self._currency)
        self.refused.update(each.message for each in refused)
        customers = hash_keys([name.encode() for name in found.customer_id], "murmur2")
        hashes = fingerprints(
            hashes_of(found.event_id), customers, found.occurred_at, found.cents, found.count
        )
        self._seen, repeated, conflicting = self._seen.after(hashes)
        self.repeats += int(np.count_nonzero(repeated))
        self.conflicts += int(np.count_nonzero(conflicting))
        for row in np.flatnonzero(conflicting)[: SHOWN - len(self.examples)].tolist():
            self.examples.append(found.event_id[row])


@dataclass(frozen=True, slots=True)
class RingCounts:
    """Repeats among the purchases in dedup rings.

    ``repeats`` have the id and the content of an earlier one, ``conflicts`` its id and other
    content. ``ids`` are the sorted hashes of the ids in conflict.
    """

    purchases: int
    repeats: int
    conflicts: int
    ids: Hashes

    @classmethod
    def of(cls, rings: Sequence[bytes]) -> "RingCounts":
        """Count in the ring of each partition."""
        purchases = repeats = conflicts = 0
        in_conflict: list[Hashes] = [np.empty(0, np.uint64)]
        for ring in rings:
            seen = np.frombuffer(ring[: len(ring) // 8 * 8], "<u8")
            ids, contents = np.unique(np.unique(seen) >> CONTENT_BITS, return_counts=True)
            purchases += len(seen)
            repeats += len(seen) - int(contents.sum())
            conflicts += int(contents.sum()) - len(ids)
            in_conflict.append(ids[contents > 1])
        return cls(purchases, repeats, conflicts, np.unique(np.concatenate(in_conflict)))

    def named(self, event_ids: list[str]) -> list[str]:
        """Return the first of some event ids that are in conflict."""
        where = np.isin(hashes_of(event_ids) >> CONTENT_BITS, self.ids)
        return list(dict.fromkeys(event_ids[row] for row in np.flatnonzero(where)))[:SHOWN]
