"""Who moved lately, added up in bounded memory however many changes come."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappush, heappushpop

from contracts.segments import SegmentChange, SegmentRef

HOUR_S, MINUTE_S, BUCKET_S = 3_600, 60, 5
SHOWN = 60

Move = tuple[str | None, str | None]
"""Segment ids, from and to; None is no segment."""


@dataclass(frozen=True, slots=True)
class MovesSeen:
    """What was seen at one moment.

    Attributes
    ----------
    since_s
        From when on the last hour is known, epoch seconds.
    last_hour, since_start
        Changes by from and to, published in the last hour and since the watch began.
    per_second
        By origin, over the last minute.
    newest
        Newest first.
    skipped
        Changes that were not looked at, since they came faster than one can look.
    """

    since_s: float
    last_hour: Mapping[Move, int]
    since_start: Mapping[Move, int]
    per_second: Mapping[str, float]
    newest: tuple[SegmentChange, ...]
    skipped: int


class Moves:
    """Adds changes up by when they were published, in buckets of a few seconds.

    Parameters
    ----------
    began_s
        When the watch began, epoch seconds.
    """

    def __init__(self, began_s: float) -> None:
        self.skipped = 0
        self._began_s = began_s
        self._since_s = began_s - HOUR_S
        self._buckets: dict[int, Counter[tuple[str | None, str | None, str]]] = {}
        self._since_start: Counter[Move] = Counter()
        # Partitions are read one after the other at first, so the newest are not those read last.
        self._newest: list[tuple[float, int, SegmentChange]] = []
        self._taken = 0

    def take(self, change: SegmentChange, published_s: float) -> None:
        """Take a change in."""
        move = _id(change.previous_segment), _id(change.segment)
        bucket = self._buckets.setdefault(int(published_s // BUCKET_S), Counter())
        bucket[*move, change.origin] += 1
        if published_s >= self._began_s:
            self._since_start[move] += 1
        self._taken += 1
        keep = heappush if len(self._newest) < SHOWN else heappushpop
        keep(self._newest, (published_s, self._taken, change))

    def known_since(self, time_s: float) -> None:
        """Note that changes before this were not read."""
        self._since_s = max(self._since_s, time_s)

    def seen(self, now_s: float) -> MovesSeen:
        """Return what was seen until now; forget what is older than an hour."""
        first = int((now_s - HOUR_S) // BUCKET_S)
        self._buckets = {at: counts for at, counts in self._buckets.items() if at >= first}
        last_hour: Counter[Move] = Counter()
        origins: Counter[str] = Counter()
        minute = int((now_s - MINUTE_S) // BUCKET_S)
        for at, counts in self._buckets.items():
            for (before, after, origin), count in counts.items():
                last_hour[before, after] += count
                origins[origin] += count if at > minute else 0
        return MovesSeen(
            since_s=max(self._since_s, now_s - HOUR_S),
            last_hour=last_hour,
            since_start=Counter(self._since_start),
            per_second={o: count / MINUTE_S for o, count in origins.items() if count},
            newest=tuple(change for _, _, change in sorted(self._newest, reverse=True)),
            skipped=self.skipped,
        )


def _id(segment: SegmentRef | None) -> str | None:
    return None if segment is None else segment.id
