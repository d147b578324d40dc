"""Sentences and rows about a backtest that its text and its page share."""

from livesegments.analysis.backtest.results import BacktestResult, Data, iso_of
from livesegments.features.feature_specs import PROFILE_FEATURES
from livesegments.rendering.formats import day, number, percent


def no_model(result: BacktestResult) -> str:
    """Return why there are no segments."""
    return (
        f"No model: it is fitted once {result.settings['warmup_customers']:,} customers have a"
        f" purchase in the window (LIVESEGMENTS_WARMUP_CUSTOMERS), which never happened; at the"
        f" end there were {result.customers:,}."
    )


def settings(result: BacktestResult) -> str:
    """Return the main settings as a line."""
    s = result.settings
    dwell = f"{s['min_dwell'] / 86_400:g} days" if s["min_dwell"] else "none"
    refit = f"gain {s['refit_gain']:g}" if s["refit"] == "auto" else "off"
    return (
        f"window {s['window_days']} days in {s['tiles']} tiles, margin {s['switch_margin']:g},"
        f" dwell {dwell}, warm-up {s['warmup_customers']:,}, refits {refit}"
    )


def span(data: Data) -> str:
    """Return the size of the data and its dates."""
    if data.first_us is None or data.last_us is None:
        return "nothing"
    first, last = day(iso_of(data.first_us)), day(iso_of(data.last_us))
    return (
        f"{data.purchases:,} purchases from {first} to {last} ({data.days:,.0f} days),"
        f" {data.profiles:,} profiles"
    )


def faults(data: Data, result: BacktestResult) -> list[str]:
    """Return the faults of the data, and what to do."""
    found = [f"{n:,} rows rejected: {why}" for why, n in data.rejected.most_common()]
    if data.duplicates:
        found.append(f"{data.duplicates:,} purchases left out: repeated event_id")
    if result.late:
        found.append(
            f"{result.late:,} purchases do not count: older than the window on arrival. Sort the"
            " file by occurred_at"
        )
    return found


def unknown(result: BacktestResult) -> str:
    """Return the shares of customers without profile fields."""
    shares = ", ".join(f"{name} {percent(result.unknown[name])}" for name in PROFILE_FEATURES)
    return f"unknown for {result.customers:,} current customers: {shares}"


def held(result: BacktestResult) -> str:
    """Return the shares of switches held back."""
    s = result.stability
    return (
        f"when another centroid was nearest, the margin held back {percent(s.held_by_margin)} of"
        f" the switches, the dwell {percent(s.held_by_dwell)}"
    )


def comparison_head() -> tuple[str, ...]:
    """Return the columns of a comparison."""
    return ("", "a day", "a year", "undone", "held", "nearest", "published", "fits")


def comparison_row(result: BacktestResult) -> tuple[str, ...]:
    """Return an result as a row of a comparison."""
    s = result.stability
    return (
        f"{result.label}{' *' if result.is_given else ''}",
        number(s.a_day, 1),
        number(s.a_customer_a_year, 1),
        percent(s.returned),
        percent(s.held_by_margin + s.held_by_dwell),
        number(result.inertia("by_centroids")[0], 3),
        number(result.inertia("as_published")[0], 3),
        f"{len(result.generations)}",
    )
