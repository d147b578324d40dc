"""Explanation of an assignment, and counterfactuals: the smallest change that would switch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.types import Flags, Floats

_ROUNDING = np.arange(-2, 3)
"""Steps around a bound that are tried: closed forms and the rule itself round differently."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Natural unit of a feature: step, bounds and conversion.

    Attributes
    ----------
    step
        The smallest change, in natural units.
    least, most
        Bounds of the search, in natural units.
    forward, backward
        From natural units to feature units, rising, and back.

    """

    step: float
    least: float
    most: float
    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


def contributions(row: Floats, centroids: Floats, weights: Floats) -> Floats:
    """Part of each feature in a row's squared distances.

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
    Shape (k, d), in squared standard deviations; a row of it sums to the squared distance.

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
    """Tell which rows, published under one cluster, go over to another: the rule itself.

    Parameters
    ----------
    rows
        Shape (n, d), in feature units.
    published, target
        The clusters, two different ones.
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
    """Values of one feature for which a row goes over to another cluster, all else as it is.

    With t the feature's value and D(t) squared distances, the target is nearest of all where
    D_target(t) <= D_c(t) for each other c, which is linear in t since features weigh the same in
    every distance; and it is nearer by the margin where D_target(t) <= (1 - margin)^2
    D_published(t), which is quadratic and opens upwards. So the values form one interval.

    Parameters
    ----------
    row
        Shape (d,), in feature units; NaN is unknown.
    feature
        Index of a feature.
    published, target
        The clusters, two different ones.
    snapshot
        Centroids and scale.
    margin
        As for `Assignment.switch`.

    Returns
    -------
    Lowest and highest value in feature units, infinite where there is no bound; None where no
    value would do, or the feature is unknown or does not count.

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
    """Find the value nearest to a feature's own that makes a row go over to another cluster.

    Parameters
    ----------
    row
        Shape (d,), in feature units; NaN is unknown.
    feature, axis
        Index of a feature, and how it is counted.
    published, target
        The clusters, two different ones.
    snapshot
        Centroids and scale.
    margin
        As for `Assignment.switch`.

    Returns
    -------
    The value in natural units, a whole number of steps from the present one, which it is itself
    when the row goes over as it stands; None where no value does it.

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
    """Solve a t^2 + b t + c <= 0 for a >= 0: an interval, or None where there is no such t."""
    if a == 0:
        if b == 0:
            return (-np.inf, np.inf) if c <= 0 else None
        return (-np.inf, -c / b) if b > 0 else (-c / b, np.inf)
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return None
    # The root of larger size first: to subtract like numbers would lose digits.
    larger = -(b + np.copysign(np.sqrt(discriminant), b)) / 2
    roots = larger / a, c / larger if larger else 0.0
    return float(min(roots)), float(max(roots))
