"""Description of each segment at one moment, for reports and backtests."""

from collections.abc import Mapping, Sequence
from typing import Any

from livesegments.consumers.modelling.definitions import standing, to_definitions
from livesegments.domain import Model
from livesegments.features.feature_specs import BY_NAME
from livesegments.features.segmentation import Segmentation
from livesegments.model.naming import suitable

FAR = 1.0
"""Standard deviations from its persona at which a segment's name is doubted."""

Segment = dict[str, Any]
"""A segment at one moment, for JSON: fields of its definition, and two more.

``customers``
    Customers with this published segment.
``matched_anew``
    Id that it would get if clusters were named now: its own, unless clusters have moved and another
    name would suit far better.
"""


def describe(
    model: Model,
    segmentation: Segmentation,
    customers: Mapping[str, int],
) -> list[Segment]:
    """Describe the segments, by falling spend, or else by another value of purchases.

    Parameters
    ----------
    model
        The current model.
    segmentation
        Of the deployment.
    customers
        Segment id -> number of customers with this published segment.
    """
    centroids = model.snapshot.zscores(standing(model))
    matched = suitable(centroids, model.generation.segments, segmentation.segments)
    found = [
        {
            "id": each["id"],
            "name": each["name"],
            "description": each["description"],
            "customers": customers[each["id"]],
            "centroid": {name: each["centroid"][name] for name in segmentation.feature_names},
            "persona_distance": each["persona_distance"],
            "named_by": each["named_by"],
            "matched_anew": anew,
        }
        for each, anew in zip(to_definitions(model, segmentation), matched, strict=True)
    ]
    return sorted(found, key=_value, reverse=True)


def _value(segment: Segment) -> float:
    """Return what the segments are ordered by: spend, or else the next best that is known."""
    centroid = segment["centroid"]
    names = ("spend", "basket", "purchases")
    return next((centroid[name] or 0.0 for name in names if name in centroid), 0.0)


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
            f" {', '.join(missing)} was known at the fit."
            + (" They describe how customers buy, not who they are." if alone else "")
        )
    names = {each["id"]: each["name"] for each in segments}
    others = [each for each in segments if each["matched_anew"] != each["id"]]
    if others:
        pairs = ", ".join(f"{each['name']} as {names[each['matched_anew']]}" for each in others)
        notes.append(
            f"Names that no longer suit: named now, {pairs}. The next refit renames them; or raise"
            " WARMUP_CUSTOMERS, so that the first fit sees typical customers."
        )
    far = [each["name"] for each in segments if (each["persona_distance"] or 0.0) > FAR]
    if far:
        notes.append(
            f"Far from the persona of their name (above {FAR:g}): {', '.join(far)}. Names and"
            " expectations of your own: livesegments segmentation --template"
        )
    return notes
