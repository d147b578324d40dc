"""A report as a self-contained HTML page."""

from collections.abc import Iterator

from livesegments.analysis.report.models import NONE, OFFERED, Report
from livesegments.analysis.segments import naming
from livesegments.features.feature_specs import CATALOGUE
from livesegments.rendering.plots import series
from livesegments.rendering.templates import render

STEADY = 0.3
"""Standard deviations that a centroid may move; above it the alert CentroidShift is raised."""
MOST_CATEGORIES = 15
_SCALE = 2.2
"""Standard deviations to either side of the average that a card shows."""
_CONSENT = {True: "yes", False: "refused", None: "not known"}
_ORIGINS = {
    "live": "a purchase",
    "profile": "a profile",
    "expiry": "window moved on",
    "model": "a new fit",
    "backfill": "history",
    "recovery": "a recovery",
}


def page(report: Report) -> str:
    """Return the page."""
    # Stacked from below, so that the first segment is on top, as in the legend.
    sizes = series((each.name, report.sizes[each.id]) for each in reversed(report.segments))
    ids = [each.id for each in reversed(report.segments)]
    return render(
        "analysis/report/report.html.j2",
        report=report,
        names={each.id: each.name for each in report.segments} | {NONE: "No segment"},
        features=CATALOGUE,
        sizes=sizes,
        colors={segment: each.color for segment, each in zip(ids, sizes, strict=True)},
        notes=[*naming(report.segments), *_most_valuable(report)],
        moved=sum(map(sum, report.moves.values())),
        rejected=sum(count for count, _ in report.quality.dead_letters.values()),
        preferred={each.id: _preferred(report, each.id) for each in report.segments},
        STEADY=STEADY,
        MOST_CATEGORIES=MOST_CATEGORIES,
        SCALE=_SCALE,
        CONSENT=_CONSENT,
        ORIGINS=_ORIGINS,
    )


def _most_valuable(report: Report) -> Iterator[str]:
    names = {each.id: each.name for each in report.segments}
    first, valued = report.segments[0], report.retention.segment
    if first.id != valued:
        yield (
            f"{first.name} have the highest spend per head now, not {names[valued]}, whose persona"
            " is expected to: clusters are named by all features of their customers."
        )


def _preferred(report: Report, segment: str) -> str:
    lifts = ((lift[segment] or 0.0, name) for name, lift in report.categories.lift.items())
    best = sorted((each for each in lifts if each[0] >= OFFERED), reverse=True)[:4]
    return ", ".join(f"{name} {lift:.2f}\N{MULTIPLICATION SIGN}" for lift, name in best) or "none"
