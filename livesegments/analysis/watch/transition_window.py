"""Recent changes counted in bounded memory, however many arrive."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappush, heappushpop

from livesegments.contracts.segments import SegmentChange, SegmentRef

HOUR_S, MINUTE_S, BUCKET_S = 3_600, 60, 5
SHOWN = 60

Transition = tuple[str | None, str | None]
"""Segment ids, from and to; None is no segment."""


@dataclass(frozen=True, slots=True)
class RecentTransitions:
    """Counts at one moment.

    Attributes
    ----------
    since_s
        Start of the part of the last hour that was read, epoch seconds.
    last_hour, since_start
        Changes by from and to, published in the last hour and since the watch began.
    per_second
        By origin, over the last minute.
    newest
        Newest first.
    skipped
        Changes left out because they arrived faster than they can be read.
    """

    since_s: float
    last_hour: Mapping[Transition, int]
    since_start: Mapping[Transition, int]
    per_second: Mapping[str, float]
    newest: tuple[SegmentChange, ...]
    skipped: int


class TransitionWindow:
    """Counts changes by the time they were published, in buckets of a few seconds."""

    def __init__(self, began_s: float) -> None:
        self.skipped = 0
        self._began_s = began_s
        self._since_s = began_s - HOUR_S
        self._buckets: dict[int, Counter[tuple[str | None, str | None, str]]] = {}
        self._since_start: Counter[Transition] = Counter()
        # Partitions are read one after the other at first, so the newest are not those read last.
        self._newest: list[tuple[float, int, SegmentChange]] = []
        self._taken = 0

    def add(self, change: SegmentChange, published_s: float) -> None:
        """Count a change."""
        move = _id(change.previous_segment), _id(change.segment)
        bucket = self._buckets.setdefault(int(published_s // BUCKET_S), Counter())
        bucket[*move, change.origin] += 1
        if published_s >= self._began_s:
            self._since_start[move] += 1
        self._taken += 1
        keep = heappush if len(self._newest) < SHOWN else heappushpop
        keep(self._newest, (published_s, self._taken, change))

    def known_since(self, time_s: float) -> None:
        """Record that earlier changes were not read."""
        self._since_s = max(self._since_s, time_s)

    def counts(self, now_s: float) -> RecentTransitions:
        """Return the counts up to now; forget buckets older than an hour."""
        first = int((now_s - HOUR_S) // BUCKET_S)
        self._buckets = {at: counts for at, counts in self._buckets.items() if at >= first}
        last_hour: Counter[Transition] = Counter()
        origins: Counter[str] = Counter()
        minute = int((now_s - MINUTE_S) // BUCKET_S)
        for at, counts in self._buckets.items():
            for (before, after, origin), count in counts.items():
                last_hour[before, after] += count
                origins[origin] += count if at > minute else 0
        return RecentTransitions(
            since_s=max(self._since_s, now_s - HOUR_S),
            last_hour=last_hour,
            since_start=Counter(self._since_start),
            per_second={o: count / MINUTE_S for o, count in origins.items() if count},
            newest=tuple(change for _, _, change in sorted(self._newest, reverse=True)),
            skipped=self.skipped,
        )


def _id(segment: SegmentRef | None) -> str | None:
    return None if segment is None else segment.id
