"""Description of each segment at one moment, for reports and backtests."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from livesegments.consumers.modelling.definitions import to_definitions
from livesegments.domain import Model
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import Segment as NamedSegment
from livesegments.model.naming import suitable
from livesegments.rendering.formats import FAR, is_doubted

Segment = dict[str, Any]
"""A segment at one moment, for JSON: fields of its definition, and three more.

``customers``
    Customers with this published segment.
``contradicts``
    Feature -> (position, expected position) in standard deviations, where the customers are on the
    other side of the average from the one that the name stands for.
``matched_anew``
    Id that it would get if clusters were named now: its own, unless clusters have moved and another
    name would suit far better.
"""


def describe(
    model: Model, segmentation: Segmentation, customers: Mapping[str, int]
) -> list[Segment]:
    """Describe the segments, by falling spend, or else by another value of purchases.

    ``customers`` maps the id of a segment to the number of customers published in it.
    """
    centroids = model.snapshot.zscores(model.means())
    matched = suitable(centroids, model.generation.segments, segmentation.segments)
    by_id = {each.id: each for each in segmentation.segments}
    found = [
        {
            "id": each["id"],
            "name": each["name"],
            "description": each["description"],
            "customers": customers[each["id"]],
            "centroid": {name: each["centroid"][name] for name in segmentation.feature_names},
            "persona_distance": each["persona_distance"],
            "named_by": each["named_by"],
            "contradicts": _contradictions(place, by_id[each["id"]], segmentation),
            "matched_anew": anew,
        }
        for each, anew, place in zip(
            to_definitions(model, segmentation), matched, centroids.tolist(), strict=True
        )
    ]
    by = ordered_by(segmentation.feature_names)
    return sorted(found, key=lambda each: each["centroid"].get(by) or 0.0, reverse=True)


SAYS, STANDS = 0.4, 0.25
"""Expected position from which a name says something, and position from which it is not so."""


def _contradictions(
    place: Sequence[float], segment: NamedSegment, segmentation: Segmentation
) -> dict[str, tuple[float, float]]:
    positions = zip(segmentation.feature_names, place, segment.position, strict=True)
    return {
        feature: (round(z, 2), expected)
        for feature, z, expected in positions
        if abs(expected) >= SAYS and abs(z) >= STANDS and z * expected < 0
    }


def ordered_by(features: Container[str]) -> str | None:
    """Return the feature that orders the segments: spend, or else the next best of purchases."""
    return next((name for name in ("spend", "basket", "purchases") if name in features), None)


def naming(segments: Sequence[Segment]) -> list[str]:
    """Return notes about the names, and remedies where they do not suit."""
    known = {feature for each in segments for feature in each["named_by"]}
    features = [name for each in segments[:1] for name in each["centroid"]]
    missing = [feature for feature in features if feature not in known]
    notes = []
    if missing:
        alone = not any(BY_NAME[feature].is_profile for feature in known)
        notes.append(
            f"Names rest on {', '.join(each for each in features if each in known)}: no customer's"
            f" {', '.join(missing)} was known at the fit, or all had the same."
            + (" They describe how customers buy, not who they are." if alone else "")
        )
    empty = [each["name"] for each in segments if set(each["centroid"].values()) == {None}]
    if empty:
        notes.append(
            f"Nobody is in {', '.join(empty)}: the customers form fewer groups than there are"
            " segments."
        )
    for each in segments:
        if each["contradicts"]:
            against = " and ".join(
                f"{feature} {z:+.1f} sd instead of {expected:+.1f}"
                for feature, (z, expected) in each["contradicts"].items()
            )
            notes.append(
                f"{each['name']} has the nearest of {len(segments)} names, but not all of it holds:"
                f" {against}."
            )
    names = {each["id"]: each["name"] for each in segments}
    others = [each for each in segments if each["matched_anew"] != each["id"]]
    if others:
        pairs = ", ".join(f"{each['name']} as {names[each['matched_anew']]}" for each in others)
        notes.append(
            f"Names that no longer suit: named now, {pairs}. The next refit renames them; or raise"
            " WARMUP_CUSTOMERS, so that the first fit sees typical customers."
        )
    far = [each["name"] for each in segments if is_doubted(each["persona_distance"])]
    if far:
        notes.append(
            f"Far from the persona of their name (above {FAR:g}, marked ?): {', '.join(far)}. Names"
            " and expectations of your own: livesegments segmentation --template"
        )
    return notes
