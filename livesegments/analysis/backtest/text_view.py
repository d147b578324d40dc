"""What a backtest found, for a terminal of 80 columns."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from features.catalogue import CATALOGUE
from features.vector import PROFILE_FEATURES
from livesegments.analysis.backtest.event_log import NONE
from livesegments.analysis.backtest.results import Data, Outcome, iso_of
from livesegments.analysis.backtest.runner import Backtest
from livesegments.rendering.formats import day, number, percent
from livesegments.segments import naming

_BLOCKS = " ▁▂▃▄▅▆▇█"
_TREND, _NAME, _DATES = 24, 20, 5


def lines(found: Backtest) -> Iterator[str]:
    """Return the report, line by line."""
    shown = found.shown
    yield from _read(found.data, shown)
    if not shown.segments:
        yield from ("", no_model(shown))
        return
    if len(found.outcomes) > 1:
        yield from ("", *_comparison(found.outcomes))
    yield from ("", *_segments(shown))
    yield from ("", *_stability(shown))
    yield from ("", *_quality(shown))
    yield from ("", *_transitions(shown))
    yield from ("", *_generations(shown))


def no_model(outcome: Outcome) -> str:
    """Return why nobody is in a segment."""
    return (
        f"No model: it is fitted once {outcome.settings['warmup_customers']:,} customers have a"
        f" purchase in the window (LIVESEGMENTS_WARMUP_CUSTOMERS), and there were never so many;"
        f" at the end {outcome.customers:,}."
    )


def settings(outcome: Outcome) -> str:
    """Return the settings that matter in a line."""
    s = outcome.settings
    dwell = f"{s['min_dwell'] / 86_400:g} days" if s["min_dwell"] else "none"
    refit = f"gain {s['refit_gain']:g}" if s["refit"] == "auto" else "off"
    return (
        f"window {s['window_days']} days in {s['tiles']} tiles, margin {s['switch_margin']:g},"
        f" dwell {dwell}, warm-up {s['warmup_customers']:,}, refits {refit}"
    )


def span(data: Data) -> str:
    """Return what was read, and of when."""
    if data.first_us is None or data.last_us is None:
        return "nothing"
    first, last = day(iso_of(data.first_us)), day(iso_of(data.last_us))
    return (
        f"{data.purchases:,} purchases from {first} to {last} ({data.days:,.0f} days),"
        f" {data.profiles:,} profiles"
    )


def faults(data: Data, outcome: Outcome) -> list[str]:
    """Return what is wrong with the data, and what to do."""
    found = [f"{n:,} rows rejected: {why}" for why, n in data.rejected.most_common()]
    if data.duplicates:
        found.append(f"{data.duplicates:,} purchases left out: their event_id had come before")
    if outcome.late:
        found.append(
            f"{outcome.late:,} purchases do not count: older than the window when they came. Sort"
            " the file by occurred_at"
        )
    return found


def unknown(outcome: Outcome) -> str:
    """Return of how many customers profile fields are unknown."""
    shares = ", ".join(f"{name} {percent(outcome.unknown[name])}" for name in PROFILE_FEATURES)
    return f"unknown of {outcome.customers:,} current customers: {shares}"


def held(outcome: Outcome) -> str:
    """Return how often switches were held back."""
    s = outcome.stability
    return (
        f"when another centroid was nearest, the margin held {percent(s.held_by_margin)} of the"
        f" times, the dwell {percent(s.held_by_dwell)}"
    )


def _read(data: Data, outcome: Outcome) -> Iterator[str]:
    yield from wrapped(span(data))
    yield from wrapped(settings(outcome))
    for fault in faults(data, outcome):
        yield from wrapped(fault, "  ! ")
    yield from wrapped(unknown(outcome))


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return a text in lines of 80."""
    import textwrap

    after = " " * len(indent)
    return textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent=after)


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows with columns aligned: the first to the left, the others to the right."""
    found = list(rows)
    widths = [max(len(row[i]) for row in found) for i in range(len(found[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in found
    ]


def _segments(outcome: Outcome) -> Iterator[str]:
    yield f"Segments at the end, {day(outcome.days[-1])} (means of the window)"
    headings = (feature.heading.lower() for feature in CATALOGUE)
    rows = [("", "size", "share", *headings, "persona")]
    everyone = sum(segment.customers for segment in outcome.segments)
    rows += [
        (
            segment.name[:_NAME],
            f"{segment.customers:,}",
            percent(segment.customers / max(everyone, 1)),
            *(number(segment.centroid[each.name], each.digits) for each in CATALOGUE),
            number(segment.persona_distance, 2),
        )
        for segment in outcome.segments
    ]
    yield from table(rows)
    yield "persona: distance from what the name says, standard deviations a feature"
    for note in naming(outcome.segments):
        yield from wrapped(note)
    yield ""
    yield "Sizes over time"
    for segment in outcome.segments:
        sizes = outcome.sizes[segment.id]
        yield f"{segment.name[:_NAME]:<{_NAME}} {trend(sizes)}  {min(sizes):,} to {max(sizes):,}"


def trend(values: Sequence[float]) -> str:
    """Return values as a line of blocks, the highest full."""
    at = [len(values) * i // _TREND for i in range(_TREND)]
    top = max(values) or 1
    return "".join(_BLOCKS[ceil(values[i] * 8 / top)] for i in at)


def _stability(outcome: Outcome) -> Iterator[str]:
    s = outcome.stability
    yield "Stability"
    yield from wrapped(
        f"{s.a_day:,.1f} changes a day; {s.a_customer_a_year:.1f} a customer a year, of which"
        f" {percent(s.returned)} undo the last one within 30 days"
    )
    origins = ", ".join(f"{origin} {n:,}" for origin, n in s.origins.items())
    yield from wrapped(f"by origin: {origins or 'none'}")
    yield from wrapped(held(outcome))
    yield from wrapped(
        f"at the end {percent(s.not_nearest, 1)} of the customers are not in the segment of the"
        " nearest centroid"
    )


def _quality(outcome: Outcome) -> Iterator[str]:
    yield "Quality: inertia relative to the best of 20 batch K-Means fits (1 is as good)"
    if not outcome.quality:
        yield "not judged: too few customers differ"
        return
    rows = [("", "median", "worst", *(day(point.day)[:-5] for point in outcome.quality[-_DATES:]))]
    for name, what in (("by_centroids", "nearest centroid"), ("as_published", "as published")):
        values = [getattr(point, name) for point in outcome.quality[-_DATES:]]
        rows.append((what, *(f"{value:.3f}" for value in (*outcome.inertia(name), *values))))
    yield from table(rows)


def _transitions(outcome: Outcome) -> Iterator[str]:
    yield "Changes, from rows to columns"
    ids = [segment.id for segment in outcome.segments] + [NONE]
    names = {segment.id: segment.name for segment in outcome.segments} | {NONE: "None"}
    rows = [("", *(names[each][:8] for each in ids))]
    rows += [
        (names[a][:_NAME], *("." if a == b else f"{outcome.transitions[a][b]:,}" for b in ids))
        for a in ids
    ]
    yield from table(rows)


def _generations(outcome: Outcome) -> Iterator[str]:
    yield "Generations of the model"
    for fit in outcome.generations:
        why = "first fit" if fit.gain is None else f"refit, saves {percent(fit.gain, 1)}"
        yield f"{day(fit.day):>11}  {fit.customers:>7,} customers  {why}"


def _comparison(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "Settings side by side (* as set now)"
    rows = [comparison_head(), *(comparison_row(outcome) for outcome in outcomes)]
    yield from table(rows)
    yield "a day, a year: changes in all, and a customer; undone: within 30 days;"
    yield "nearest, published: median inertia, by centroids and by published segments"


def comparison_head() -> tuple[str, ...]:
    """Return the columns of a comparison."""
    return ("", "a day", "a year", "undone", "held", "nearest", "published", "fits")


def comparison_row(outcome: Outcome) -> tuple[str, ...]:
    """Return an outcome as a row of a comparison."""
    s = outcome.stability
    return (
        f"{outcome.label}{' *' if outcome.is_given else ''}",
        number(s.a_day, 1),
        number(s.a_customer_a_year, 1),
        percent(s.returned),
        percent(s.held_by_margin + s.held_by_dwell),
        number(outcome.inertia("by_centroids")[0], 3),
        number(outcome.inertia("as_published")[0], 3),
        f"{len(outcome.generations)}",
    )
