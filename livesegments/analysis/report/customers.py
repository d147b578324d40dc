"""Customers of the report: sums by segment and consent, and the most typical ones."""

from collections.abc import Iterable
from dataclasses import asdict
from heapq import nsmallest
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from livesegments.analysis.report.context import ReportContext
from livesegments.features.erasures import marker_key
from livesegments.features.window import window
from livesegments.model.drift import bin_counts
from livesegments.model.types import Counts, Floats
from livesegments.operations.customer_scan import CustomerBatch
from livesegments.operations.export import LOCATIONS
from livesegments.operations.implausible_ids import PurchaseCounts
from livesegments.rendering.formats import known

HASH_DIGITS = 12
TYPICAL = 5
REFUSED, CONSENTS, UNKNOWN = 0, 1, -1
"""Consent to marketing."""
_CONSENT = {REFUSED: False, CONSENTS: True, UNKNOWN: None}

Row = dict[str, Any]


def customer_rows(batch: CustomerBatch, context: ReportContext) -> list[Row]:
    """Return the customers of a batch, with their purchases in the window.

    Segments are ids, None for none. ``last_purchase`` is the date of the end of the last purchase's
    tile, or of the clock. ``customer_id`` appears in lists only, never on a page.
    """
    records, layout = batch.records, context.rules.layout
    at = window(records, layout.tile(batch.clock_us))
    last_us = np.minimum((records["head"] + 1) * layout.tile_us - 1, batch.clock_us)
    columns = (
        batch.names,
        [hashed(name, context) for name in batch.names],
        segment_ids(records["segment"], context),
        at.purchases.tolist(),
        (at.cents / 100).tolist(),
        dates(last_us),
        [_CONSENT[each] for each in records["marketing"].tolist()],
    )
    names = ("customer_id", "hash", "segment", "purchases", "spend", "last_purchase", "marketing")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def hashed(customer_id: str, context: ReportContext) -> str:
    """Return the first digits of the keyed hash of an id."""
    return marker_key(customer_id, context.rules.group_id).hex()[:HASH_DIGITS]


def segment_ids(segments: Counts, context: ReportContext) -> list[str | None]:
    """Return the id of each segment, None for no segment."""
    ids = context.rules.segment_ids
    return [ids[i] if i >= 0 else None for i in segments.tolist()]


def dates(times_us: ArrayLike) -> list[str]:
    """Return the date of each time in microseconds."""
    days: list[str] = np.datetime_as_string(np.asarray(times_us, "M8[us]"), unit="D").tolist()
    return days


class CustomerTotals:
    """Sums over customers, batch by batch, and the most typical ones.

    Attributes
    ----------
    sums
        Customers, purchases and cents in the window by segment (the last for none) and consent to
        marketing, (k + 1, 3, 3).
    unknown
        (d,) customers in a segment without a feature.
    binned
        Distribution of each feature over them, in the bins of the fit; empty without bins.
    bought
        Purchases in the window by customer.
    """

    def __init__(self, context: ReportContext) -> None:
        k = len(context.rules.segment_ids)
        self._context = context
        self._cluster = np.argsort(context.model.segment_of_cluster)
        self._near: list[list[tuple[int, float, Row]]] = [[] for _ in range(k)]
        self.sums: Counts = np.zeros((k + 1, 3, 3), np.int64)
        self.bought = PurchaseCounts()
        self.unknown: Counts = np.zeros(len(context.rules.segmentation.features), np.int64)
        self.binned: list[Counts] = [
            np.zeros(len(each.counts), np.int64) for each in context.model.generation.histograms
        ]

    @property
    def sizes(self) -> list[int]:
        """Customers in each segment, (k,)."""
        of_segments: list[int] = self.sums[:-1, :, 0].sum(axis=1).tolist()
        return of_segments

    def implausible_ids(self) -> list[Row]:
        """Return the ids that no person can have; those that may be people's are hashed."""
        found = map(asdict, self.bought.implausible())
        return [
            each
            if each["is_placeholder"]
            else {**each, "customer_id": hashed(each["customer_id"], self._context)}
            for each in found
        ]

    def add(self, batch: CustomerBatch) -> None:
        """Add a batch."""
        records = batch.records
        at = window(records, self._context.rules.layout.tile(batch.clock_us))
        X = self._context.rules.segmentation.vectors(records, at)
        self.bought.add(dict(zip(batch.names, at.purchases.tolist(), strict=True)))
        rows = np.column_stack([np.ones_like(at.cents), at.purchases, at.cents])
        np.add.at(self.sums, (records["segment"], records["marketing"]), rows)
        placed = records["segment"] >= 0
        X = X[placed]
        self.unknown += np.isnan(X).sum(axis=0)
        histograms = self._context.model.generation.histograms
        for counts, column, histogram in zip(self.binned, X.T, histograms, strict=False):
            counts += bin_counts(column, np.array(histogram.edges))
        self._compare(batch.where(placed), X, at.purchases[placed], at.cents[placed])

    def _compare(self, batch: CustomerBatch, X: Floats, purchases: Counts, cents: Counts) -> None:
        """Keep the customers of each segment that are nearest to its centroid.

        Fuller profiles come first: a distance over fewer features is shorter.
        """
        model, segment = self._context.model, batch.records["segment"]
        distances = model.kmeans.predict_arrays(X).distances
        distance = distances[np.arange(len(X)), self._cluster[segment]]
        unknown = np.isnan(X[:, model.snapshot.weights > 0]).sum(axis=1)
        order = np.lexsort((distance, unknown))
        for i, near in enumerate(self._near):
            found = [
                (
                    int(unknown[row]),
                    float(distance[row]),
                    {
                        "name": batch.names[row],
                        "record": batch.records[row],
                        "purchases": int(purchases[row]),
                        "spend": max(int(cents[row]), 0) / 100,
                    },
                )
                for row in order[segment[order] == i][:TYPICAL].tolist()
            ]
            self._near[i] = nsmallest(TYPICAL, [*near, *found], key=itemgetter(0, 1))

    def targets(self, order: Iterable[int]) -> list[Row]:
        """Return consent to marketing and value of each segment.

        Purchases and spend are those of all customers in the window, and of those with consent.
        """
        ids, all_, by_consent = self._context.rules.segment_ids, self.sums.sum(axis=1), self.sums
        return [
            {
                "segment": ids[i],
                "customers": int(all_[i, 0]),
                "consenting": int(by_consent[i, CONSENTS, 0]),
                "refusing": int(by_consent[i, REFUSED, 0]),
                "unknown": int(by_consent[i, UNKNOWN, 0]),
                "spend": int(all_[i, 2]) / 100,
                "purchases": int(all_[i, 1]),
                "consenting_spend": int(by_consent[i, CONSENTS, 2]) / 100,
            }
            for i in order
        ]

    def typical(self, order: Iterable[int]) -> list[Row]:
        """Return the most typical customers of each segment, the nearest first.

        Age is rounded to five years and income to two digits.
        """
        return [
            self._typical(i, distance, each) for i in order for _, distance, each in self._near[i]
        ]

    def _typical(self, segment: int, distance: float, customer: Row) -> Row:
        record = customer["record"]
        age, income = known(record["age"]), known(record["income"])
        return {
            "hash": hashed(customer["name"], self._context),
            "segment": self._context.rules.segment_ids[segment],
            "distance": round(distance, 4),
            "purchases": customer["purchases"],
            "spend": customer["spend"],
            "age": None if age is None else float(5 * round(age / 5)),
            "income": None if income is None else float(f"{income:.1e}"),
            "location": LOCATIONS.get(float(record["urbanicity"])),
        }
