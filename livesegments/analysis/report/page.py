"""A report as a self-contained HTML page."""

from collections.abc import Iterator

from livesegments.analysis.report.builder import Report
from livesegments.analysis.report.lists import OFFERED
from livesegments.analysis.segments import naming
from livesegments.analysis.transitions import NONE
from livesegments.features.feature_specs import BY_NAME
from livesegments.rendering.plots import series
from livesegments.rendering.templates import render

STEADY = 0.3
"""Standard deviations that a centroid may move; above it the alert CentroidShift is raised."""


def page(report: Report) -> str:
    """Return the page."""
    # Stacked from below, so that the first segment is on top, as in the legend.
    ids = [each["id"] for each in reversed(report["segments"])]
    names = {each["id"]: each["name"] for each in report["segments"]}
    sizes = series((names[each], report["sizes"][each]) for each in ids)
    return render(
        "analysis/report/report.html.j2",
        report=report,
        names=names | {NONE: "No segment"},
        features=[BY_NAME[name] for name in report["segments"][0]["centroid"]],
        sizes=sizes,
        colors={segment: each.color for segment, each in zip(ids, sizes, strict=True)},
        notes=[*naming(report["segments"]), *_most_valuable(report)],
        preferred={each: _preferred(report, each) for each in ids},
        STEADY=STEADY,
    )


def _most_valuable(report: Report) -> Iterator[str]:
    first, valued = report["segments"][0], report["retention"]["segment"]
    if first["id"] != valued:
        [name] = [each["name"] for each in report["segments"] if each["id"] == valued]
        yield (
            f"{first['name']} have the highest spend per head now, not {name}, whose persona is"
            " expected to: clusters are named by all features of their customers."
        )


def _preferred(report: Report, segment: str) -> str:
    lifts = ((lift[segment] or 0.0, name) for name, lift in report["categories"]["lift"].items())
    best = sorted((each for each in lifts if each[0] >= OFFERED), reverse=True)[:4]
    return ", ".join(f"{name} {lift:.2f}\N{MULTIPLICATION SIGN}" for lift, name in best) or "none"
