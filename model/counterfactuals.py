"""Explanation of an assignment, and counterfactuals: the smallest change that switches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.vectors import Flags, Floats

_ROUNDING = np.arange(-2, 3)
"""Steps tried around a bound, since the closed form and the rule itself round differently."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Natural unit of a feature: step size, bounds and conversion.

    Attributes
    ----------
    step
        Smallest change, in natural units.
    least, most
        Bounds of the search, in natural units.
    forward, backward
        Increasing conversion from natural units to feature units, and its inverse.

    """

    step: float
    least: float
    most: float
    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


def contributions(row: Floats, centroids: Floats, weights: Floats) -> Floats:
    """Contribution of each feature to a row's squared distances.

    Parameters
    ----------
    row
        Shape (d,), in feature units; NaN is unknown and contributes nothing.
    centroids
        Shape (k, d), in feature units.
    weights
        1 / variance of each feature, shape (d,).

    Returns
    -------
    Shape (k, d), in squared standard deviations; each row sums to the squared distance.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.counterfactuals import contributions

    >>> contributions(np.array([1.0, np.nan]), np.array([[3.0, 5.0]]), np.array([0.5, 1.0]))
    array([[2., 0.]])

    """
    parts = weights * (row - centroids) ** 2
    return np.where(np.isnan(row) | (weights == 0), 0.0, parts)


def goes_to(
    rows: Floats, published: int, target: int, snapshot: ModelSnapshot, margin: float
) -> Flags:
    """Return a mask of the rows, published under one cluster, that switch to another.

    Parameters
    ----------
    rows
        Shape (n, d), in feature units.
    published, target
        Two different clusters.
    snapshot
        Centroids and scale.
    margin
        As for `Assignment.switch`.

    """
    under = np.full(len(rows), published, dtype=np.int8)
    switched, _ = snapshot.assign(rows).switch(under, margin)
    return np.asarray(switched == target)


def takeover_interval(
    row: Floats, feature: int, published: int, target: int, snapshot: ModelSnapshot, margin: float
) -> tuple[float, float] | None:
    """Interval of one feature's values for which a row switches to another cluster.

    With t the feature's value and D(t) squared distances, the target is the nearest cluster where
    D_target(t) <= D_c(t) for every other c. This is linear in t, since features have the same
    weight in every distance. The target is nearer by the margin where D_target(t) <= (1 - margin)^2
    D_published(t), which is quadratic and opens upwards. So the values form one interval.

    Parameters
    ----------
    row
        Shape (d,), in feature units; NaN is unknown.
    feature
        Index of the feature.
    published, target
        Two different clusters.
    snapshot
        Centroids and scale.
    margin
        As for `Assignment.switch`.

    Returns
    -------
    Lowest and highest value in feature units, infinite if unbounded; None if no value switches the
    row, or the feature is unknown or has weight 0.

    """
    weight = float(snapshot.weights[feature])
    if weight == 0 or np.isnan(row[feature]):
        return None
    rest = contributions(row, snapshot.centroids, snapshot.weights)
    rest[:, feature] = 0
    place = snapshot.centroids[:, feature]
    # D_c(t) = weight t^2 - 2 weight place_c t + constant_c
    constant = rest.sum(axis=1) + weight * place**2
    slope = -2 * weight * place
    lowest, highest = -np.inf, np.inf
    kept = (1.0 - margin) ** 2
    conditions = [
        (0.0, slope[target] - slope[c], constant[target] - constant[c])
        for c in range(len(place))
        if c != target
    ]
    conditions.append(
        (
            weight * (1 - kept),
            slope[target] - kept * slope[published],
            constant[target] - kept * constant[published],
        )
    )
    for a, b, c in conditions:
        bounds = _not_positive(float(a), float(b), float(c))
        if bounds is None:
            return None
        lowest, highest = max(lowest, bounds[0]), min(highest, bounds[1])
    return (lowest, highest) if lowest <= highest else None


def smallest_change(
    row: Floats,
    feature: int,
    axis: Axis,
    published: int,
    target: int,
    snapshot: ModelSnapshot,
    margin: float,
) -> float | None:
    """Find the nearest value of a feature that makes a row switch to another cluster.

    Parameters
    ----------
    row
        Shape (d,), in feature units; NaN is unknown.
    feature, axis
        Index of the feature, and its natural unit.
    published, target
        Two different clusters.
    snapshot
        Centroids and scale.
    margin
        As for `Assignment.switch`.

    Returns
    -------
    The value in natural units, a whole number of steps from the current one; the current value if
    the row switches already; None if no value does.

    """
    interval = takeover_interval(row, feature, published, target, snapshot, margin)
    if interval is None:
        return None
    now = float(axis.backward(row[feature]))
    reach = axis.forward(np.array([axis.least, axis.most]))
    lowest, highest = axis.backward(np.clip(interval, *reach))
    first, last = np.ceil((lowest - now) / axis.step), np.floor((highest - now) / axis.step)
    nearest = first if first > 0 else min(last, 0.0)
    steps = nearest + _ROUNDING
    values = np.round(now + steps * axis.step, 6)
    inside = (values >= axis.least) & (values <= axis.most)
    rows = np.repeat(row[None], len(values), axis=0)
    rows[:, feature] = axis.forward(np.clip(values, axis.least, axis.most))
    works = inside & goes_to(rows, published, target, snapshot, margin)
    if not works.any():
        return None
    return float(values[works][np.abs(steps[works]).argmin()])


def _not_positive(a: float, b: float, c: float) -> tuple[float, float] | None:
    """Solve a t^2 + b t + c <= 0 for a >= 0: an interval, or None if there is no solution."""
    if a == 0:
        if b == 0:
            return (-np.inf, np.inf) if c <= 0 else None
        return (-np.inf, -c / b) if b > 0 else (-c / b, np.inf)
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return None
    # Compute the root of larger magnitude first, to avoid cancellation.
    larger = -(b + np.copysign(np.sqrt(discriminant), b)) / 2
    roots = larger / a, c / larger if larger else 0.0
    return float(min(roots)), float(max(roots))
