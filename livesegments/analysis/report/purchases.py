"""Purchases in the window by segment and category, and their quality."""

from collections.abc import Callable, Sequence
from typing import Any, NotRequired

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from livesegments.analysis.report.category_sets import PurchasedCategories
from livesegments.analysis.report.context import ReportContext
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.decode import Purchases, decode_purchases
from livesegments.contracts.partitioning import hash_keys
from livesegments.contracts.record_times import record_times_us
from livesegments.contracts.topics import PURCHASES
from livesegments.contracts.validation import FUTURE_TOLERANCE_US, without_mark
from livesegments.features.dedup import DedupWindow, fingerprints, hashes_of
from livesegments.features.record_codec import decode
from livesegments.model.types import Counts, Floats
from livesegments.operations.customer_scan import markers_of
from livesegments.rendering.formats import known
from livesegments.store.partitions import ReadRequest

MOST_CATEGORIES = 1_000
OTHERS = "(others)"
LEAST_EXPECTED = 5.0
"""Expected purchases below which a share is chance, as in a chi-squared test."""


class _Categorized(TypedDict):
    category: NotRequired[str | None]


_CATEGORY: TypeAdapter[_Categorized] = TypeAdapter(_Categorized)


class PurchaseStats:
    """Counts purchases by segment and category.

    Categories after the first thousand read are counted as one.

    Attributes
    ----------
    counts, cents
        (k, 1001) purchases of customers in a segment, in the window, by segment and category; the
        first column counts purchases without one, the others follow `names`.
    arrived
        Valid purchases that arrived since the window began, without repeats.
    duplicates
        Repeats of an `event_id`, where the deployment checks for them.
    late
        Purchases older than the window on arrival, which never count.
    behind
        Purchases on the topic that are not processed yet.
    """

    def __init__(self, context: ReportContext, bought: PurchasedCategories | None = None) -> None:
        k = len(context.rules.segment_ids)
        self._context, self._bought = context, bought
        self._column = {"": 0}
        self.counts, self.cents = np.zeros((2, k, MOST_CATEGORIES + 1), np.int64)
        self.arrived = self.duplicates = self.late = self.behind = 0

    @property
    def names(self) -> list[str]:
        """Categories, in the order in which they were read."""
        return list(self._column)[1:]

    def read(self, log: LogReader, progress: Callable[[int], None]) -> None:
        """Read the processed purchases of every partition's window."""
        layout = self._context.rules.layout
        total = 0
        for partition in range(self._context.deployment.partitions):
            loaded = self._context.store.load(partition)
            done = loaded.checkpoint
            if done is None:
                continue
            first_us = layout.end(layout.tile(done.clock_us) - layout.tiles)
            tp = TopicPartition(PURCHASES, partition)
            # A purchase dated later than this after its arrival is rejected.
            start = log.since(tp, first_us - FUTURE_TOLERANCE_US)
            self.behind += max(log.ends([tp])[tp] - done.purchases, 0)
            arrivals = _Arrivals(self._context)
            for batch in log.read({tp: (start, done.purchases)}):
                found = arrivals.add(batch[tp])
                found = found.where((found.occurred_at >= first_us) & (found.count > 0))
                segment = self._segments(partition, found, loaded.erasures > 0)
                self._count(found, segment, batch[tp])
                total += len(batch[tp])
                progress(total)
            self.arrived += arrivals.purchases
            self.duplicates += arrivals.duplicates
            self.late += arrivals.late

    def lift(self) -> Floats:
        """Return the lift, (k, names): share of the segment's purchases over share of all.

        NaN where fewer than 5 purchases would be expected. Purchases without a category are left
        out.
        """
        counts = self.counts[:, 1 : len(self._column)]
        expected = counts.sum(axis=1)[:, None] * counts.sum(axis=0) / max(int(counts.sum()), 1)
        lift = np.full(counts.shape, np.nan)
        np.divide(counts, expected, out=lift, where=expected >= LEAST_EXPECTED)
        return lift

    def categories(self, order: Sequence[int]) -> dict[str, Any]:
        """Return the purchases in the window by category, the most bought first, and segment.

        Parameters
        ----------
        order
            Indexes of the segments, in their order.
        """
        names, ids = self.names, self._context.rules.segment_ids
        counts, cents = (each[:, 1 : len(self._column)] for each in (self.counts, self.cents))
        lift = self.lift()
        ordered = np.argsort(-counts.sum(axis=0), kind="stable").tolist()
        return {
            "purchases": int(self.counts.sum()),
            "without": int(self.counts[:, 0].sum()),
            "rows": {names[j]: {ids[i]: int(counts[i, j]) for i in order} for j in ordered},
            "spend": {names[j]: {ids[i]: int(cents[i, j]) / 100 for i in order} for j in ordered},
            "lift": {names[j]: {ids[i]: known(lift[i, j], 3) for i in order} for j in ordered},
        }

    def _count(self, found: Purchases, segment: Counts, records: Sequence[ConsumerRecord]) -> None:
        kept = segment >= 0
        found, segment = found.where(kept), segment[kept]
        values = [without_mark(records[row].value) for row in found.row.tolist()]
        names = [_CATEGORY.validate_json(value).get("category") for value in values]
        category = np.array([self._number(name) for name in names], np.int64)
        np.add.at(self.counts, (segment, category), 1)
        np.add.at(self.cents, (segment, category), found.cents)
        if self._bought is not None and len(category):
            named = category > 0
            self._bought.add(found.where(named).customer_id, category[named] - 1)

    def _segments(self, partition: int, found: Purchases, erasures: bool) -> Counts:
        """Return the segment of each purchase's customer (n,), -1 where it does not count."""
        store, rules = self._context.store, self._context.rules
        names, row = np.unique(np.array(found.customer_id, object), return_inverse=True)
        customers = names.tolist()
        if not customers:
            return np.empty(0, np.int64)
        [reading] = store.read([ReadRequest(partition, customers)])
        segment = decode(reading.records, rules.record_shape)["segment"].astype(np.int64)[row]
        if not erasures:
            return segment
        markers = markers_of(store, partition, customers)
        cutoff = np.array([marker.cutoff_us for marker in markers], np.int64)[row]
        return np.where(found.occurred_at >= cutoff, segment, -1)

    def _number(self, category: str | None) -> int:
        name = (category or "").strip()
        if name not in self._column and len(self._column) == MOST_CATEGORIES:
            name = OTHERS
        return self._column.setdefault(name, len(self._column))


class _Arrivals:
    """Purchases of one partition in their order, to count repeats and late ones."""

    def __init__(self, context: ReportContext) -> None:
        self._rules = context.rules
        size = context.deployment.dedup_events
        self._seen = DedupWindow(size) if size else None
        self._clock_us = 0
        self.purchases = self.duplicates = self.late = 0

    def add(self, records: Sequence[ConsumerRecord]) -> Purchases:
        """Add purchases in their order; return the valid ones without repeats."""
        found, _ = decode_purchases(
            [record.key for record in records],
            [record.value for record in records],
            [record.timestamp for record in records],
            currency=self._rules.currency,
        )
        if self._seen is not None:
            keys = hash_keys([name.encode() for name in found.customer_id], "murmur2")
            hashes = fingerprints(
                hashes_of(found.event_id), keys, found.occurred_at, found.cents, found.count
            )
            self._seen, again, _ = self._seen.after(hashes)
            self.duplicates += int(again.sum())
            found = found.where(~again)
        self.purchases += len(found.row)
        came_us = found.occurred_at
        if not self._rules.event_clock:
            came_us = record_times_us([records[row].timestamp for row in found.row.tolist()])
        clock_us = np.maximum.accumulate(np.append(self._clock_us, came_us))
        self._clock_us = int(clock_us[-1])
        layout = self._rules.layout
        behind = layout.tile_of(clock_us[1:]) - layout.tile_of(found.occurred_at)
        self.late += int(np.count_nonzero(behind >= layout.tiles))
        return found
