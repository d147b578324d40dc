"""Moves of customers between segments, counted by day and origin."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

NONE = "none"
"""Stands for no segment where ids are counted."""

Move = tuple[int, str, str, str]
"""Day since the epoch, segment before and after (ids, ``none`` for none), origin."""


class TransitionCounts:
    """Number of moves by day, segments and origin."""

    def __init__(self, segments: Sequence[str]) -> None:
        self._names = (*segments, NONE)
        self.moves: Counter[Move] = Counter()

    def add(self, moves: Iterable[Move]) -> None:
        """Count moves."""
        self.moves.update(moves)

    def transitions(self) -> dict[str, dict[str, int]]:
        """Return segment before -> segment after -> moves."""
        found = {before: dict.fromkeys(self._names, 0) for before in self._names}
        for (_, before, after, _), n in self.moves.items():
            found[before][after] += n
        return found

    def by_day(self, days: range) -> dict[str, tuple[int, ...]]:
        """Return origin -> moves out of a segment on each day."""
        found: dict[str, list[int]] = defaultdict(lambda: [0] * len(days))
        for (day, before, _, origin), n in self.moves.items():
            if before != NONE and day in days:
                found[origin][day - days.start] += n
        return {origin: tuple(found[origin]) for origin in sorted(found)}

    def sizes(self, days: range, now: Sequence[int] | None = None) -> dict[str, tuple[int, ...]]:
        """Return segment -> customers at the end of each day, the last that of the newest moves.

        The days are counted back from the sizes ``now``, so no older moves are needed; by default
        all customers began in no segment.
        """
        net = np.zeros((len(days), len(self._names)), np.int64)
        for (day, before, after, _), n in self.moves.items():
            if day in days:
                net[day - days.start, self._names.index(before)] -= n
                net[day - days.start, self._names.index(after)] += n
        later = net[::-1].cumsum(axis=0)[::-1] - net
        ends = np.append(now, 0) if now is not None else net.sum(axis=0)
        sizes = np.maximum(ends - later, 0).T.tolist()
        return {name: tuple(row) for name, row in zip(self._names[:-1], sizes, strict=False)}

    def since_first(self, days: range, now: Sequence[int]) -> range:
        """Return the days without those before anybody was in a segment."""
        totals = map(sum, zip(*self.sizes(days, now).values(), strict=True))
        return days[next((i for i, total in enumerate(totals) if total), 0) :]
