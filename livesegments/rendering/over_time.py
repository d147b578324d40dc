"""Segments over the days: their sizes, and the moves out of them."""

from collections.abc import Iterator, Mapping, Sequence

from livesegments.rendering import plots
from livesegments.rendering.html import details, figure, heading, spread
from livesegments.rendering.wording import day, number
from livesegments.segments import Segment

_COLORS = ("c0", "c1", "c2", "c3", "c4")


def colors(segments: Sequence[Segment]) -> dict[str, str]:
    """Return the color of each segment, by id."""
    return dict(zip((each.id for each in reversed(segments)), _COLORS, strict=True))


def sizes_over_time(
    days: Sequence[str], segments: Sequence[Segment], sizes: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """Yield the sizes of segments, by id, as they were on each day."""
    # The legend lists them as they are stacked, from the top.
    of = {each.name: colors(segments)[each.id] for each in segments}
    series = {each.name: sizes[each.id] for each in reversed(segments)}
    what = "Customers in each segment by day, stacked; the table below has the numbers"
    yield heading("Sizes over time")
    yield figure(plots.legend(of) + plots.areas(days, series, of, what))
    yield details(
        "Sizes as a table",
        ("Date", *(each.name for each in segments)),
        [
            (day(days[i]), *(number(sizes[each.id][i]) for each in segments))
            for i in spread(len(days))
        ],
    )


def moves_a_day(days: Sequence[str], moves: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield the moves out of a segment on each day, by origin."""
    if not moves:
        return
    of = {origin: _COLORS[i % len(_COLORS)] for i, origin in enumerate(moves)}
    what = "Changes a day by origin, means of stretches of days; the table below has the numbers"
    caption = "By why: a purchase (live), a profile, a window that moved on (expiry), a new fit"
    caption += " (model)."
    yield figure(plots.legend(of) + plots.bars(days, moves, of, what), caption)
    rows = sorted(((origin, sum(counts)) for origin, counts in moves.items()), key=lambda r: -r[1])
    yield details(
        "Changes as a table", ("Origin", "Changes"), [(name, number(n)) for name, n in rows]
    )
