"""What a backtest found, as one page that needs nothing beside itself."""

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape

from features.catalogue import CATALOGUE
from livesegments.analysis.backtest.event_log import NONE
from livesegments.analysis.backtest.results import Data, Outcome
from livesegments.analysis.backtest.runner import Backtest
from livesegments.analysis.backtest.text_view import (
    comparison_head,
    comparison_row,
    faults,
    held,
    no_model,
    settings,
    span,
    unknown,
)
from livesegments.rendering import plots
from livesegments.rendering.html import details, document, facts, figure, moves, table
from livesegments.rendering.over_time import moves_a_day, sizes_over_time
from livesegments.rendering.wording import day, number, percent
from livesegments.segments import Segment, naming


def page(found: Backtest) -> str:
    """Return the page."""
    return document("Livesegments backtest", _parts(found, found.shown))


def _parts(found: Backtest, shown: Outcome) -> Iterator[str]:
    yield "<h1>Backtest: five segments over a history</h1>"
    yield f"<p>{escape(span(found.data))}.</p>"
    yield f'<p class="dim">Settings: {escape(settings(shown))}.</p>'
    if not shown.segments:
        yield f'<p class="note">{escape(no_model(shown))}</p>'
        yield from _data(found.data, shown)
        return
    yield _facts(shown)
    if len(found.outcomes) > 1:
        yield from _comparison(found.outcomes)
    yield from _segments(shown)
    yield from sizes_over_time(shown.days, shown.segments, shown.sizes)
    yield from _changes(shown)
    yield from _quality(shown)
    yield from _transitions(shown)
    yield from _generations(shown)
    yield from _data(found.data, shown)


def _facts(outcome: Outcome) -> str:
    s = outcome.stability
    middle, worst = outcome.inertia("by_centroids")
    found = (
        ("Customers now", number(outcome.customers)),
        ("Changes a day", number(s.a_day, 1)),
        ("Changes a customer a year", number(s.a_customer_a_year, 1)),
        ("Undone within 30 days", percent(s.returned)),
        ("Inertia, best batch fit = 1", number(middle, 3)),
        ("At its worst", number(worst, 3)),
    )
    return facts(found)


def _comparison(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "<h2>Settings side by side</h2>"
    yield table(
        "Settings side by side",
        "Changes in all a day, and of a customer a year; the share that undid the last one within"
        " 30 days; the share of switches held by margin or dwell; median inertia, by nearest"
        " centroids and by published segments; fits. * is as set now, and shown in full below.",
        comparison_head(),
        [comparison_row(outcome) for outcome in outcomes],
        marked=[outcome.is_given for outcome in outcomes],
    )


def _segments(outcome: Outcome) -> Iterator[str]:
    yield "<h2>Segments at the end</h2>"
    everyone = sum(segment.customers for segment in outcome.segments)
    yield table(
        "Segments at the end",
        f"On {day(outcome.days[-1])}. Means of the customers nearest to each centroid, over the"
        f" window; spend in {outcome.settings['currency']}. Persona: how far the centroid is from"
        " where the name expects it, in standard deviations a feature.",
        (
            "Segment",
            "Size",
            "Share",
            *(feature.name.capitalize() for feature in CATALOGUE),
            "Persona",
        ),
        [_segment(each, everyone) for each in outcome.segments],
    )
    for note in naming(outcome.segments):
        yield f'<p class="note">{escape(note)}</p>'


def _segment(segment: Segment, everyone: int) -> tuple[str, ...]:
    return (
        segment.name,
        number(segment.customers),
        percent(segment.customers / max(everyone, 1)),
        *(number(segment.centroid[each.name], each.digits) for each in CATALOGUE),
        number(segment.persona_distance, 2),
    )


def _changes(outcome: Outcome) -> Iterator[str]:
    s = outcome.stability
    yield "<h2>Changes a day</h2>"
    yield (
        f"<p>{number(s.reassigned)} changes from a segment to another, {number(s.unassigned)} to"
        f" none when a window was empty; {number(s.assigned)} first segments are not among them."
        f" {escape(held(outcome)).capitalize()}. At the end {percent(s.not_nearest, 1)} of the"
        " customers are not in the segment of the nearest centroid.</p>"
    )
    yield from moves_a_day(outcome.days, outcome.moves)


def _quality(outcome: Outcome) -> Iterator[str]:
    yield "<h2>Quality over time</h2>"
    if not outcome.quality:
        yield "<p>Not judged: too few customers differ.</p>"
        return
    names = {"Nearest centroid": "by_centroids", "As published": "as_published"}
    colors = {"Nearest centroid": "c0", "As published": "c1"}
    series = {name: [getattr(p, field) for p in outcome.quality] for name, field in names.items()}
    first = date.fromisoformat(outcome.days[0])
    at = [(date.fromisoformat(point.day) - first).days for point in outcome.quality]
    what = "Inertia relative to the best batch fit, by date; the table below has the numbers"
    caption = (
        "Inertia of the current customers relative to the best of 20 batch K-Means fits of the same"
        " customers: 1 is as good. As published is what margin and dwell leave of it."
    )
    plot = plots.lines(outcome.days, at, series, colors, what, level=1.0)
    yield figure(plots.legend(colors) + plot, caption)
    yield details(
        "Quality as a table",
        ("Date", "Customers", *names),
        [
            (
                day(point.day),
                number(point.customers),
                number(point.by_centroids, 3),
                number(point.as_published, 3),
            )
            for point in outcome.quality
        ],
    )


def _transitions(outcome: Outcome) -> Iterator[str]:
    yield "<h2>Who went where</h2>"
    names = {segment.id: segment.name for segment in outcome.segments} | {NONE: "No segment"}
    yield moves("Who went where", names, outcome.transitions)


def _generations(outcome: Outcome) -> Iterator[str]:
    yield "<h2>Generations of the model</h2>"
    yield table(
        "Generations of the model",
        "A fit that saves enough of the inertia takes over; sizes are those of its sample.",
        ("Date", "Customers", "Saved", *(segment.name for segment in outcome.segments)),
        [
            (
                day(fit.day),
                number(fit.customers),
                "first fit" if fit.gain is None else percent(fit.gain, 1),
                *(number(fit.sizes.get(segment.id)) for segment in outcome.segments),
            )
            for fit in outcome.generations
        ],
    )


def _data(data: Data, outcome: Outcome) -> Iterator[str]:
    yield "<h2>Data</h2>"
    for fault in faults(data, outcome):
        yield f'<p class="note">{escape(fault)}</p>'
    if not faults(data, outcome):
        yield "<p>Every row was taken.</p>"
    yield f"<p>{escape(unknown(outcome)).capitalize()}.</p>"
