"""The cuts of a report that campaigns start from: whom to target, to keep, what to cross-sell."""

from collections.abc import Iterator

from livesegments.analysis.report.models import NONE, OFFERED, Report
from livesegments.rendering.html import details, heading, heat, paragraph, table
from livesegments.rendering.wording import UNKNOWN, day, number, percent

MOST_CATEGORIES = 15
MARKETING = {True: "yes", False: "refused", None: "not known"}
ORIGINS = {
    "live": "a purchase",
    "profile": "a profile",
    "expiry": "window moved on",
    "model": "a new fit",
    "backfill": "history",
    "recovery": "a recovery",
}
_BUYS = ("Purchases", "Spend", "Consent")


def targets(found: Report, names: dict[str, str]) -> Iterator[str]:
    """Yield how many of each segment may be addressed, and what they are worth."""
    yield heading("Whom to target")
    everyone = sum(target.spend for target in found.targets)
    yield table(
        "Whom to target",
        "Only who consents to marketing may be addressed; of whom consent is not known, as if"
        " refused. Who they are: livesegments report --lists FOLDER.",
        (
            "Segment",
            "Customers",
            "Consent",
            "Refused",
            "Not known",
            "Spend a head",
            "Purchases a head",
            "Spend of who consents",
            "Share of all spend",
        ),
        [
            (
                names[target.segment],
                number(target.customers),
                number(target.consenting),
                number(target.refusing),
                number(target.unknown),
                _a_head(target.spend, target.customers, 0),
                _a_head(target.purchases, target.customers, 1),
                number(target.consenting_spend),
                percent(target.spend / everyone) if everyone else UNKNOWN,
            )
            for target in found.targets
        ],
    )


def _a_head(total: float, customers: int, digits: int) -> str:
    return number(total / customers, digits) if customers else UNKNOWN


def retention(found: Report, names: dict[str, str]) -> Iterator[str]:
    """Yield who left the most valuable segment, and who is about to."""
    retention = found.retention
    valued = names[retention.segment]
    yield heading(f"Whom to keep: {valued}")
    yield paragraph(
        f"{number(retention.left_customers)} left in the period and did not come back;"
        f" {number(retention.leaving_customers)} of those who are in it leave within"
        f" {len(found.days)} days, unless they buy."
    )
    yield heading("Left", 3)
    yield table(
        f"Left {valued}",
        "First those whose segment now spends less, and of them who still spends the most.",
        ("Customer", "Left on", "After", "Now in", "Last bought", *_BUYS),
        [
            (
                each.hash,
                day(each.left_on),
                ORIGINS.get(each.origin, each.origin),
                names[each.segment or NONE],
                day(each.last_purchase),
                number(each.purchases),
                number(each.spend),
                MARKETING[each.marketing],
            )
            for each in retention.left
        ],
        text=(2, 3, 7),
        kind="people",
    )
    yield heading("About to leave", 3)
    yield table(
        f"About to leave {valued}",
        "When the rules of the service move them if they buy nothing until then, with the centroids"
        " as they are. Runner-up: how much farther than its own the nearest other centroid is now;"
        " below 0 only the switch margin holds them.",
        (
            "Customer",
            "Leaves on",
            "For",
            "Runner-up",
            "Last bought",
            "Purchases",
            "Spend",
            "Consent",
        ),
        [
            (
                each.hash,
                day(each.leaves_on),
                names[each.segment or NONE],
                _beyond(each.margin),
                day(each.last_purchase),
                number(each.purchases),
                number(each.spend),
                MARKETING[each.marketing],
            )
            for each in retention.leaving
        ],
        text=(2, 7),
        kind="people",
    )


def _beyond(margin: float) -> str:
    return "over +100%" if margin > 1 else f"{margin * 100:+.0f}%".replace("-", "\N{MINUS SIGN}")


def categories(found: Report, names: dict[str, str]) -> Iterator[str]:
    """Yield which segment buys what."""
    categories = found.categories
    yield heading("What to cross-sell")
    if not categories.rows:
        yield paragraph(
            f"None of {number(categories.purchases)} purchases says a category: send it in the"
            " field category of purchases.",
            "note",
        )
        return
    ids = [segment.id for segment in found.segments]
    yield table(
        "What each segment likes more than others",
        "Categories that take a larger share of the segment's purchases than of all.",
        ("Segment", "Categories, by lift"),
        [(names[each], _liked(found, each)) for each in ids],
        text=(1,),
    )
    shown = list(categories.rows)[:MOST_CATEGORIES]
    yield heading("Lift by category and segment", 3)
    yield heat(
        "Lift by category and segment",
        "The share that a category has of the segment's purchases, relative to its share of all:"
        " blue is bought more than by others, orange less. Where fewer than 5 purchases would be"
        f" expected there is none. {number(categories.without)} of"
        f" {number(categories.purchases)} purchases have no category.",
        ("Category", *(names[each] for each in ids)),
        [
            (
                name,
                [_lift(categories.lift[name][each]) for each in ids],
            )
            for name in shown
        ],
    )
    yield details(
        "Purchases as a table",
        ("Category", *(names[each] for each in ids)),
        [(name, *(number(categories.rows[name][each]) for each in ids)) for name in shown],
    )


def _liked(found: Report, segment: str) -> str:
    lifts = ((lift[segment] or 0.0, name) for name, lift in found.categories.lift.items())
    best = sorted((each for each in lifts if each[0] >= OFFERED), reverse=True)[:4]
    return ", ".join(f"{name} {lift:.2f}\N{MULTIPLICATION SIGN}" for lift, name in best) or "none"


def _lift(lift: float | None) -> tuple[str, float]:
    if lift is None:
        return UNKNOWN, 0.0
    return f"{lift:.2f}\N{MULTIPLICATION SIGN}", max(-1.0, min(lift - 1, 1.0))


def typical(found: Report, names: dict[str, str]) -> Iterator[str]:
    """Yield examples of customers, the nearest to each centroid."""
    yield heading("Typical customers")
    yield table(
        "Typical customers",
        "Nearest to the centroid, among those of whom most is known. Age to five years, income to"
        " two digits.",
        ("Customer", "Segment", "Purchases", "Spend", "Age", "Income", "Location", "Distance"),
        [
            (
                each.hash,
                names[each.segment],
                number(each.purchases),
                number(each.spend),
                number(each.age),
                number(each.income),
                each.location or UNKNOWN,
                number(each.distance, 2),
            )
            for each in found.typical
        ],
        text=(1, 6),
        kind="people",
    )
