"""A report as one page that needs nothing beside itself."""

from collections.abc import Iterator

from features.vector import FEATURES
from livesegments.pages.html import (
    details,
    document,
    facts,
    heading,
    heat,
    moves,
    notes,
    paragraph,
    table,
)
from livesegments.pages.over_time import colors, moves_a_day, sizes_over_time
from livesegments.pages.wording import UNKNOWN, day, number, percent
from livesegments.report.cards import cards
from livesegments.report.figures import NONE, OFFERED, Report
from livesegments.segments import naming

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
_STEADY = 0.3
"""Standard deviations that a centroid may move; above it the alert CentroidShift is raised."""


def page(found: Report) -> str:
    """Return the page."""
    return document("Livesegments report", _parts(found))


def _parts(found: Report) -> Iterator[str]:
    names = {segment.id: segment.name for segment in found.segments} | {NONE: "No segment"}
    yield heading("Customer segments", 1)
    yield paragraph(
        f"{day(found.days[0])} to {day(found.days[-1])}, by the time of the purchases. Purchases"
        f" and spend are those of the last {found.window_days} days, in {found.currency}. Customers"
        " are named by a keyed hash of their id.",
        "dim",
    )
    yield _facts(found, names)
    yield heading("The segments now")
    yield notes([*naming(found.segments), *_most_valuable(found, names)])
    yield cards(found, colors(found.segments))
    yield from _centroids(found)
    yield from sizes_over_time(found.days, found.segments, found.sizes)
    yield heading("Who went where")
    yield moves("Who went where", names, found.transitions)
    yield from moves_a_day(found.days, found.moves)
    yield from _targets(found, names)
    yield from _retention(found, names)
    yield from _categories(found, names)
    yield from _typical(found, names)
    yield from _drift(found)
    yield from _quality(found)


def _facts(found: Report, names: dict[str, str]) -> str:
    consenting = sum(target.consenting for target in found.targets)
    moved = sum(map(sum, found.moves.values()))
    retention = found.retention
    return facts(
        (
            ("Customers in a segment", number(found.customers)),
            ("May be addressed", percent(consenting / max(found.customers, 1))),
            ("Changes of segment", number(moved)),
            (f"Left {names[retention.segment]}", number(retention.left_customers)),
            ("Refused records", number(sum(n for n, _ in found.quality.dead_letters.values()))),
            ("Spread explained", percent(found.drift.explained_variance)),
        )
    )


def _most_valuable(found: Report, names: dict[str, str]) -> Iterator[str]:
    first, valued = found.segments[0], found.retention.segment
    if first.id != valued:
        yield (
            f"{first.name} spend the most a head now, and not {names[valued]}, whose persona is"
            " expected to: the name was given for all that is known of its customers."
        )


def _centroids(found: Report) -> Iterator[str]:
    yield heading("Centroids and personas", 3)
    yield table(
        "Centroids and personas",
        "Mean of each segment's customers, and below it what its persona expects. Distance: between"
        " the two, in standard deviations a feature; above 1 the name says little.",
        ("Segment", *(feature.capitalize() for feature in FEATURES), "Distance"),
        [
            (
                segment.name,
                *(
                    f"{_natural(feature, segment.centroid[feature])}\n"
                    f"{_natural(feature, found.expected[segment.id][feature])}"
                    for feature in FEATURES
                ),
                number(segment.persona_distance, 2),
            )
            for segment in found.segments
        ],
    )


def _natural(feature: str, value: float | None) -> str:
    return number(value, {"purchases": 1, "urbanicity": 2}.get(feature, 0))


def _targets(found: Report, names: dict[str, str]) -> Iterator[str]:
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


def _retention(found: Report, names: dict[str, str]) -> Iterator[str]:
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


def _categories(found: Report, names: dict[str, str]) -> Iterator[str]:
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


def _typical(found: Report, names: dict[str, str]) -> Iterator[str]:
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


def _drift(found: Report) -> Iterator[str]:
    drift = found.drift
    yield heading("Drift")
    yield paragraph(
        f"Since generation {drift.generation} was fitted, on {number(drift.fitted_on)} customers."
        f" The segments explain {percent(drift.explained_variance)} of the customers' spread."
    )
    if drift.provisional:
        yield paragraph(
            "This generation was fitted while windows were filling: everything moves then, and it"
            " is no baseline for drift.",
            "note",
        )
    yield heading("Shift of the centroids", 3)
    yield table(
        "Shift of the centroids",
        f"Standard deviations a feature; above {_STEADY:g} a segment is no longer what it was.",
        ("Segment", "Shift", "Verdict"),
        [
            (each.name, number(drift.shift[each.id], 2), _verdict(drift.shift[each.id], _STEADY))
            for each in found.segments
        ],
        text=(2,),
    )
    indices = {"Sizes of the segments": drift.share_psi}
    indices |= {name.capitalize(): index for name, index in drift.feature_psi.items()}
    yield heading("Population stability", 3)
    yield table(
        "Population stability",
        "Index of how a distribution differs from that of the fit (PSI); up to the limit it is"
        " small, or chance.",
        ("Of", "PSI", "Limit", "Verdict"),
        [
            (name, number(value, 3), number(limit, 3), _verdict(value, limit))
            for name, (value, limit) in indices.items()
        ],
        text=(3,),
    )


def _verdict(value: float | None, limit: float | None) -> str:
    if value is None or limit is None:
        return "not known"
    return "steady" if value <= limit else "moved"


def _quality(found: Report) -> Iterator[str]:
    quality = found.quality
    yield heading("Data quality")
    yield facts(
        (
            ("Purchases read", number(quality.purchases)),
            ("Sent again", number(quality.duplicates)),
            ("Too late to count", number(quality.late)),
            ("Not folded yet", number(quality.behind)),
        )
    )
    yield paragraph(
        "Purchases that arrived since the window began. Those sent again count once; those too late"
        f" were older than {found.window_days} days when they came.",
        "dim",
    )
    yield heading("Not known", 3)
    yield table(
        "Not known",
        "Share of the customers in a segment; distances and means leave out what is not known.",
        ("Feature", "Not known"),
        [(name.capitalize(), percent(share)) for name, share in quality.unknown.items()],
    )
    if not quality.dead_letters:
        yield paragraph("No record was refused.")
        return
    yield heading("Refused records", 3)
    yield table(
        "Refused records",
        "On the topic of dead letters, by reason: livesegments dead-letters list.",
        ("Reason", "Records", "Sent again"),
        [
            (reason, number(count), number(replayed))
            for reason, (count, replayed) in quality.dead_letters.items()
        ],
    )
