"""What would move a customer: one feature, purchases like theirs, or time alone."""

from dataclasses import dataclass

import numpy as np

from consumers.rules import Model
from consumers.scoring import NONE, Scores, Switching, score
from features.catalogue import CATALOGUE
from features.layout import Layout
from features.record import Records
from features.vector import FEATURES, vectors
from features.window import Window, window
from model.counterfactuals import Axis, goes_to, smallest_change

AXES = tuple(
    Axis(each.step, each.least, each.most, each.scale.forward, each.scale.backward)
    for each in CATALOGUE
)
MOST_PURCHASES = 1_000


@dataclass(frozen=True, slots=True)
class Shift:
    """One feature of another value, all else as it is, and the segment that makes.

    Values are in natural units; segments are indexes.
    """

    feature: str
    now: float
    then: float
    segment: int


@dataclass(frozen=True, slots=True)
class Baskets:
    """So many purchases more, each of the customer's mean amount, and the segment that makes."""

    purchases: int
    cents_each: int
    segment: int


@dataclass(frozen=True, slots=True)
class Moment:
    """When tiles leave the window, what is left in it, and the segment from then on."""

    time_us: int
    purchases: int
    cents: int
    segment: int


def rival(published: int, distances: np.ndarray[tuple[int], np.dtype[np.float64]]) -> int:
    """Return the nearest cluster beside the published one."""
    others = distances.copy()
    others[published] = np.inf
    return int(others.argmin())


def shifts(scores: Scores, published: int, model: Model, margin: float) -> list[Shift]:
    """Return the smallest change of each feature that makes another segment win, if any does.

    Also what makes the runner-up win, where a smaller change of the feature makes a third one.

    Parameters
    ----------
    scores
        Of the one customer.
    published
        Cluster of the published segment.
    model, margin
        What decides.
    """
    row = scores.vectors[0]
    runner_up = rival(published, scores.assignment.distances[0])
    found = []
    for feature, axis in enumerate(AXES):
        if np.isnan(row[feature]):
            continue
        now = float(np.round(axis.backward(row[feature]), 6))
        then = {
            target: smallest_change(row, feature, axis, published, target, model.snapshot, margin)
            for target in range(len(model.snapshot.centroids))
            if target != published
        }
        reachable = {target: value for target, value in then.items() if value is not None}
        ordered = sorted(reachable, key=lambda t: abs(reachable[t] - now))
        found += [
            Shift(FEATURES[feature], now, reachable[target], int(model.segment_of_cluster[target]))
            for target in ordered
            if target in (ordered[0], runner_up)
        ]
    return found


def baskets(
    record: Records, scores: Scores, published: int, model: Model, margin: float
) -> Baskets | None:
    """Return how many purchases like theirs it takes to move a customer, None if none do."""
    purchases, cents = int(scores.window.purchases[0]), int(scores.window.cents[0])
    each = round(max(cents, 0) / purchases)
    more = np.arange(1, MOST_PURCHASES + 1)
    windows = Window(purchases + more, cents + more * each)
    rows = vectors(np.repeat(record, len(more)), windows)
    firsts = {
        target: int(more[works.argmax()])
        for target in range(len(model.snapshot.centroids))
        if target != published
        and (works := goes_to(rows, published, target, model.snapshot, margin)).any()
    }
    if not firsts:
        return None
    target = min(firsts, key=lambda t: firsts[t])
    return Baskets(firsts[target], each, int(model.segment_of_cluster[target]))


def by_time(
    record: Records, clock_us: int, model: Model, layout: Layout, switching: Switching
) -> list[Moment]:
    """Follow a customer who buys no more until the window is empty.

    The model stays as it is. Each moment is the start of a tile, at which a purchase leaves the
    window or the segment changes.
    """
    record = record.copy()
    moments: list[Moment] = []
    now = layout.tile(clock_us)
    left = window(record, now)
    for tile in range(now + 1, int(record["head"][0]) + layout.tiles + 1):
        time_us = layout.end(tile - 1)
        scores = score(
            record,
            np.array([tile]),
            np.array([time_us]),
            model.snapshot,
            model.segment_of_cluster,
            switching,
        )
        before, segment = int(record["segment"][0]), int(scores.segment[0])
        at = scores.window
        if (
            segment != before
            or at.purchases[0] != left.purchases[0]
            or at.cents[0] != left.cents[0]
        ):
            moments.append(Moment(time_us, int(at.purchases[0]), int(at.cents[0]), segment))
        if segment != before:
            record["segment"], record["since"] = segment, time_us
        if segment == NONE:
            break
        left = at
    return moments
