"""A card for each segment: how large, and where its customers stand beside its persona."""

from collections.abc import Mapping
from html import escape

from features.catalogue import CATALOGUE, Feature
from livesegments.analysis.report.models import Report
from livesegments.rendering.wording import day, number, percent
from livesegments.segments import Segment

_REACH = 2.2
"""Standard deviations to either side that the scale shows."""

_KEY = (
    '<aside class="key"><p><i class="here"></i> where its customers stand, with the mean</p>'
    '<p><i class="there"></i> where its persona is expected</p>'
    "<p>The line in the middle is the average customer; the scale reaches two standard deviations"
    " to either side.</p></aside>"
)


def cards(found: Report, colors: Mapping[str, str]) -> str:
    """Return the cards of all segments."""
    inside = "".join(_card(found, segment, colors[segment.id]) for segment in found.segments)
    return f'<div class="cards">{inside}{_KEY}</div>'


def _card(found: Report, segment: Segment, color: str) -> str:
    sizes = found.sizes[segment.id]
    share = percent(segment.customers / max(found.customers, 1))
    rows = "".join(_row(found, segment, feature) for feature in CATALOGUE)
    return (
        f'<section class="card" style="--c:var(--{color})"><h3>{escape(segment.name)}</h3>'
        f'<p class="size"><strong>{number(segment.customers)}</strong> customers, {share}'
        f"<small>{_trend(sizes[-1] - sizes[0])} since {day(found.days[0])}</small></p>"
        f'<p class="dim">{escape(segment.description)}</p><dl class="stands">{rows}</dl></section>'
    )


def _row(found: Report, segment: Segment, feature: Feature) -> str:
    here, there = found.places[segment.id][feature.name]
    value = number(segment.centroid[feature.name], feature.digits)
    label = f"{feature.name}: persona {there:+.1f} standard deviations"
    marks = f'<i class="there" style="left:{_left(there):.1f}%"></i>'
    if here is not None:
        label += f", customers {here:+.1f}"
        low, high = sorted((_left(here), _left(there)))
        marks = (
            f'<i class="link" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>{marks}'
            f'<i class="here" style="left:{_left(here):.1f}%"></i>'
        )
    return (
        f'<dt>{feature.name.capitalize()}</dt><dd><span class="scale" role="img"'
        f' aria-label="{label}">{marks}</span><span>{value}</span></dd>'
    )


def _left(position: float) -> float:
    return 50 + 50 * max(-1.0, min(position / _REACH, 1.0))


def _trend(difference: int) -> str:
    if not difference:
        return "as many as"
    return f"{abs(difference):,} {'more' if difference > 0 else 'fewer'}"
