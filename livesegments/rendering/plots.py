"""Plots as inline SVG that stretches to any width; labels are text beside it and stay sharp."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite, log10

SIDE = 1000
_MOST_POINTS = 240
_X_LABELS = 4


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


def areas(
    days: Sequence[str], series: Mapping[str, Sequence[float]], colors: Mapping[str, str], what: str
) -> str:
    """Return series stacked as areas, the last on top."""
    at = _thinned(len(days))
    top = max(sum(values[i] for values in series.values()) for i in at)
    scale = ticks(0, top)
    below = [0.0] * len(at)
    shapes = []
    for name, values in series.items():
        above = [low + values[i] for low, i in zip(below, at, strict=True)]
        edge = [*_points(at, above, len(days), scale), *_points(at, below, len(days), scale)[::-1]]
        shapes.append(
            f'<polygon class="area" style="fill:var(--{colors[name]})" points="{" ".join(edge)}">'
            f"<title>{escape(name)}: {values[-1]:,} at the end</title></polygon>"
        )
        below = above
    return _frame(shapes, scale, days, what)


def bars(
    days: Sequence[str], series: Mapping[str, Sequence[float]], colors: Mapping[str, str], what: str
) -> str:
    """Return series stacked as bars, each the mean of a stretch of days, for at most 60 bars."""
    width = ceil(len(days) / 60)
    starts = range(0, len(days), width)
    means = {
        name: [sum(values[i : i + width]) / len(values[i : i + width]) for i in starts]
        for name, values in series.items()
    }
    scale = ticks(0, max((sum(column) for column in zip(*means.values(), strict=True)), default=1))
    shapes = []
    for i, start in enumerate(starts):
        low = 0.0
        for name, values in means.items():
            left, right = _x(start, len(days)), _x(min(start + width, len(days)), len(days))
            bottom, top = _y(low, scale), _y(low + values[i], scale)
            shapes.append(
                f'<rect style="fill:var(--{colors[name]})" x="{left:.1f}" y="{top:.1f}"'
                f' width="{(right - left) * 0.86:.1f}" height="{bottom - top:.1f}">'
                f"<title>{days[start]}: {values[i]:,.1f} a day by {escape(name)}</title></rect>"
            )
            low += values[i]
    return _frame(shapes, scale, days, what)


def lines(
    days: Sequence[str],
    at: Sequence[int],
    series: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    what: str,
    level: float,
) -> str:
    """Return series as lines with a dot at each point, and a level to compare them with.

    ``at`` (n,) says which of the days the points of each series (n,) are of.
    """
    values = [value for row in series.values() for value in row]
    scale = ticks(min(level, *values), max(level, *values))
    shapes = [f'<path class="level" d="M0 {_y(level, scale):.1f} H{SIDE}"/>']
    for name, row in series.items():
        points = _points(at, row, len(days), scale)
        stroke = f'style="stroke:var(--{colors[name]})"'
        shapes.append(f'<polyline class="line" {stroke} points="{" ".join(points)}"/>')
        shapes += [
            f'<path class="dot" {stroke} d="M{point.replace(",", " ")} h0.01">'
            f"<title>{days[i]}, {escape(name)}: {value:.3f}</title></path>"
            for i, point, value in zip(at, points, row, strict=True)
        ]
    return _frame(shapes, scale, days, what)


def legend(colors: Mapping[str, str]) -> str:
    """Return which color is what."""
    items = (
        f'<li><span class="swatch" style="background:var(--{color})"></span>{escape(name)}</li>'
        for name, color in colors.items()
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _thinned(n: int) -> list[int]:
    if n <= _MOST_POINTS:
        return list(range(n))
    return sorted({round(i * (n - 1) / (_MOST_POINTS - 1)) for i in range(_MOST_POINTS)})


def _x(day: float, days: int) -> float:
    return SIDE * day / max(days, 1)


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


def _frame(shapes: Sequence[str], scale: Sequence[float], days: Sequence[str], what: str) -> str:
    grid = "".join(f'<path class="grid" d="M0 {_y(v, scale):.1f} H{SIDE}"/>' for v in scale)
    digits = max(0, -floor(log10(scale[1] - scale[0]) + 1e-9))
    labels = "".join(
        f'<span style="top:{_y(value, scale) / SIDE * 100:.2f}%">{value:,.{digits}f}</span>'
        for value in scale
    )
    places = sorted({round(i * (len(days) - 1) / (_X_LABELS - 1)) for i in range(_X_LABELS)})
    dates = "".join(f"<span>{days[i]}</span>" for i in places)
    return (
        f'<div class="plot"><div class="y" aria-hidden="true">{labels}</div>'
        f'<svg viewBox="0 0 {SIDE} {SIDE}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(what, quote=True)}"><title>{escape(what)}</title>{grid}'
        f'{"".join(shapes)}</svg><div class="x" aria-hidden="true">{dates}</div></div>'
    )
