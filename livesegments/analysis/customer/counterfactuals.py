"""Changes that would move a customer: one feature, further purchases, or time alone."""

from dataclasses import dataclass

import numpy as np

from livesegments.consumers.scoring import NONE, Scores
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.aggregate import advance
from livesegments.features.feature_specs import Feature
from livesegments.features.record_codec import Records
from livesegments.features.window import window
from livesegments.model.counterfactuals import Axis, goes_to, smallest_change
from livesegments.operations.model_loader import score_at

MOST_PURCHASES = 1_000


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """Another value of one feature, everything else unchanged, and the resulting segment.

    Values are in natural units; segments are indexes.
    """

    feature: str
    now: float
    then: float
    segment: int


@dataclass(frozen=True, slots=True)
class MorePurchases:
    """Further purchases of the customer's mean amount, and the resulting segment."""

    purchases: int
    cents_each: int
    segment: int


@dataclass(frozen=True, slots=True)
class Expiry:
    """Tiles leaving the window: the time, the purchases left, and the segment from then on."""

    time_us: int
    purchases: int
    cents: int
    segment: int


def rival(published: int, distances: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Return the nearest cluster other than the published one."""
    others = distances.copy()
    others[published] = np.inf
    return int(others.argmin())


def feature_changes(
    scores: Scores, published: int, model: Model, config: ProcessingConfig
) -> list[FeatureChange]:
    """Return the smallest change of each feature that makes another segment win, if any does.

    Also the change that makes the runner-up win, where a smaller one makes a third segment win.

    Parameters
    ----------
    scores
        Of the customer.
    published
        Cluster of the published segment.
    model, config
        Of the decisions.
    """
    row, margin = scores.vectors[0], config.switching.margin
    runner_up = rival(published, scores.assignment.distances[0])
    found = []
    for feature, spec in enumerate(config.segmentation.features):
        if np.isnan(row[feature]):
            continue
        axis = _axis(spec)
        now = float(np.round(axis.backward(row[feature]), 6))
        then = {
            target: smallest_change(row, feature, axis, published, target, model.snapshot, margin)
            for target in range(len(model.snapshot.centroids))
            if target != published
        }
        reachable = {target: value for target, value in then.items() if value is not None}
        ordered = sorted(reachable, key=lambda t: abs(reachable[t] - now))
        found += [
            FeatureChange(spec.name, now, reachable[target], int(model.segment_of_cluster[target]))
            for target in ordered
            if target in (ordered[0], runner_up)
        ]
    return found


def _axis(feature: Feature) -> Axis:
    scale = feature.scale
    return Axis(feature.step, feature.least, feature.most, scale.forward, scale.backward)


def more_purchases(
    record: Records,
    clock_us: int,
    scores: Scores,
    published: int,
    model: Model,
    config: ProcessingConfig,
) -> MorePurchases | None:
    """Return the further purchases now that would move a customer, None if none would."""
    purchases, cents = int(scores.window.purchases[0]), int(scores.window.cents[0])
    each = round(max(cents, 0) / purchases)
    more = np.arange(1, MOST_PURCHASES + 1)
    tile = config.layout.tile(clock_us)
    records = np.repeat(record, len(more))
    advance(records, np.full(len(more), tile))
    records["counts"][:, tile % config.layout.tiles] += more
    records["cents"][:, tile % config.layout.tiles] += more * each
    rows = config.segmentation.vectors(records, window(records, tile, config.layout))
    margin = config.switching.margin
    firsts = {
        target: int(more[works.argmax()])
        for target in range(len(model.snapshot.centroids))
        if target != published
        and (works := goes_to(rows, published, target, model.snapshot, margin)).any()
    }
    if not firsts:
        return None
    target = min(firsts, key=lambda t: firsts[t])
    return MorePurchases(firsts[target], each, int(model.segment_of_cluster[target]))


def expiries(
    record: Records, clock_us: int, model: Model, config: ProcessingConfig
) -> list[Expiry]:
    """Follow a customer without further purchases until the window is empty.

    The model does not change. Each expiry is the start of a tile at which a purchase leaves the
    window or the segment changes.
    """
    record, layout = record.copy(), config.layout
    moments: list[Expiry] = []
    now = layout.tile(clock_us)
    left = window(record, now, layout)
    for tile in range(now + 1, int(record["head"][0]) + layout.tiles + 1):
        time_us = layout.end(tile - 1)
        scores = score_at(record, tile, time_us, model, config)
        before, segment = int(record["segment"][0]), int(scores.segment[0])
        at = scores.window
        if (
            segment != before
            or at.purchases[0] != left.purchases[0]
            or at.cents[0] != left.cents[0]
        ):
            moments.append(Expiry(time_us, int(at.purchases[0]), int(at.cents[0]), segment))
        if segment != before:
            record["segment"], record["since"] = segment, time_us
        if segment == NONE:
            break
        left = at
    return moments
