"""Churn from the most valuable segment: customers lost, and customers at risk."""

from collections.abc import Mapping
from heapq import nsmallest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customers import Row, customer_rows, dates, segment_ids
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.record_codec import Records, may_be_profiled
from livesegments.features.window import Tiling
from livesegments.operations.customer_scan import CustomerBatch
from livesegments.operations.model_loader import score_at

SHOWN = 20
STAYS = -1
_COLUMNS = ("last_purchase", "purchases", "spend", "marketing")


class ChurnTracker:
    """Keeps the head of each list while customers are added, batch by batch.

    Lost customers left the most valuable segment in the period and did not come back: first those
    now in a segment that spends less, or in none, then by spend. Customers at risk leave it soon
    unless they buy: by date, then by spend.

    Parameters
    ----------
    context
        The deployment.
    left
        Customer id -> time (microseconds) and origin of the departure, from the change log.
    horizon_days
        Days ahead of the clock for which departures are forecast.
    """

    def __init__(
        self, context: ReportContext, left: Mapping[str, tuple[int, str]], horizon_days: int
    ) -> None:
        self._context, self._left_at = context, left
        self._horizon = context.rules.layout.tiles_in(horizon_days)
        self._spending_more = _spending_more(context)
        self._left: list[Row] = []
        self._leaving: list[Row] = []
        self._customers = [0, 0]

    def add(self, batch: CustomerBatch) -> tuple[list[Row], list[Row]]:
        """Add a batch; return its lost customers and those at risk."""
        left, leaving = self._lost(batch), self._at_risk(batch)
        self._customers[0] += len(left)
        self._customers[1] += len(leaving)
        self._left = nsmallest(SHOWN, [*self._left, *left], key=self._by_loss)
        self._leaving = nsmallest(
            SHOWN, [*self._leaving, *leaving], key=lambda row: (row["leaves_on"], -row["spend"])
        )
        return left, leaving

    def retention(self) -> dict[str, Any]:
        """Return the head of each list, and its length."""
        first = ("hash", "left_on", "origin", "segment", *_COLUMNS)
        soon = ("hash", "leaves_on", "segment", "margin", *_COLUMNS)
        return {
            "segment": self._context.rules.segment_ids[self._context.valued],
            "left": [{name: row[name] for name in first} for row in self._left],
            "left_customers": self._customers[0],
            "leaving": [
                {name: row["to" if name == "segment" else name] for name in soon}
                for row in self._leaving
            ],
            "leaving_customers": self._customers[1],
        }

    def _by_loss(self, row: Row) -> tuple[bool, float]:
        return row["segment"] in self._spending_more, -row["spend"]

    def _lost(self, batch: CustomerBatch) -> list[Row]:
        gone = np.array([name in self._left_at for name in batch.names], np.bool_)
        gone &= batch.records["segment"] != self._context.valued
        gone &= may_be_profiled(batch.records)
        rows = customer_rows(batch.where(gone), self._context)
        for row in rows:
            left_us, row["origin"] = self._left_at[row["customer_id"]]
            [row["left_on"]] = dates([left_us])
        return rows

    def _at_risk(self, batch: CustomerBatch) -> list[Row]:
        rules = self._context.rules
        here = batch.where(batch.records["segment"] == self._context.valued)
        ahead = forecast_departures(
            here.records,
            here.clock_us,
            self._horizon,
            self._context.model,
            rules,
        )
        leaves = ahead.tiles != STAYS
        rows = customer_rows(here.where(leaves), self._context)
        columns = (ahead.tiles[leaves].tolist(), ahead.margin[leaves].tolist())
        to = segment_ids(ahead.segment[leaves], self._context)
        for row, tiles, margin, segment in zip(rows, *columns, to, strict=True):
            [row["leaves_on"]] = dates([departure_us(tiles, here.clock_us, rules.layout)])
            row["margin"], row["to"] = round(margin, 4), segment
        return rows


def _spending_more(context: ReportContext) -> set[str]:
    """Return the segments whose customers spend more than those of the most valuable one."""
    segments, features = context.model.generation.segments, context.model.kmeans.features
    if "spend" not in features:
        return set()
    column = context.model.snapshot.centroids[:, features.index("spend")]
    spend = dict(zip(segments, column.tolist(), strict=True))
    valued = spend[context.rules.segment_ids[context.valued]]
    return {segment for segment, each in spend.items() if each > valued}


class Departures(NamedTuple):
    """Forecast departures of n customers.

    Attributes
    ----------
    tiles
        (n,) tiles from the clock's tile to that of the departure, 0 for at once; `STAYS` for none
        up to the horizon.
    segment
        (n,) index of the next segment, -1 for none.
    margin
        (n,) how much farther the nearest other centroid is now than its own, as a share; below 0
        another one is nearer, and the switch margin or the dwell holds the customer.
    """

    tiles: NDArray[np.int64]
    segment: NDArray[np.int8]
    margin: NDArray[np.float64]


def forecast_departures(
    records: Records,
    clock_us: int,
    horizon_tiles: int,
    model: Model,
    config: ProcessingConfig,
) -> Departures:
    """Advance the window without purchases until the service's rules switch.

    Parameters
    ----------
    records
        (n,) customers in a segment.
    clock_us
        Clock of their partition.
    horizon_tiles
        Number of tiles to look ahead.
    model, config
        Of the scoring; the centroids do not change.
    """
    here = records["segment"].copy()
    tiles = np.full(len(records), STAYS, np.int64)
    segment = here.copy()
    margin = np.empty(len(records))
    layout = config.layout
    clock_tile = layout.tile(clock_us)
    staying = np.arange(len(records))
    for ahead in range(horizon_tiles + 1):
        at_us = departure_us(ahead, clock_us, layout)
        scores = score_at(records[staying], clock_tile + ahead, at_us, model, config)
        if ahead == 0:
            own = np.argsort(model.segment_of_cluster)[here]
            margin = _beyond(scores.assignment.distances, own)
        leaves = scores.segment != here[staying]
        tiles[staying[leaves]] = ahead
        segment[staying[leaves]] = scores.segment[leaves]
        staying = staying[~leaves]
    return Departures(tiles, segment, margin)


def departure_us(tiles: int, clock_us: int, layout: Tiling) -> int:
    """Return the time of a departure a number of tiles ahead."""
    return clock_us if tiles == 0 else layout.end(layout.tile(clock_us) + tiles - 1)


def _beyond(distances: NDArray[np.float64], own: NDArray[np.intp]) -> NDArray[np.float64]:
    rows = np.arange(len(distances))
    mine = distances[rows, own]
    others = distances.copy()
    others[rows, own] = np.inf
    ratio = np.divide(others.min(axis=1), mine, out=np.full(len(own), np.inf), where=mine > 0)
    return np.asarray(ratio - 1, np.float64)
