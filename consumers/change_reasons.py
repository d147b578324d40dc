"""Reasons of segment changes, and the places of customers that their next change starts from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from livesegments.consumers.scoring import NONE, Scores
from livesegments.domain import FeatureReason, OtherParts
from livesegments.features.feature_specs import Feature
from livesegments.features.record_codec import Records, forget_place
from livesegments.model.attribution import attribute, gaps_from
from livesegments.model.vectors import UNKNOWN, dequantize

Rows = NDArray[np.intp]


def reasons_of(
    rows: Rows,
    records: Records,
    scores: Scores,
    origins: Sequence[str],
    features: Sequence[Feature],
) -> tuple[list[list[FeatureReason]], list[OtherParts]]:
    """Return the reasons of the changes of m rows, from records before the scores are applied.

    The reasons are the named features, the largest part first, and the other parts. A customer is
    compared with their place at the last change. Where that is not known, the features say how much
    nearer the new segment is than the previous one. A customer without a previous segment is
    compared with the runner-up. A change by time alone never names a feature of the profile: the
    effect of an earlier profile is in the part of the profile.
    """
    model, snapshot, fixed = scores.model, scores.model.snapshot, scores.fixed[rows]
    left, entered = records["segment"][rows], scores.segment[rows]
    remembered, place = records["gaps"][rows, entered], records["place"][rows]
    now, then = dequantize(fixed), dequantize(place)
    runner_up = scores.assignment.take(rows).runner_up()
    parts = attribute(
        now,
        then,
        np.where(left == NONE, runner_up, model.cluster_of_segment[left]),
        model.cluster_of_segment[entered],
        remembered,
        snapshot,
    )
    is_compared = ~np.isnan(remembered)[:, None]
    z_scores = snapshot.zscores(now).round(2)
    previous = np.where(is_compared, snapshot.zscores(then).round(2), np.nan)
    by_time = np.array(origins) == "expiry"
    named = (~is_compared | (fixed != place)) & ~np.isnan(z_scores)
    named &= ~(by_time[:, None] & [feature.is_profile for feature in features])
    contributions = parts.features.round(4) + 0.0  # no negative zeros
    names = [feature.name for feature in features]
    of_model = (parts.model.round(4) + 0.0).tolist()
    of_profile = np.where(named, 0.0, contributions).sum(axis=1).round(4).tolist()
    return (
        _ordered(names, named, z_scores, previous, contributions),
        list(map(OtherParts, of_model, of_profile)),
    )


def update_places(after: Records, changed: Rows, scores: Scores) -> None:
    """Set the places from which the next changes are explained, in place.

    ``changed`` are the rows of (n,) records, with their new segments, whose segment changes.

    Notes
    -----
    The place is also set for customers whose place is not known, or has a value that is not known
    any more: no deleted value stays in a record.
    """
    has_segment = after["segment"] != NONE
    deleted = (scores.fixed == UNKNOWN) & (after["place"] != UNKNOWN)
    is_unknown = np.isnan(after["gaps"][:, 0])
    due = is_unknown | deleted.any(axis=1)
    due[changed] = True
    forget_place(after, due & ~has_segment)
    rows = np.flatnonzero(due & has_segment)
    if rows.size:
        model = scores.model
        fixed, own = scores.fixed[rows], model.cluster_of_segment[after["segment"][rows]]
        gaps = gaps_from(dequantize(fixed), own, model.snapshot)
        after["place"][rows], after["gaps"][rows] = fixed, gaps[:, model.cluster_of_segment]


def _ordered(
    features: Sequence[str],
    named: NDArray[np.bool_],
    z_scores: NDArray[np.float64],
    previous: NDArray[np.float64],
    contributions: NDArray[np.float64],
) -> list[list[FeatureReason]]:
    """Return each row's named features, the largest contribution first; all arrays are (m, d)."""
    order = np.argsort(np.where(named, -contributions, np.inf), axis=1, kind="stable")
    z, before, parts = (
        np.take_along_axis(each, order, axis=1) for each in (z_scores, previous, contributions)
    )
    columns = (
        np.array(features)[order].tolist(),
        np.where(z >= 0, "above", "below").tolist(),
        z.tolist(),
        before.tolist(),
        parts.tolist(),
        np.count_nonzero(named, axis=1).tolist(),
    )
    return [
        list(map(FeatureReason, *(each[:n] for each in row)))
        for *row, n in zip(*columns, strict=True)
    ]
