"""The pages in one self-contained file, and their figures as JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from livesegments.analysis.pages.audiences import OFFERED, audiences_page
from livesegments.analysis.pages.data import quality
from livesegments.analysis.pages.lists import Lists
from livesegments.analysis.pages.model import generations, preview
from livesegments.analysis.pages.segments import DAY_S, Period, segments_page, sizes_now
from livesegments.analysis.segments import naming, ordered_by
from livesegments.analysis.survey.context import DeploymentReader
from livesegments.analysis.survey.customers import CUSTOMERS
from livesegments.analysis.survey.run import latest_clock, survey
from livesegments.analysis.transitions import NONE
from livesegments.config.clients import kafka_config, open_store
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings
from livesegments.contracts.timestamps import rfc3339
from livesegments.contracts.topics import CHANGES, DEAD_LETTERS, DEFINITIONS, REPLAYS
from livesegments.features.feature_specs import BY_NAME
from livesegments.history.database import History
from livesegments.history.follower import Follower
from livesegments.operations.model_loader import deployment_of
from livesegments.rendering.formats import is_doubted, marked
from livesegments.rendering.plots import series
from livesegments.rendering.progress import counting
from livesegments.rendering.templates import render

STEADY = 0.3
"""Standard deviations that a centroid may move; above it the alert CentroidShift is raised."""

Report = dict[str, Any]
"""Plain data for the file and for scripts: the fields of `segments_page` and `audiences_page`,
``quality`` of the data, ``generations`` of the model, ``refit`` (see `preview`), and of the
deployment ``group``, ``clock`` (the latest of its partitions; the period ends with its day),
``window_days`` and ``currency``.
"""


def build_report(
    settings: Settings, days: int, lists: Path | None = None
) -> tuple[Report, dict[str, int]]:
    """Return the report on a deployment, and the number of customers per list.

    Parameters
    ----------
    days
        Length of the period in event time, up to the latest clock of the partitions; and the
        horizon for departures from the most valuable segment.
    lists
        Folder for lists of customers by their real ids; None: no lists.

    Raises as `latest_clock` and `DeploymentReader.read`.
    """
    store = open_store(settings)
    period = Period.until(latest_clock(store, deployment_of(store)), days)
    with History.temporary() as history:
        # A change is decided when it occurs or later, except for clocks that differ: a day.
        follower = Follower(
            kafka_config(settings),
            settings.group_id,
            history,
            topics=(CHANGES, DEFINITIONS, DEAD_LETTERS, REPLAYS),
            since_us=period.start_us - DAY_S * 1_000_000,
        )
        with counting("reading changes") as show:
            follower.catch_up(show)
        context = DeploymentReader(settings, store, history).read()
        surveyed = survey(settings, context, store, history, days, counting)
        cursor = history.cursor()
        segments = segments_page(
            cursor, context, period, sizes_now(cursor, CUSTOMERS), surveyed.binned
        )
        segmentation = context.rules.segmentation
        order = [each["id"] for each in segments["segments"]]
        written = Lists(cursor, context, period).write(lists) if lists else {}
        report = {
            "group": settings.group_id,
            "clock": rfc3339([surveyed.clock_us])[0],
            "window_days": context.deployment.window_days,
            "currency": context.rules.currency,
            **segments,
            **audiences_page(cursor, context, period, order),
            "quality": quality(cursor, surveyed, context.deployment),
            "generations": generations(cursor, segmentation),
            "refit": preview(
                settings, segments["transitions"], lambda error: explain(error, settings)
            ),
        }
        return report, written


def page(report: Report) -> str:
    """Return the file."""
    return render("analysis/pages/report.html.j2", report=report, **display(report))


def display(report: Report) -> dict[str, Any]:
    """Return names, colors and notes for the templates."""
    # Stacked from below, so that the first segment is on top, as in the legend.
    ids = [each["id"] for each in reversed(report["segments"])]
    names = {
        each["id"]: marked(each["name"], each["persona_distance"]) for each in report["segments"]
    }
    sizes = series((names[each], report.get("sizes", {}).get(each, ())) for each in ids)
    lift = report.get("categories", {}).get("lift", {})
    return {
        "names": names | {NONE: "No segment"},
        "doubted": [
            each["id"] for each in report["segments"] if is_doubted(each["persona_distance"])
        ],
        "features": [BY_NAME[name] for name in report["segments"][0]["centroid"]],
        "sizes": sizes,
        "colors": {segment: each.color for segment, each in zip(ids, sizes, strict=True)},
        "notes": [*naming(report["segments"]), *_most_valuable(report)],
        "preferred": {each: _preferred(lift, each) for each in ids},
        "STEADY": STEADY,
    }


def _most_valuable(report: Report) -> Iterator[str]:
    first, valued = report["segments"][0], report.get("retention", {}).get("segment")
    by = ordered_by(first["centroid"])
    if valued and by and first["id"] != valued:
        [name] = [each["name"] for each in report["segments"] if each["id"] == valued]
        yield (
            f"{first['name']} has the highest mean {by} now, not {name}, whose persona is expected"
            " to: clusters are named by all features of their customers."
        )


def _preferred(lift: dict[str, dict[str, float | None]], segment: str) -> str:
    lifts = ((of[segment] or 0.0, name) for name, of in lift.items())
    best = sorted((each for each in lifts if each[0] >= OFFERED), reverse=True)[:4]
    return ", ".join(f"{name} {lift:.2f}\N{MULTIPLICATION SIGN}" for lift, name in best) or "none"
