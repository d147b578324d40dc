"""Churn from the most valuable segment: customers lost, and customers at risk."""

from collections.abc import Iterator, Mapping
from heapq import nsmallest

import numpy as np

from livesegments.analysis.report.churn_forecast import STAYS, departure_us, forecast_departures
from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.report.customer_rows import CustomerRow, customer_rows, dates
from livesegments.analysis.report.models import AtRiskCustomer, LostCustomer, Retention
from livesegments.features.record_codec import may_be_profiled
from livesegments.operations.customer_scan import Stretch

SHOWN = 20


class ChurnTracker:
    """Keeps the head of each list while customers are added, batch by batch.

    Lost customers: first those now in a segment that spends less, or in none, then by spend.
    Customers at risk: by date, then by spend.

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
        self._first_left: list[LostCustomer] = []
        self._first_leaving: list[AtRiskCustomer] = []
        self._customers = [0, 0]

    def add(self, stretch: Stretch) -> list[tuple[CustomerRow, LostCustomer | AtRiskCustomer]]:
        """Add a batch; return its customers that belong on a list."""
        left, leaving = list(self._lost(stretch)), list(self._at_risk(stretch))
        self._customers[0] += len(left)
        self._customers[1] += len(leaving)
        self._first_left = nsmallest(
            SHOWN, [*self._first_left, *(each for _, each in left)], key=self._by_loss
        )
        self._first_leaving = nsmallest(
            SHOWN,
            [*self._first_leaving, *(each for _, each in leaving)],
            key=lambda each: (each.leaves_on, -each.spend),
        )
        return [*left, *leaving]

    def found(self) -> Retention:
        """Return both lists."""
        return Retention(
            segment=self._context.rules.segment_ids[self._context.valued],
            left=tuple(self._first_left),
            left_customers=self._customers[0],
            leaving=tuple(self._first_leaving),
            leaving_customers=self._customers[1],
        )

    def _by_loss(self, left: LostCustomer) -> tuple[bool, float]:
        return left.segment in self._spending_more, -left.spend

    def _lost(self, stretch: Stretch) -> Iterator[tuple[CustomerRow, LostCustomer]]:
        rules, valued = self._context.rules, self._context.valued
        gone = np.array([name in self._left for name in stretch.names], np.bool_)
        gone &= stretch.records["segment"] != valued
        gone &= may_be_profiled(stretch.records)
        for person in customer_rows(stretch.where(gone), rules.layout, rules.group_id):
            left_us, origin = self._left[person.customer_id]
            yield (
                person,
                LostCustomer(
                    hash=person.hash,
                    left_on=dates([left_us])[0],
                    origin=origin,
                    segment=self._segment(person.segment),
                    last_purchase=person.last_purchase,
                    purchases=person.purchases,
                    spend=person.spend,
                    marketing=person.marketing,
                ),
            )

    def _at_risk(self, stretch: Stretch) -> Iterator[tuple[CustomerRow, AtRiskCustomer]]:
        rules = self._context.rules
        here = stretch.where(stretch.records["segment"] == self._context.valued)
        if not here.names:
            return
        ahead = forecast_departures(
            here.records,
            here.clock_us,
            self._horizon,
            rules.layout,
            self._context.model,
            rules.switching,
        )
        who = zip(customer_rows(here, rules.layout, rules.group_id), *ahead.columns(), strict=True)
        for person, tiles, segment, margin in who:
            if tiles == STAYS:
                continue
            yield (
                person,
                AtRiskCustomer(
                    hash=person.hash,
                    leaves_on=dates([departure_us(tiles, here.clock_us, rules.layout)])[0],
                    segment=self._segment(segment),
                    margin=round(margin, 4),
                    last_purchase=person.last_purchase,
                    purchases=person.purchases,
                    spend=person.spend,
                    marketing=person.marketing,
                ),
            )

    def _segment(self, index: int) -> str | None:
        return self._context.rules.segment_ids[index] if index >= 0 else None


def _spending_more(context: ReportContext) -> set[str]:
    """Return the segments whose customers spend more than those of the most valuable one."""
    segments = context.model.generation.segments
    spend = dict(zip(segments, context.model.snapshot.centroids[:, 1].tolist(), strict=True))
    valued = spend[context.rules.segment_ids[context.valued]]
    return {segment for segment, each in spend.items() if each > valued}
