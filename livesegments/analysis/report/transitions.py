"""Transitions between segments in a period, from the change log."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from livesegments.analysis.report.context import ReportContext
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.timestamps import microseconds
from livesegments.contracts.topics import CHANGES
from livesegments.features.window import DAY_US
from livesegments.model.types import Counts


class _Ref(TypedDict):
    id: str


class _Change(TypedDict):
    """The fields of `livesegments.contracts.segments.SegmentChange` that count."""

    customer_id: str
    previous_segment: _Ref | None
    segment: _Ref | None
    occurred_at: str
    origin: str


_CHANGE: TypeAdapter[_Change] = TypeAdapter(_Change)


@dataclass(frozen=True, slots=True)
class Period:
    """Days since the epoch, up to that of a clock."""

    first: int
    days: int

    @classmethod
    def up_to(cls, clock_us: int, days: int) -> "Period":
        """Return a number of days that end with that of a clock."""
        return cls(clock_us // DAY_US - days + 1, days)

    @property
    def start_us(self) -> int:
        """Its first microsecond."""
        return self.first * DAY_US


class Transitions:
    """Transitions of a period, by event time.

    Attributes
    ----------
    flows
        (days, k + 1, k + 1) changes from segment to segment; the last is no segment.
    origins
        Origin -> (days,) moves out of a segment.
    left
        Customer id -> time and origin of the departure from the segment ``watched``, without
        customers that returned or were erased.
    """

    def __init__(self, segments: Sequence[str], watched: int, period: Period) -> None:
        self._index = {segment: i for i, segment in enumerate(segments)}
        self._watched, self._period = watched, period
        k = len(segments)
        self.flows: Counts = np.zeros((period.days, k + 1, k + 1), np.int64)
        self.origins: dict[str, Counts] = defaultdict(lambda: np.zeros(period.days, np.int64))
        self.left: dict[str, tuple[int, str]] = {}

    def add(self, records: Sequence[ConsumerRecord]) -> None:
        """Add changes of one partition, in their order."""
        found = [_CHANGE.validate_json(record.value) for record in records]
        occurred = microseconds([change["occurred_at"] for change in found])
        day = np.minimum(occurred // DAY_US - self._period.first, self._period.days - 1)
        nowhere = len(self._index)
        before = self._numbers([change["previous_segment"] for change in found])
        after = self._numbers([change["segment"] for change in found])
        within = np.flatnonzero(day >= 0)
        np.add.at(self.flows, (day[within], before[within], after[within]), 1)
        for row in within.tolist():
            change = found[row]
            if before[row] != nowhere:
                self.origins[change["origin"]][day[row]] += 1
            if after[row] == self._watched or change["origin"] == "erasure":
                self.left.pop(change["customer_id"], None)
            elif before[row] == self._watched:
                self.left[change["customer_id"]] = int(occurred[row]), change["origin"]

    def _numbers(self, refs: Sequence[_Ref | None]) -> Counts:
        nowhere = len(self._index)
        return np.array(
            [nowhere if ref is None else self._index.get(ref["id"], nowhere) for ref in refs],
            np.int64,
        )

    def sizes(self, now: Counts) -> Counts:
        """Return (days, k) sizes at the end of each day, from the current ones (k,).

        Counting back from now needs no changes older than the period.
        """
        net = self.flows.sum(axis=1) - self.flows.sum(axis=2)
        later = net[::-1].cumsum(axis=0)[::-1]
        later = np.vstack([later[1:], np.zeros((1, later.shape[1]), np.int64)])
        return np.asarray(np.maximum(now - later[:, :-1], 0), np.int64)


def read_transitions(
    log: LogReader, context: ReportContext, period: Period, progress: Callable[[int], None]
) -> Transitions:
    """Read the changes of a period.

    A change is decided when it occurs or later, except for clocks that differ: a day is added.
    """
    changes = Transitions(context.rules.segment_ids, context.valued, period)
    read = 0
    for partition in range(context.deployment.partitions):
        tp = TopicPartition(CHANGES, partition)
        start = log.since(tp, period.start_us - DAY_US)
        for batch in log.read({tp: (start, log.ends([tp])[tp])}):
            changes.add(batch[tp])
            read += len(batch[tp])
            progress(read)
    return changes
