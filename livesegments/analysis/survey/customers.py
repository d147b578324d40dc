"""Survey of the customers in the store: a row each, and sums over their features."""

from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.departures import STAYS, departure_us, forecast_departures
from livesegments.features.erasures import marker_key
from livesegments.features.record_codec import may_be_profiled
from livesegments.features.window import last_purchase, window
from livesegments.model.drift import bin_counts
from livesegments.model.vectors import Counts, Floats
from livesegments.operations.customer_scan import CustomerBatch
from livesegments.operations.implausible_ids import ImplausibleId, PurchaseCounts

HASH_DIGITS = 12
CUSTOMERS = "surveyed_customers"
"""Table of the newest survey, see `livesegments/history/schema.sql`."""
_CONSENT = np.array([False, True, None], object)  # index -1: not known


def hashed(customer_id: str, group_id: str) -> str:
    """Return the first digits of the keyed hash of an id."""
    return marker_key(customer_id, group_id).hex()[:HASH_DIGITS]


class CustomerSurvey:
    """Replaces a table like `CUSTOMERS` with a row for each customer, batch by batch.

    Departures from the most valuable segment are forecast for ``horizon_days``.

    Attributes
    ----------
    customers, in_segments
        Number of rows, and of those in a segment.
    unknown
        (d,) customers in a segment without a feature.
    binned
        Distribution of each feature over them, in the bins of the fit; empty without bins.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        context: DeploymentContext,
        horizon_days: int,
    ) -> None:
        self._connection, self._table, self._context = connection, table, context
        self._horizon = context.rules.layout.tiles_in(horizon_days)
        self._cluster = context.model.cluster_of_segment
        self._ids = np.array([*context.rules.segment_ids, None], object)  # index -1: no segment
        self._bought = PurchaseCounts()
        self.customers = self.in_segments = 0
        self.unknown: Counts = np.zeros(len(context.rules.segmentation.features), np.int64)
        self.binned: list[Counts] = [
            np.zeros(len(each.counts), np.int64) for each in context.model.generation.histograms
        ]
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS FROM {CUSTOMERS} LIMIT 0")

    def add(self, batch: CustomerBatch) -> None:
        """Add a batch."""
        records, layout = batch.records, self._context.rules.layout
        at = window(records, layout.tile(batch.clock_us), layout)
        X = self._context.rules.segmentation.vectors(records, at)
        self._count(batch, at.purchases, X)
        last = last_purchase(records)
        last_us = np.minimum((last + 1) * layout.tile_us - 1, batch.clock_us).astype("M8[us]")
        columns = {
            "customer_id": np.array(batch.names, object),
            "segment": self._ids[records["segment"]],
            "marketing": _CONSENT[records["marketing"]],
            "may_be_profiled": may_be_profiled(records),
            "purchases": at.purchases,
            "cents": at.cents,
            "last_purchase": np.where(last >= 0, last_us, np.datetime64("NaT")),
            **{name: records[name].astype(float) for name in ("age", "income", "urbanicity")},
            "unknown_features": np.isnan(X[:, self._context.model.snapshot.weights > 0]).sum(
                axis=1
            ),
            "distance": self._distance(records["segment"], X),
            "counts_from": batch.counts_from_us.astype("M8[us]"),
            **self._departures(batch),
        }
        insert(self._connection, self._table, columns)
        self.customers += len(records)

    def implausible_ids(self) -> list[ImplausibleId]:
        """Return the ids that no person can have; those that may be people's are hashed."""
        group = self._context.rules.group_id
        return [
            each
            if each.is_placeholder
            else replace(each, customer_id=hashed(each.customer_id, group))
            for each in self._bought.implausible()
        ]

    def _count(self, batch: CustomerBatch, purchases: Counts, X: Floats) -> None:
        self._bought.add(dict(zip(batch.names, purchases.tolist(), strict=True)))
        placed = X[batch.records["segment"] >= 0]
        self.in_segments += len(placed)
        self.unknown += np.isnan(placed).sum(axis=0)
        histograms = self._context.model.generation.histograms
        for counts, column, histogram in zip(self.binned, placed.T, histograms, strict=False):
            counts += bin_counts(column, np.array(histogram.edges))

    def _distance(self, segment: NDArray[np.int8], X: Floats) -> Floats:
        distances = self._context.model.kmeans.predict_arrays(X).distances
        own = distances[np.arange(len(X)), self._cluster[segment]]
        return np.where(segment >= 0, own, np.nan)

    def _departures(self, batch: CustomerBatch) -> dict[str, NDArray[Any]]:
        rules, n = self._context.rules, len(batch.names)
        leaves_us = np.full(n, np.datetime64("NaT"), "M8[us]")
        leaves_for, margin = np.full(n, None, object), np.full(n, np.nan)
        here = np.flatnonzero(batch.records["segment"] == self._context.valued)
        ahead = forecast_departures(
            batch.records[here], batch.clock_us, self._horizon, self._context.model, rules
        )
        leaving = ahead.tiles != STAYS
        at = here[leaving]
        leaves_us[at] = [
            np.datetime64(departure_us(tiles, batch.clock_us, rules.layout), "us")
            for tiles in ahead.tiles[leaving].tolist()
        ]
        leaves_for[at] = self._ids[ahead.segment[leaving]]
        margin[at] = ahead.margin[leaving]
        return {"leaves_on": leaves_us, "leaves_for": leaves_for, "margin": margin}


def insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, NDArray[Any]]
) -> None:
    """Append columns (n,), in the order of the table's; NaN and NaT become NULL."""
    connection.register("batch", columns)
    connection.execute(f"INSERT INTO {table} SELECT * FROM batch")
    connection.unregister("batch")
