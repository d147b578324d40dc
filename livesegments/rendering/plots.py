"""Geometry of plots drawn as inline SVG; their labels are HTML text, sharp at any width."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from livesegments.rendering.formats import day

SIDE = 1000
"""Width and height of the view box."""
_MOST_POINTS = 240
_MOST_BARS = 60
_X_LABELS = 4
COLORS = tuple(f"c{i}" for i in range(12))
"""CSS variables, one for each segment that there may be."""


class Series(NamedTuple):
    """Values over days, or at some of them, and the CSS variable of their color."""

    name: str
    color: str
    values: Sequence[float]


class Shape(NamedTuple):
    """An SVG path; ``kind`` is its CSS class, ``title`` its tooltip."""

    kind: str
    color: str
    path: str
    title: str = ""


class Plot(NamedTuple):
    """A plot: shapes, heights of grid lines with their labels, and dates below."""

    shapes: list[Shape]
    grid: list[tuple[float, str]]
    dates: list[str]


def series(values: Iterable[tuple[str, Sequence[float]]]) -> list[Series]:
    """Return (name, values) with a color each."""
    return [Series(name, COLORS[i % len(COLORS)], each) for i, (name, each) in enumerate(values)]


def totals(values: Mapping[str, Sequence[float]]) -> list[tuple[str, float]]:
    """Return names and their sums, the largest first."""
    return sorted(((name, sum(each)) for name, each in values.items()), key=lambda each: -each[1])


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers from at or below ``low`` to at or above ``high``.

    Examples
    --------
    >>> ticks(0, 2323)
    [0.0, 1000.0, 2000.0, 3000.0]
    """
    span = max(high - low, 1e-9 * max(abs(high), 1.0))
    power = 10.0 ** floor(log10(span / wanted))
    step = next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= wanted)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(step * i, 10) for i in range(first, max(last, first + 1) + 1)]


def spread(n: int, most: int = 13) -> list[int]:
    """Return at most so many of n indexes, evenly spread from first to last."""
    if n <= most:
        return list(range(n))
    return sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def areas(days: Sequence[str], stacked: Sequence[Series]) -> Plot:
    """Return series stacked as areas, the last on top."""
    if len(days) == 1:  # as wide as the plot
        twice = [each._replace(values=[*each.values] * 2) for each in stacked]
        return areas([*days] * 2, twice)._replace(dates=[day(days[0])])
    at = spread(len(days), _MOST_POINTS)
    scale = ticks(0, max(sum(each.values[i] for each in stacked) for i in at))
    shapes, below = [], [0.0] * len(at)
    for each in stacked:
        above = [low + each.values[i] for low, i in zip(below, at, strict=True)]
        edge = [*_points(at, above, len(days), scale), *_points(at, below, len(days), scale)[::-1]]
        title = f"{each.name}: {each.values[-1]:,} at the end"
        shapes.append(Shape("area", each.color, f"M{' '.join(edge)}Z", title))
        below = above
    return _plot(shapes, scale, days)


def bars(days: Sequence[str], stacked: Sequence[Series]) -> Plot:
    """Return series stacked as at most 60 bars, each the mean of some successive days."""
    width = ceil(len(days) / _MOST_BARS)
    unit = "an hour" if len(days[0]) > len("2026-03-01") else "a day"
    starts = range(0, len(days), width)
    means = [
        [sum(part) / len(part) for part in (each.values[i : i + width] for i in starts)]
        for each in stacked
    ]
    scale = ticks(0, max(map(sum, zip(*means, strict=True)), default=1))
    shapes = []
    for i, start in enumerate(starts):
        left, right = _x(start, len(days)), _x(min(start + width, len(days)), len(days))
        low = 0.0
        for each, values in zip(stacked, means, strict=True):
            bottom, top = _y(low, scale), _y(low + values[i], scale)
            path = f"M{left:.1f} {top:.1f}h{(right - left) * 0.86:.1f}V{bottom:.1f}H{left:.1f}Z"
            title = f"{day(days[start])}: {values[i]:,.1f} {unit} by {each.name}"
            shapes.append(Shape("bar", each.color, path, title))
            low += values[i]
    return _plot(shapes, scale, days)


def lines(days: Sequence[str], at: Sequence[int], drawn: Sequence[Series], level: float) -> Plot:
    """Return series as lines with a dot at each point, and a dashed line at ``level``.

    ``at`` (n,) gives the indexes of the days that the values of each series (n,) belong to.
    """
    values = [value for each in drawn for value in each.values]
    scale = ticks(min(level, *values), max(level, *values))
    shapes = [Shape("level", "text", f"M0 {_y(level, scale):.1f}H{SIDE}")]
    for each in drawn:
        points = _points(at, each.values, len(days), scale)
        shapes.append(Shape("line", each.color, f"M{' '.join(points)}"))
        shapes += [
            Shape("dot", each.color, f"M{point}h0.01", f"{day(days[i])}, {each.name}: {value:.3f}")
            for i, point, value in zip(at, points, each.values, strict=True)
        ]
    return _plot(shapes, scale, days)


def _x(at: float, days: int) -> float:
    return SIDE * at / max(days, 1)


def _y(value: float, scale: Sequence[float]) -> float:
    return SIDE * (1 - (value - scale[0]) / (scale[-1] - scale[0]))


def _points(
    at: Sequence[int], values: Sequence[float], days: int, scale: Sequence[float]
) -> list[str]:
    return [
        f"{_x(i, max(days - 1, 1)):.1f},{_y(value, scale):.1f}"
        for i, value in zip(at, values, strict=True)
        if isfinite(value)
    ]


def _plot(shapes: list[Shape], scale: Sequence[float], days: Sequence[str]) -> Plot:
    digits = max(0, -floor(log10(scale[1] - scale[0]) + 1e-9))
    grid = [(round(_y(value, scale), 1), f"{value:,.{digits}f}") for value in scale]
    places = sorted({round(i * (len(days) - 1) / (_X_LABELS - 1)) for i in range(_X_LABELS)})
    return Plot(shapes, grid, [day(days[i]) for i in places])
