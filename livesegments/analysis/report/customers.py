"""Customers of the report: sums by segment and consent, and the most typical ones."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from livesegments.analysis.report.context import ReportContext
from livesegments.features.erasures import marker_key
from livesegments.features.feature_specs import FEATURES, natural, vectors
from livesegments.features.window import Tiling, window
from livesegments.model.drift import bin_counts
from livesegments.model.types import Counts, Floats
from livesegments.operations.customer_scan import Stretch
from livesegments.operations.export import LOCATIONS

HASH_DIGITS = 12
TYPICAL = 5
REFUSED, CONSENTS, UNKNOWN = 0, 1, -1
"""Consent to marketing."""


def customer_rows(stretch: Stretch, layout: Tiling) -> pd.DataFrame:
    """Return a batch as a table with a row per customer.

    ``segment`` is an index, -1 for none. ``last_purchase`` is the date of the end of the last
    purchase's tile, or of the clock.
    """
    records = stretch.records
    at = window(records, layout.tile(stretch.clock_us))
    last_us = np.minimum((records["head"] + 1) * layout.tile_us - 1, stretch.clock_us)
    return pd.DataFrame(
        {
            "customer_id": pd.Series(stretch.names, dtype=object),
            "segment": records["segment"],
            "purchases": at.purchases,
            "spend": at.cents / 100,
            "last_purchase": dates(last_us),
            "marketing": records["marketing"],
        }
    )


def hashes(customers: Iterable[str], group_id: str) -> list[str]:
    """Return the first digits of the keyed hash of each id: the page shows no ids."""
    return [marker_key(each, group_id).hex()[:HASH_DIGITS] for each in customers]


def dates(times_us: ArrayLike) -> list[str]:
    """Return the date of each time in microseconds."""
    days: list[str] = np.datetime_as_string(np.asarray(times_us, "M8[us]"), unit="D").tolist()
    return days


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table for JSON; unknown values are None."""
    rows: Any = table.astype(object).where(table.notna(), None).to_dict("records")
    return list(rows)


class CustomerTotals:
    """Sums over customers, batch by batch, and the most typical ones.

    Attributes
    ----------
    sums
        Customers, purchases and cents in the window, by segment (index, -1 for none) and consent to
        marketing.
    unknown
        (d,) customers in a segment without a feature.
    binned
        Distribution of each feature over them, in the bins of the fit; empty without bins.
    """

    def __init__(self, context: ReportContext) -> None:
        k = len(context.rules.segment_ids)
        self._context = context
        self._cluster = np.argsort(context.model.segment_of_cluster)
        self._near = pd.DataFrame()
        every = pd.MultiIndex.from_product([range(-1, k), (UNKNOWN, REFUSED, CONSENTS)])
        self.sums = pd.DataFrame(0, index=every, columns=["customers", "purchases", "cents"])
        self.unknown: Counts = np.zeros(len(FEATURES), np.int64)
        self.binned: list[Counts] = [
            np.zeros(len(each.counts), np.int64) for each in context.model.generation.histograms
        ]

    @property
    def sizes(self) -> list[int]:
        """Customers in each segment, (k,)."""
        of_segments: list[int] = self.sums["customers"].groupby(level=0).sum().loc[0:].tolist()
        return of_segments

    def add(self, stretch: Stretch) -> None:
        """Add a batch."""
        records = stretch.records
        at = window(records, self._context.rules.layout.tile(stretch.clock_us))
        X = vectors(records, at)
        rows = pd.DataFrame({"customers": 1, "purchases": at.purchases, "cents": at.cents})
        added = rows.groupby([records["segment"], records["marketing"]]).sum()
        self.sums = self.sums.add(added, fill_value=0).astype(np.int64)
        placed = records["segment"] >= 0
        X = X[placed]
        self.unknown += np.isnan(X).sum(axis=0)
        histograms = self._context.model.generation.histograms
        for counts, column, histogram in zip(self.binned, X.T, histograms, strict=True):
            counts += bin_counts(column, np.array(histogram.edges))
        self._compare(stretch.where(placed), X)

    def _compare(self, stretch: Stretch, X: Floats) -> None:
        """Keep the customers of each segment that are nearest to its centroid.

        Fuller profiles come first: a distance over fewer features is shorter.
        """
        model = self._context.model
        segment = stretch.records["segment"]
        distances = model.kmeans.predict_arrays(X).distances
        rows = pd.DataFrame(X, columns=list(FEATURES)).assign(
            customer_id=pd.Series(stretch.names, dtype=object),
            segment=segment,
            distance=distances[np.arange(len(X)), self._cluster[segment]],
            unknown=np.isnan(X[:, model.snapshot.weights > 0]).sum(axis=1),
        )
        ordered = pd.concat([self._near, rows]).sort_values(["unknown", "distance"], kind="stable")
        self._near = ordered.groupby("segment").head(TYPICAL)

    def targets(self, order: Iterable[int]) -> list[dict[str, Any]]:
        """Return consent to marketing and value of each segment.

        Purchases and spend are those of all customers in the window, and of those with consent.
        """
        ids = self._context.rules.segment_ids
        rows = []
        for i in order:
            of: Any = self.sums.loc[i]
            rows.append(
                {
                    "segment": ids[i],
                    "customers": int(of["customers"].sum()),
                    "consenting": int(of.loc[CONSENTS, "customers"]),
                    "refusing": int(of.loc[REFUSED, "customers"]),
                    "unknown": int(of.loc[UNKNOWN, "customers"]),
                    "spend": int(of["cents"].sum()) / 100,
                    "purchases": int(of["purchases"].sum()),
                    "consenting_spend": int(of.loc[CONSENTS, "cents"]) / 100,
                }
            )
        return rows

    def typical(self, order: Iterable[int]) -> list[dict[str, Any]]:
        """Return the most typical customers of each segment, the nearest first.

        Age is rounded to five years and income to two digits.
        """
        if self._near.empty:
            return []
        rules, near = self._context.rules, self._near
        values = pd.DataFrame(natural(near[list(FEATURES)].to_numpy()), columns=list(FEATURES))
        table = pd.DataFrame(
            {
                "hash": hashes(near["customer_id"], rules.group_id),
                "segment": [rules.segment_ids[i] for i in near["segment"]],
                "distance": near["distance"].round(4).to_numpy(),
                "purchases": values["purchases"].round().astype(int),
                "spend": values["spend"].round(2),
                "age": (values["age"] / 5).round() * 5,
                "income": [float(f"{value:.1e}") for value in values["income"]],
                "location": values["urbanicity"].map(LOCATIONS),
            }
        )
        return [
            row
            for i in order
            for row in plain_rows(table[table["segment"] == rules.segment_ids[i]])
        ]
