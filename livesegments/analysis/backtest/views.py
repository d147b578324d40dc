"""The results of a backtest: as text for a terminal of 80 columns, and as an HTML page."""

from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import Any

from livesegments.analysis.backtest.results import RETURN_DAYS, Outcome
from livesegments.analysis.backtest.runner import Backtest, shown
from livesegments.analysis.segments import naming
from livesegments.analysis.transitions import NONE
from livesegments.features.feature_specs import BY_NAME, Feature
from livesegments.operations.implausible_ids import ADVICE, ImplausibleId, told
from livesegments.rendering.formats import day, marked, number, percent
from livesegments.rendering.plots import series
from livesegments.rendering.templates import render

_NAME, _DATES = 20, 5
OFTEN = 0.5
"""Share of changes that undo the previous one from which the settings do not suit the data."""
_QUALITY = {"by_centroids": "nearest centroid", "as_published": "as published"}
_FITNESS = ("", "k", "explained", "silhouette", "stability", "smallest", "persona")
_COMPARED = ("", "a day", "a year", "undone", "held", "nearest", "published", "fits")


def text(found: Backtest) -> str:
    """Return the results as text."""
    result = shown(found)
    compared = [_comparison(each) for each in found["outcomes"]]
    origins = (f"{origin} {n:,}" for origin, n in result["stability"]["origins"].items())
    return render(
        "analysis/backtest/backtest.txt.j2",
        **_common(found),
        comparison=[_COMPARED, *compared] if len(compared) > 1 else [],
        segments=_segments(result),
        origins=", ".join(origins),
        quality=_quality(result),
        transitions=_transitions(result),
    ).rstrip("\n")


def page(found: Backtest) -> str:
    """Return the results as a self-contained page."""
    result = shown(found)
    middle, worst = inertia(result, "by_centroids")
    first = date.fromisoformat(result["days"][0]) if result["days"] else date.min
    return render(
        "analysis/backtest/backtest.html.j2",
        **_common(found),
        features=_features(result),
        names={each["id"]: each["name"] for each in result["segments"]} | {NONE: "No segment"},
        median=middle,
        worst=worst,
        comparison_head=_COMPARED,
        compared=[(_comparison(each), each["is_given"]) for each in found["outcomes"]],
        # Stacked from below, so that the first segment is on top, as in the legend.
        sizes=series(
            (each["name"], result["sizes"][each["id"]]) for each in reversed(result["segments"])
        ),
        quality=series(
            (label.capitalize(), [point[name] for point in result["quality"]])
            for name, label in _QUALITY.items()
        ),
        quality_days=[(date.fromisoformat(each["day"]) - first).days for each in result["quality"]],
    )


def inertia(result: Outcome, name: str) -> tuple[float, float]:
    """Return median and highest of a quality over the dates; NaN without any."""
    found = [point[name] for point in result["quality"]]
    return (median(found), max(found)) if found else (float("nan"), float("nan"))


def _common(found: Backtest) -> dict[str, Any]:
    """Return the variables that both templates use."""
    result, data = shown(found), found["data"]
    s, stability = result["settings"], result["stability"]
    first, last = data["first"], data["last"]
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    dwell = f"{s['min_dwell'] / 86_400:g} days" if s["min_dwell"] else "none"
    refit = f"gain {s['refit_gain']:g}" if s["refit"] == "auto" else "off"
    faults = [f"{n:,} rows rejected: {why}" for why, n in data["rejected"].items()]
    if data["duplicates"]:
        faults.append(f"{data['duplicates']:,} purchases left out: repeated event_id")
    if data["event_id_conflicts"]:
        faults.append(
            f"{data['event_id_conflicts']:,} purchases have the event_id of another one, and count"
            " all the same: an order or invoice number is no event id. Sum line items up to one"
            " row, and give each event an id of its own"
        )
    if result["late"]:
        faults.append(
            f"{result['late']:,} purchases do not count: older than the window on arrival. Sort the"
            " file by occurred_at"
        )
    if data["implausible_ids"]:
        some = told([ImplausibleId(**each) for each in data["implausible_ids"]])
        faults.append(f"customer ids that no person can have: {some}. {ADVICE.capitalize()}")
    unknown = ", ".join(
        f"{each.name} {percent(result['unknown'][each.name])}"
        for each in _features(result)
        if each.is_profile
    )
    return {
        "result": result,
        "fitness": _fitness(found["outcomes"]),
        "advice": found["advice"],
        "notes": naming(result["segments"]) if result["is_named"] else [],
        "span": (
            f"{data['purchases']:,} purchases from {day(first)} to {day(last)} ({days:,} days),"
            f" {data['profiles']:,} profiles"
        ),
        "settings": (
            f"window {s['window_days']} days in {s['tiles']} tiles, margin {s['switch_margin']:g},"
            f" dwell {dwell}, warm-up {s['warmup_customers']:,}, refits {refit}"
        ),
        "faults": faults,
        "unknown": f"unknown for {result['customers']:,} current customers: {unknown or 'nothing'}",
        "no_model": (
            f"No model: it is fitted once {s['warmup_customers']:,} customers have a purchase in"
            " the window (LIVESEGMENTS_WARMUP_CUSTOMERS), which never happened; at the end there"
            f" were {result['customers']:,}."
            if result["customers"] < s["warmup_customers"]
            else f"No model: all of {result['customers']:,} customers are the same in"
            f" {', '.join(each.name for each in _features(result))}. Choose features in which they"
            " differ (livesegments segmentation --template)."
        ),
        "restless": (
            f"Customers go to and fro: {percent(stability['returned'])} of their changes undo the"
            f" last one within {RETURN_DAYS} days. Try a dwell or a larger margin (--compare"
            " dwell=0,14d,30d --compare margin=0.15,0.3), or other segments."
            if stability["returned"] > OFTEN
            else ""
        ),
        "held": (
            "when another centroid was nearest, the margin held back"
            f" {percent(stability['held_by_margin'])} of the switches, the dwell"
            f" {percent(stability['held_by_dwell'])}"
        ),
    }


def _comparison(result: Outcome) -> tuple[str, ...]:
    s = result["stability"]
    return (
        f"{result['label']}{' *' if result['is_given'] else ''}",
        number(s["a_day"], 1),
        number(s["a_customer_a_year"], 1),
        percent(s["returned"]),
        percent(s["held_by_margin"] + s["held_by_dwell"]),
        *(number(inertia(result, name)[0], 3) for name in _QUALITY),
        f"{len(result['generations'])}",
    )


def _segments(result: Outcome) -> list[tuple[str, ...]]:
    headings = (feature.heading.lower() for feature in _features(result))
    everyone = max(sum(each["customers"] for each in result["segments"]), 1)
    rows = [
        (
            marked(each["name"][:_NAME], each["persona_distance"]),
            number(each["customers"]),
            percent(each["customers"] / everyone),
            *(
                number(each["centroid"][feature.name], feature.digits)
                for feature in _features(result)
            ),
            number(each["persona_distance"], 2),
        )
        for each in result["segments"]
    ]
    return [("", "size", "share", *headings, "persona"), *rows]


def _fitness(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the rows of the comparison of segmentations; none if only one is tried."""
    rows = [
        (
            f"{each['label']}{' *' if each['is_given'] else ''}",
            number(fit["segments"]),
            percent(fit["explained_variance"]),
            number(fit["silhouette"], 2),
            number(fit["stability"], 2),
            percent(fit["smallest_share"]),
            number(fit["persona_distance"], 2),
        )
        for each in outcomes
        if (fit := each["fitness"])
    ]
    return [_FITNESS, *rows] if rows else []


def _features(result: Outcome) -> list[Feature]:
    return [BY_NAME[name] for name in result["unknown"]]


def _quality(result: Outcome) -> list[tuple[str, ...]]:
    points = result["quality"][-_DATES:]
    rows = [
        (label, *(f"{value:.3f}" for value in (*inertia(result, name), *values)))
        for name, label in _QUALITY.items()
        if (values := [point[name] for point in points])
    ]
    return rows and [("", "median", "worst", *(day(each["day"])[:-5] for each in points)), *rows]


def _transitions(result: Outcome) -> list[tuple[str, ...]]:
    names = {each["id"]: each["name"] for each in result["segments"]} | {NONE: "None"}
    rows = [
        (name[:_NAME], *("." if a == b else f"{result['transitions'][a][b]:,}" for b in names))
        for a, name in names.items()
    ]
    return [("", *(name[:8] for name in names.values())), *rows]
