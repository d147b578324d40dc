"""Churn from the most valuable segment: customers lost, and customers at risk."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customers import customer_rows, dates, hashes, plain_rows
from livesegments.domain import Hysteresis, Model
from livesegments.features.record_codec import Records, may_be_profiled
from livesegments.features.window import Tiling
from livesegments.operations.customer_scan import Stretch
from livesegments.operations.model_loader import score_at

SHOWN = 20
STAYS = -1
_CONSENT = {-1: None, 0: False, 1: True}
_COLUMNS = ["last_purchase", "purchases", "spend", "marketing"]
LEFT_COLUMNS = ["hash", "left_on", "origin", "to", *_COLUMNS]
LEAVING_COLUMNS = ["hash", "leaves_on", "to", "margin", *_COLUMNS]


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
        self._context, self._left = context, left
        self._horizon = context.rules.layout.tiles_in(horizon_days)
        self._spending_more = _spending_more(context)
        self._heads = [pd.DataFrame(columns=LEFT_COLUMNS), pd.DataFrame(columns=LEAVING_COLUMNS)]
        self._customers = [0, 0]

    def add(self, stretch: Stretch) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Add a batch; return its lost customers and those at risk."""
        found = self._lost(stretch), self._at_risk(stretch)
        orders = (
            (["spends_more", "spend"], [True, False]),
            (["leaves_on", "spend"], [True, False]),
        )
        for i, (rows, (by, ascending)) in enumerate(zip(found, orders, strict=True)):
            self._customers[i] += len(rows)
            if len(rows):
                both = pd.concat([self._heads[i], rows]) if len(self._heads[i]) else rows
                self._heads[i] = both.sort_values(by, ascending=ascending, kind="stable")[:SHOWN]
        return found

    def retention(self) -> dict[str, Any]:
        """Return the head of each list, and its length."""
        left, leaving = (
            plain_rows(head[columns].rename(columns={"to": "segment"}))
            for head, columns in zip(self._heads, (LEFT_COLUMNS, LEAVING_COLUMNS), strict=True)
        )
        return {
            "segment": self._context.rules.segment_ids[self._context.valued],
            "left": left,
            "left_customers": self._customers[0],
            "leaving": leaving,
            "leaving_customers": self._customers[1],
        }

    def _lost(self, stretch: Stretch) -> pd.DataFrame:
        gone = np.array([name in self._left for name in stretch.names], np.bool_)
        gone &= stretch.records["segment"] != self._context.valued
        gone &= may_be_profiled(stretch.records)
        rows = self._rows(stretch.where(gone))
        left = [self._left[name] for name in rows["customer_id"]]
        to = self._ids(rows["segment"])
        return rows.assign(
            left_on=dates([time_us for time_us, _ in left]),
            origin=[origin for _, origin in left],
            to=to,
            spends_more=[segment in self._spending_more for segment in to],
        )

    def _at_risk(self, stretch: Stretch) -> pd.DataFrame:
        rules = self._context.rules
        here = stretch.where(stretch.records["segment"] == self._context.valued)
        ahead = forecast_departures(
            here.records,
            here.clock_us,
            self._horizon,
            rules.layout,
            self._context.model,
            rules.switching,
        )
        leaves = ahead.tiles != STAYS
        times_us = [
            departure_us(tiles, here.clock_us, rules.layout)
            for tiles in ahead.tiles[leaves].tolist()
        ]
        return self._rows(here.where(leaves)).assign(
            leaves_on=dates(times_us),
            to=self._ids(ahead.segment[leaves]),
            margin=ahead.margin[leaves].round(4),
        )

    def _rows(self, stretch: Stretch) -> pd.DataFrame:
        rows = customer_rows(stretch, self._context.rules.layout)
        group_id = self._context.rules.group_id
        return rows.assign(
            hash=hashes(rows["customer_id"], group_id),
            marketing=pd.Series([_CONSENT[each] for each in rows["marketing"]], dtype=object),
        )

    def _ids(self, segments: Any) -> "pd.Series[Any]":
        ids = self._context.rules.segment_ids
        return pd.Series([ids[i] if i >= 0 else None for i in segments], dtype=object)


def _spending_more(context: ReportContext) -> set[str]:
    """Return the segments whose customers spend more than those of the most valuable one."""
    segments = context.model.generation.segments
    spend = dict(zip(segments, context.model.snapshot.centroids[:, 1].tolist(), strict=True))
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
    layout: Tiling,
    model: Model,
    switching: Hysteresis,
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
    layout, model, switching
        Of the scoring; the centroids do not change.
    """
    here = records["segment"].copy()
    tiles = np.full(len(records), STAYS, np.int64)
    segment = here.copy()
    margin = np.empty(len(records))
    clock_tile = layout.tile(clock_us)
    staying = np.arange(len(records))
    for ahead in range(horizon_tiles + 1):
        at_us = departure_us(ahead, clock_us, layout)
        scores = score_at(records[staying], clock_tile + ahead, at_us, model, switching)
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
