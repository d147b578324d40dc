"""Sums over all customers, and the most typical ones."""

from dataclasses import dataclass

import numpy as np

from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customer_rows import hashed
from livesegments.analysis.report.models import TypicalCustomer
from livesegments.features.feature_specs import FEATURES, natural, vectors
from livesegments.features.window import window
from livesegments.model.drift import bin_counts
from livesegments.model.types import Counts, Floats
from livesegments.operations.customer_scan import Stretch
from livesegments.operations.export import LOCATIONS

TYPICAL = 5
_REFUSED, _CONSENTS, _UNKNOWN = range(3)


@dataclass(frozen=True, slots=True)
class _Near:
    """A customer ranked by unknown features, then by distance to the centroid."""

    rank: tuple[int, float]
    member: TypicalCustomer


class CustomerAggregates:
    """Sums over customers, batch by batch, and the most typical ones.

    Attributes
    ----------
    customers
        By published segment, (k + 1,); the last counts no segment.
    marketing
        Customers (k, 3) of each segment by consent: refused, given, unknown.
    cents, purchases, consenting_cents
        (k,) in the window.
    unknown
        (d,) customers in a segment without a feature.
    binned
        Distribution of each feature over them, in the bins of the fit; empty without bins.
    """

    def __init__(self, context: ReportContext) -> None:
        k, d = context.model.generation.centroids.shape
        self._context = context
        self._cluster = np.argsort(context.model.segment_of_cluster)
        self._near: list[list[_Near]] = [[] for _ in range(k)]
        self.customers: Counts = np.zeros(k + 1, np.int64)
        self.marketing: Counts = np.zeros((k, 3), np.int64)
        self.cents, self.purchases, self.consenting_cents = np.zeros((3, k), np.int64)
        self.unknown: Counts = np.zeros(d, np.int64)
        self.binned: list[Counts] = [
            np.zeros(len(each.counts), np.int64) for each in context.model.generation.histograms
        ]

    def add(self, stretch: Stretch) -> None:
        """Add a batch."""
        placed = stretch.records["segment"] >= 0
        self.customers[-1] += int(np.count_nonzero(~placed))
        stretch = stretch.where(placed)
        records = stretch.records
        at = window(records, self._context.rules.layout.tile(stretch.clock_us))
        X = vectors(records, at)
        segment, marketing = records["segment"].astype(np.intp), records["marketing"]
        np.add.at(self.customers, segment, 1)
        np.add.at(self.marketing, (segment, np.where(marketing < 0, _UNKNOWN, marketing)), 1)
        np.add.at(self.cents, segment, at.cents)
        np.add.at(self.purchases, segment, at.purchases)
        np.add.at(self.consenting_cents, segment, np.where(marketing == 1, at.cents, 0))
        self.unknown += np.isnan(X).sum(axis=0)
        histograms = self._context.model.generation.histograms
        for counts, column, histogram in zip(self.binned, X.T, histograms, strict=True):
            counts += bin_counts(column, np.array(histogram.edges))
        self._compare(stretch, segment, X)

    @property
    def typical(self) -> list[list[TypicalCustomer]]:
        """The customers of each segment nearest to its centroid, nearest first.

        Fuller profiles come first: a distance over fewer features is shorter.
        """
        return [[each.member for each in near] for near in self._near]

    def _compare(self, stretch: Stretch, segment: Counts, X: Floats) -> None:
        model = self._context.model
        distances = model.kmeans.predict_arrays(X).distances
        distance = distances[np.arange(len(X)), self._cluster[segment]]
        unknown = np.isnan(X[:, model.snapshot.weights > 0]).sum(axis=1)
        order = np.lexsort((distance, unknown))
        for index, near in enumerate(self._near):
            rows = order[segment[order] == index][:TYPICAL].tolist()
            near += [
                _Near(
                    (int(unknown[row]), float(distance[row])),
                    self._member(stretch.names[row], index, X[row], float(distance[row])),
                )
                for row in rows
            ]
            near.sort(key=lambda each: each.rank)
            del near[TYPICAL:]

    def _member(self, name: str, index: int, x: Floats, distance: float) -> TypicalCustomer:
        rules = self._context.rules
        found = dict(zip(FEATURES, natural(x[None])[0].tolist(), strict=True))
        age, income = found["age"], found["income"]
        return TypicalCustomer(
            hash=hashed(name, rules.group_id),
            segment=rules.segment_ids[index],
            distance=round(distance, 4),
            purchases=round(found["purchases"]),
            spend=round(found["spend"], 2),
            age=None if np.isnan(age) else float(5 * round(age / 5)),
            income=None if np.isnan(income) else float(f"{income:.1e}"),
            location=LOCATIONS.get(found["urbanicity"]),
        )
