"""The results of a backtest as a self-contained HTML page."""

from datetime import date

from livesegments.analysis.backtest import wording
from livesegments.analysis.backtest.event_log import NONE
from livesegments.analysis.backtest.runner import Backtest
from livesegments.analysis.segments import naming
from livesegments.features.feature_specs import CATALOGUE
from livesegments.rendering.plots import series
from livesegments.rendering.templates import render


def page(found: Backtest) -> str:
    """Return the page."""
    result = found.shown
    median, worst = result.inertia("by_centroids")
    dates = [date.fromisoformat(point.day) for point in result.quality]
    return render(
        "analysis/backtest/backtest.html.j2",
        result=result,
        features=CATALOGUE,
        names={each.id: each.name for each in result.segments} | {NONE: "No segment"},
        notes=naming(result.segments),
        span=wording.span(found.data),
        settings=wording.settings(result),
        no_model=wording.no_model(result),
        faults=wording.faults(found.data, result),
        unknown=wording.unknown(result),
        held=wording.held(result),
        median=median,
        worst=worst,
        comparison_head=wording.comparison_head(),
        compared=[(wording.comparison_row(each), each.is_given) for each in found.outcomes],
        # Stacked from below, so that the first segment is on top, as in the legend.
        sizes=series((each.name, result.sizes[each.id]) for each in reversed(result.segments)),
        quality=series(
            (
                ("Nearest centroid", [point.by_centroids for point in result.quality]),
                ("As published", [point.as_published for point in result.quality]),
            )
        ),
        quality_days=[(each - date.fromisoformat(result.days[0])).days for each in dates],
    )
