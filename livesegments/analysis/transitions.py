"""Moves of customers between segments, counted by day and origin."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

NONE = "none"
"""Stands for no segment where ids are counted."""

Move = tuple[int, str, str, str]
"""Day since the epoch, segment before and after (ids, ``none`` for none), origin."""


class TransitionCounts:
    """Number of moves by day, segments and origin.

    Parameters
    ----------
    segments
        Ids of the segments.
    """

    def __init__(self, segments: Sequence[str]) -> None:
        self._segments, self._names = list(segments), [*segments, NONE]
        self._counts: Counter[Move] = Counter()

    def add(self, moves: Iterable[Move]) -> None:
        """Count moves."""
        self._counts.update(moves)

    def table(self) -> pd.DataFrame:
        """Return the counts, with columns ``day, before, after, origin, moves``."""
        rows = [(*move, count) for move, count in self._counts.items()]
        return pd.DataFrame(rows, columns=["day", "before", "after", "origin", "moves"])

    def transitions(self) -> dict[str, dict[str, int]]:
        """Return segment before -> segment after -> moves."""
        grid = _grid(self.table(), "before", "after", self._names, self._names)
        rows = zip(self._names, grid.to_numpy().tolist(), strict=True)
        return {before: dict(zip(self._names, row, strict=True)) for before, row in rows}

    def by_day(self, days: range) -> dict[str, tuple[int, ...]]:
        """Return origin -> moves out of a segment on each day."""
        table = self.table()
        left = table[table["before"] != NONE]
        grid = _grid(left, "origin", "day", sorted(left["origin"].unique()), days)
        return {str(origin): tuple(row.tolist()) for origin, row in grid.iterrows()}

    def sizes(self, days: range, now: Sequence[int] | None = None) -> dict[str, tuple[int, ...]]:
        """Return segment -> customers at the end of each day.

        Parameters
        ----------
        days
            The last one is that of the newest moves.
        now
            Current sizes, from which the days are counted back: no older moves are needed. By
            default all customers began in no segment.
        """
        table = self.table()
        came = _grid(table, "day", "after", days, self._segments)
        net = came - _grid(table, "day", "before", days, self._segments)
        later = net[::-1].cumsum()[::-1].shift(-1, fill_value=0)
        sizes = ((net.sum() if now is None else list(now)) - later).clip(lower=0)
        return {segment: tuple(sizes[segment].tolist()) for segment in self._segments}

    def since_first(self, days: range, now: Sequence[int]) -> range:
        """Return the days without those before anybody was in a segment."""
        totals = map(sum, zip(*self.sizes(days, now).values(), strict=True))
        return days[next((i for i, total in enumerate(totals) if total), 0) :]


def _grid(
    table: pd.DataFrame, rows: str, columns: str, index: Iterable[object], heads: Iterable[object]
) -> pd.DataFrame:
    """Return the moves by two columns of a table, 0 where there are none."""
    sums = table.groupby([rows, columns])["moves"].sum().unstack()
    return sums.reindex(index=list(index), columns=list(heads)).fillna(0).astype(int)
