"""Sentences and rows about a backtest that its text and its page share."""

from features.vector import PROFILE_FEATURES
from livesegments.analysis.backtest.results import Data, Outcome, iso_of
from livesegments.rendering.formats import day, number, percent


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
