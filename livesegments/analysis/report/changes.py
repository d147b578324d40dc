"""Changes of segment in a period, from the change log."""

from collections.abc import Callable, Sequence

from kafka import TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from livesegments.analysis.report.context import ReportContext
from livesegments.analysis.transitions import NONE, TransitionCounts
from livesegments.consumers.log_reader import LogReader
from livesegments.contracts.timestamps import microseconds
from livesegments.contracts.topics import CHANGES
from livesegments.features.window import DAY_US


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


class PeriodChanges:
    """Changes of a period, by event time.

    Parameters
    ----------
    segments
        Ids of the segments.
    watched
        Id of the segment whose departures are kept.
    days
        Days since the epoch; later changes count on the last one.

    Attributes
    ----------
    counts
        Changes by day, segments and origin.
    left
        Customer id -> time and origin of the departure from the segment ``watched``, without
        customers that returned or were erased.
    """

    def __init__(self, segments: Sequence[str], watched: str, days: range) -> None:
        self._segments, self._watched, self.days = set(segments), watched, days
        self.counts = TransitionCounts(segments)
        self.left: dict[str, tuple[int, str]] = {}

    def add(self, records: Sequence[ConsumerRecord]) -> None:
        """Add changes of one partition, in their order."""
        changes = [_CHANGE.validate_json(record.value) for record in records]
        occurred = microseconds([change["occurred_at"] for change in changes]).tolist()
        moves = []
        for change, time_us in zip(changes, occurred, strict=True):
            day = min(time_us // DAY_US, self.days[-1])
            if day < self.days[0]:
                continue
            before, after = self._id(change["previous_segment"]), self._id(change["segment"])
            moves.append((day, before, after, change["origin"]))
            if after == self._watched or change["origin"] == "erasure":
                self.left.pop(change["customer_id"], None)
            elif before == self._watched:
                self.left[change["customer_id"]] = time_us, change["origin"]
        self.counts.add(moves)

    def _id(self, ref: _Ref | None) -> str:
        return ref["id"] if ref and ref["id"] in self._segments else NONE


def read_changes(
    log: LogReader, context: ReportContext, days: range, progress: Callable[[int], None]
) -> PeriodChanges:
    """Read the changes of a period.

    A change is decided when it occurs or later, except for clocks that differ: a day is added.
    """
    ids = context.rules.segment_ids
    changes = PeriodChanges(ids, ids[context.valued], days)
    read = 0
    for partition in range(context.deployment.partitions):
        tp = TopicPartition(CHANGES, partition)
        start = log.since(tp, (days[0] - 1) * DAY_US)
        for batch in log.read({tp: (start, log.ends([tp])[tp])}):
            changes.add(batch[tp])
            read += len(batch[tp])
            progress(read)
    return changes
