"""A report as one page that needs nothing beside itself."""

from collections.abc import Iterator

from features.catalogue import CATALOGUE
from livesegments.analysis.report import sections
from livesegments.analysis.report.cards import cards
from livesegments.analysis.report.models import NONE, Report
from livesegments.rendering.html import (
    document,
    facts,
    heading,
    moves,
    notes,
    paragraph,
    table,
)
from livesegments.rendering.over_time import colors, moves_a_day, sizes_over_time
from livesegments.rendering.wording import day, number, percent
from livesegments.segments import naming

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
    yield from sections.targets(found, names)
    yield from sections.retention(found, names)
    yield from sections.categories(found, names)
    yield from sections.typical(found, names)
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
        ("Segment", *(feature.name.capitalize() for feature in CATALOGUE), "Distance"),
        [
            (
                segment.name,
                *(
                    f"{number(segment.centroid[each.name], each.digits)}\n"
                    f"{number(found.expected[segment.id][each.name], each.digits)}"
                    for each in CATALOGUE
                ),
                number(segment.persona_distance, 2),
            )
            for segment in found.segments
        ],
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
