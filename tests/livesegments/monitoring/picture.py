"""A dashboard drawn as SVG from its JSON and Prometheus' answers, for docs without a Grafana.

It shows each panel at its position in Grafana and with the data of its own queries; it is not a
screenshot.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

from tests.segmentations import PERSONAS

Points = list[tuple[float, float]]

COLUMN, LINE, GAP = 46, 20, 6
"""Pixels of a column and a line of Grafana's grid, and between panels."""
COLOURS = ("#56a64b", "#e0b400", "#3274d9", "#e02f44", "#a352cc", "#ff780a", "#0a9396", "#888888")
LEGENDS = 8
"""Further series are drawn without a legend."""
LEFT, TOP, BELOW = 44, 28, 26


class Series(NamedTuple):
    """A series returned by Prometheus: its labels, and (seconds, value) of each point."""

    labels: dict[str, str]
    points: Points


REPEATED = {"feature": PERSONAS.feature_names}
Ask = Callable[[str], Sequence[Series]]
"""Answers an expression over the time shown."""


def picture(dashboard: dict[str, Any], ask: Ask) -> str:
    """Return a dashboard as SVG."""
    panels = unrolled(dashboard["panels"])
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * COLUMN, lines * LINE
    drawn = "\n".join(_panel(panel, ask) for panel in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' font-family="Helvetica, Arial, sans-serif" font-size="10" fill="#333">\n'
        f'<rect width="100%" height="100%" fill="#f4f5f5"/>\n{drawn}\n</svg>\n'
    )


def unrolled(panels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return panels with those that Grafana repeats for each value of a label, and below moved."""
    shown: list[dict[str, Any]] = []
    shift = 0
    for panel in panels:
        place = panel["gridPos"] | {"y": panel["gridPos"]["y"] + shift}
        label = panel.get("repeat")
        if label is None:
            shown.append(panel | {"gridPos": place})
            continue
        in_a_row, values = 24 // place["w"], REPEATED[label]
        for i, value in enumerate(values):
            row, column = divmod(i, in_a_row)
            at = place | {"x": column * place["w"], "y": place["y"] + row * place["h"]}
            one = json.loads(json.dumps(panel).replace(f"${label}", value))
            shown.append(one | {"gridPos": at})
        shift += (len(values) - 1) // in_a_row * place["h"]
    return shown


def _panel(panel: dict[str, Any], ask: Ask) -> str:
    place = panel["gridPos"]
    x, y = place["x"] * COLUMN, place["y"] * LINE
    width, height = place["w"] * COLUMN - GAP, place["h"] * LINE - GAP
    title = escape(panel["title"])
    if panel["type"] == "row":
        return f'<text x="{x + 4}" y="{y + 15}" font-size="13" font-weight="bold">{title}</text>'
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    answers = [(target, ask(target["expr"])) for target in panel["targets"]]
    inside = _KINDS[panel["type"]](panel, answers, unit, width, height)
    return (
        f'<g transform="translate({x} {y})"><rect width="{width}" height="{height}" fill="#fff"'
        f' stroke="#dcdde0"/><text x="8" y="17" font-size="12">{title}</text>{inside}</g>'
    )


Answers = Sequence[tuple[dict[str, Any], Sequence[Series]]]


def _lines(panel: dict[str, Any], answers: Answers, unit: str, width: int, height: int) -> str:
    named = [
        (_legend(target["legendFormat"], each.labels), [p for p in each.points if _finite(p)])
        for target, found in answers
        for each in found
    ]
    named = [(name, points) for name, points in named if points]
    stacking = panel["fieldConfig"]["defaults"]["custom"].get("stacking", {})
    if stacking.get("mode") == "normal":
        named = _stacked(named)
    if not named:
        return f'<text x="{width // 2}" y="{height // 2}" text-anchor="middle">no data</text>'
    times, values = zip(*(point for _, points in named for point in points), strict=True)
    low, high = min(0.0, *values), max(values)
    high = high if high > low else low + 1
    right, bottom = width - 10, height - BELOW

    def at(point: tuple[float, float]) -> str:
        share = (point[0] - min(times)) / max(max(times) - min(times), 1)
        up = (point[1] - low) / (high - low)
        return f"{LEFT + share * (right - LEFT):.0f},{bottom - up * (bottom - TOP):.1f}"

    shapes = []
    for tick in (low, (low + high) / 2, high):
        y = at((0, tick)).split(",")[1]
        value = text(tick, unit)
        shapes.append(
            f'<path d="M{LEFT} {y}H{right}" stroke="#eee"/>'
            f'<text x="{LEFT - 4}" y="{float(y) + 3:.0f}" text-anchor="end">{value}</text>'
        )
    x = LEFT
    for number, (name, points) in enumerate(named):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(map(at, points))
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        if number < LEGENDS and x + 6 * len(name) < right:
            shapes.append(
                f'<rect x="{x}" y="{height - 14}" width="8" height="3" fill="{colour}"/>'
                f'<text x="{x + 11}" y="{height - 9}">{escape(name)}</text>'
            )
            x += 20 + round(5.8 * len(name))
    return "".join(shapes)


def _stacked(named: list[tuple[str, Points]]) -> list[tuple[str, Points]]:
    below: dict[float, float] = {}
    found = []
    for name, points in named:
        for time, value in points:
            below[time] = below.get(time, 0.0) + value
        found.append((name, [(time, below[time]) for time, _ in points]))
    return found


def _number(_: dict[str, Any], answers: Answers, unit: str, width: int, height: int) -> str:
    values = [p[1] for _, found in answers for each in found for p in each.points if _finite(p)]
    latest = text(values[-1], unit) if values else "no data"
    return (
        f'<text x="{width // 2}" y="{height // 2 + 18}" font-size="32" text-anchor="middle">'
        f"{latest}</text>"
    )


def _matrix(panel: dict[str, Any], answers: Answers, unit: str, width: int, height: int) -> str:
    options = panel["transformations"][0]["options"]
    row, column = options["rowField"], options["columnField"]
    cells = {
        (each.labels[row], each.labels[column]): each.points[-1][1]
        for _, found in answers
        for each in found
    }
    names = sorted({name for pair in cells for name in pair})
    wide, high = (width - 110) // max(len(names), 1), (height - TOP - 14) // (len(names) + 1)
    drawn = []
    for i, name in enumerate(names):
        y = TOP + high * (i + 1) + 12
        drawn.append(f'<text x="8" y="{y}">{name}</text>')
        short = name if 6 * len(name) < wide else name[: wide // 6 - 1] + "…"
        drawn.append(
            f'<text x="{110 + wide * (i + 1) - 8}" y="{TOP + 12}" text-anchor="end">{short}</text>'
        )
        for j, other in enumerate(names):
            value = cells.get((name, other), 0.0)
            drawn.append(
                f'<text x="{110 + wide * (j + 1) - 8}" y="{y}" text-anchor="end">'
                f"{text(round(value), unit)}</text>"
            )
    return "".join(drawn)


_KINDS = {"timeseries": _lines, "stat": _number, "table": _matrix}


def _legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern)


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[1])


def text(value: float, unit: str) -> str:
    """Format a value in a Grafana unit, as short as is readable."""
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    suffix = {"s": " s", "cps": "/s", "bytes": "B"}.get(unit, "")
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {letter}{suffix.strip()}"
    return f"{value:.3g}{suffix}"
