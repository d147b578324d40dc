"""Who drifts away from the most valuable segment: who left it, and who is about to."""

from collections.abc import Iterator, Mapping
from heapq import nsmallest

import numpy as np

from features.record import may_be_profiled
from livesegments.analysis.report.churn_forecast import STAYS, departures, leaves_us
from livesegments.analysis.report.context import Standing
from livesegments.analysis.report.customer_rows import Person, dates, people
from livesegments.analysis.report.models import Leaving, Left, Retention
from livesegments.scan import Stretch

SHOWN = 20


class Watch:
    """Takes customers in, batch by batch, and keeps the first of each list.

    Of those who left, first are who are now in a segment that spends less, or in none, and of them
    who still spends the most; of those who are leaving, who goes soonest.

    Parameters
    ----------
    standing
        The deployment.
    left
        Customer id -> when (microseconds) and why they left, as far as the change log says.
    horizon_days
        How far ahead of the clock departures are looked for.
    """

    def __init__(
        self, standing: Standing, left: Mapping[str, tuple[int, str]], horizon_days: int
    ) -> None:
        self._standing, self._left = standing, left
        self._horizon = standing.rules.layout.tiles_in(horizon_days)
        self._spending_more = _spending_more(standing)
        self._first_left: list[Left] = []
        self._first_leaving: list[Leaving] = []
        self._customers = [0, 0]

    def add(self, stretch: Stretch) -> list[tuple[Person, Left | Leaving]]:
        """Take a batch in, and return who of it is on one of the lists."""
        left, leaving = list(self._who_left(stretch)), list(self._who_leaves(stretch))
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
        """Return what there is to show."""
        return Retention(
            segment=self._standing.rules.segment_ids[self._standing.valued],
            left=tuple(self._first_left),
            left_customers=self._customers[0],
            leaving=tuple(self._first_leaving),
            leaving_customers=self._customers[1],
        )

    def _by_loss(self, left: Left) -> tuple[bool, float]:
        return left.segment in self._spending_more, -left.spend

    def _who_left(self, stretch: Stretch) -> Iterator[tuple[Person, Left]]:
        rules, valued = self._standing.rules, self._standing.valued
        gone = np.array([name in self._left for name in stretch.names], np.bool_)
        gone &= stretch.records["segment"] != valued
        gone &= may_be_profiled(stretch.records)
        for person in people(stretch.where(gone), rules.layout, rules.group_id):
            left_us, origin = self._left[person.customer_id]
            yield (
                person,
                Left(
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

    def _who_leaves(self, stretch: Stretch) -> Iterator[tuple[Person, Leaving]]:
        rules = self._standing.rules
        here = stretch.where(stretch.records["segment"] == self._standing.valued)
        if not here.names:
            return
        ahead = departures(
            here.records,
            here.clock_us,
            self._horizon,
            rules.layout,
            self._standing.model,
            rules.switching,
        )
        who = zip(people(here, rules.layout, rules.group_id), *ahead.columns(), strict=True)
        for person, tiles, segment, margin in who:
            if tiles == STAYS:
                continue
            yield (
                person,
                Leaving(
                    hash=person.hash,
                    leaves_on=dates([leaves_us(tiles, here.clock_us, rules.layout)])[0],
                    segment=self._segment(segment),
                    margin=round(margin, 4),
                    last_purchase=person.last_purchase,
                    purchases=person.purchases,
                    spend=person.spend,
                    marketing=person.marketing,
                ),
            )

    def _segment(self, index: int) -> str | None:
        return self._standing.rules.segment_ids[index] if index >= 0 else None


def _spending_more(standing: Standing) -> set[str]:
    """Return the segments whose customers spend more than those of the most valuable one do."""
    segments = standing.model.generation.segments
    spend = dict(zip(segments, standing.model.snapshot.centroids[:, 1].tolist(), strict=True))
    valued = spend[standing.rules.segment_ids[standing.valued]]
    return {segment for segment, each in spend.items() if each > valued}
