"""The results of a backtest as text, for a terminal of 80 columns."""

from livesegments.analysis.backtest import wording
from livesegments.analysis.backtest.event_log import NONE
from livesegments.analysis.backtest.results import BacktestResult
from livesegments.analysis.backtest.runner import Backtest
from livesegments.analysis.segments import naming
from livesegments.features.feature_specs import CATALOGUE
from livesegments.rendering.formats import day, number, percent
from livesegments.rendering.templates import render, wrapped

_NAME, _DATES = 20, 5


def text(found: Backtest) -> str:
    """Return the results as text."""
    result = found.shown
    compared = [wording.comparison_row(each) for each in found.outcomes]
    origins = (f"{origin} {n:,}" for origin, n in result.stability.origins.items())
    return render(
        "analysis/backtest/backtest.txt.j2",
        result=result,
        span=wording.span(found.data),
        settings=wording.settings(result),
        faults=wording.faults(found.data, result),
        unknown=wording.unknown(result),
        no_model=wrapped(wording.no_model(result)),
        comparison=[wording.comparison_head(), *compared] if len(compared) > 1 else [],
        segments=_segments(result),
        notes=naming(result.segments),
        origins=", ".join(origins),
        held=wording.held(result),
        quality=_quality(result),
        transitions=_transitions(result),
    ).rstrip("\n")


def _segments(result: BacktestResult) -> list[tuple[str, ...]]:
    headings = (feature.heading.lower() for feature in CATALOGUE)
    everyone = max(sum(each.customers for each in result.segments), 1)
    rows = [
        (
            each.name[:_NAME],
            number(each.customers),
            percent(each.customers / everyone),
            *(number(each.centroid[feature.name], feature.digits) for feature in CATALOGUE),
            number(each.persona_distance, 2),
        )
        for each in result.segments
    ]
    return [("", "size", "share", *headings, "persona"), *rows]


def _quality(result: BacktestResult) -> list[tuple[str, ...]]:
    points = result.quality[-_DATES:]
    rows = [
        (label, *(f"{value:.3f}" for value in (*result.inertia(name), *values)))
        for name, label in (("by_centroids", "nearest centroid"), ("as_published", "as published"))
        if (values := [getattr(point, name) for point in points])
    ]
    return rows and [("", "median", "worst", *(day(point.day)[:-5] for point in points)), *rows]


def _transitions(result: BacktestResult) -> list[tuple[str, ...]]:
    names = {each.id: each.name for each in result.segments} | {NONE: "None"}
    rows = [
        (name[:_NAME], *("." if a == b else f"{result.transitions[a][b]:,}" for b in names))
        for a, name in names.items()
    ]
    return [("", *(name[:8] for name in names.values())), *rows]
