"""Batch k-means for data with unknown values: k-means++ starts, then Lloyd's algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Self

import numpy as np

from livesegments.model.vectors import (
    Clusters,
    Floats,
    Indices,
    WeightedColumns,
    feature_weights,
    nearest,
    squared_distances,
)

TRIALS = 3
MOST_ITERATIONS = 100
"""Maximum number of Lloyd iterations per start."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The outcome of a batch fit.

    Attributes
    ----------
    centroids
        Means of the members' known values, shape (k, d), in feature units; NaN where the feature is
        unknown for all members, as in an empty cluster.
    clusters
        Cluster of each row, int8, shape (n,).
    inertia
        Sum of squared masked distances to the assigned centroid, in squared z-units.
    mean, variance
        Mean and variance of each feature's known values, shape (d,); NaN if none is known.
    weights
        1 / variance, shape (d,); 0 for a feature that is unknown or constant.

    """

    centroids: Floats
    clusters: Clusters
    inertia: float
    mean: Floats
    variance: Floats
    weights: Floats

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows in each cluster."""
        return tuple(np.bincount(self.clusters, minlength=len(self.centroids)).tolist())

    @property
    def completed(self) -> Floats:
        """Centroids with the mean of all rows for an unknown feature, 0 if no row knows it."""
        return np.where(np.isnan(self.centroids), np.nan_to_num(self.mean), self.centroids)

    def zscores(self, centroids: Floats) -> Floats:
        """Standardize centroids by mean and variance; NaN for a constant feature."""
        scale = np.where(self.weights > 0, np.sqrt(self.weights), np.nan)
        return np.asarray((centroids - self.mean) * scale, dtype=np.float64)


def fit(
    X: Floats,
    k: int,
    *,
    seed: int,
    starts: int = 8,
    initial: Floats | None = None,
) -> Fit:
    """Cluster rows with unknown values, minimizing the k-POD objective.

    Each start is drawn with greedy k-means++ [1]_, which takes the best of three draws for every
    further centroid, and refined with Lloyd's algorithm; the start with the lowest inertia wins.
    Distances are in z-units of the known values of `X`. An empty cluster receives the row farthest
    from its assigned centroid; with fewer distinct rows than clusters some stay empty.

    Parameters
    ----------
    X
        Rows, shape (n, d), in feature units; NaN is unknown.
    k
        Number of clusters, from 2 to 127.
    seed
        The same seed and rows give the same fit.
    starts
        Number of k-means++ starts.
    initial
        Centroids of one additional start, shape (k, d), in feature units; NaN stands for the mean.

    Raises
    ------
    ValueError
        If a row has no known value or an infinite one, if all rows are the same, if `initial` has
        another shape, or if there is no start.

    References
    ----------
    .. [1] Arthur, D. and Vassilvitskii, S., 2007. k-means++: The Advantages of Careful Seeding.
       Proceedings of the 18th Annual ACM-SIAM Symposium on Discrete Algorithms, pp. 1027-1035.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.batch_kmeans import fit

    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [np.nan, 3.0], [9.0, 30.0], [8.0, np.nan]])
    >>> found = fit(X, k=2, seed=1)
    >>> found.sizes
    (3, 2)
    >>> found.centroids
    array([[ 1. ,  3. ],
           [ 8.5, 30. ]])

    """
    X = np.asarray(X, dtype=np.float64)
    if not 2 <= k <= np.iinfo(np.int8).max:
        raise ValueError(f"k must be from 2 to {np.iinfo(np.int8).max}, not {k}")
    if initial is not None and np.shape(initial) != (k, X.shape[1]):
        raise ValueError(
            f"initial centroids must have shape {(k, X.shape[1])}, not {np.shape(initial)}"
        )
    if starts < 1 and initial is None:
        raise ValueError("a fit needs at least one start or initial centroids")
    mean, variance = _moments(X)
    weights = feature_weights(variance)
    if distinct_rows(X) < 2:
        raise ValueError(f"clusters need rows that differ, and these {len(X)} do not")

    rows = _Rows.of(X, weights, np.nan_to_num(mean))
    rng = np.random.default_rng(seed)
    candidates = [_k_means_plus_plus(rows, k, rng) for _ in range(starts)]
    if initial is not None:
        candidates.append(np.where(np.isnan(initial), rows.center, initial))
    runs = [_lloyd(rows, candidate) for candidate in candidates]
    inertia, clusters, centroids = min(runs, key=itemgetter(0))
    # Where no member of a cluster has the feature known, the coordinate is meaningless.
    found = np.where(_sums(rows.known, clusters, k) > 0, centroids, np.nan)
    return Fit(found, clusters.astype(np.int8), inertia, mean, variance, weights)


def inertia(X: Floats, centroids: Floats, weights: Floats) -> float:
    """Sum of squared masked distances to the nearest centroid, in squared z-units.

    A refit compares the inertia of the current centroids with that of a new `Fit`, over the same
    rows and with the weights of the fit.

    Parameters
    ----------
    X
        Rows, shape (n, d); NaN is unknown.
    centroids
        Shape (k, d), without NaN where the weight is positive.
    weights
        Shape (d,).

    """
    return float(squared_distances(X, centroids, weights).min(axis=1).sum())


def distinct_rows(X: Floats) -> int:
    """Count distinct rows of `X`, shape (n, d), ignoring constant features."""
    varying = X[:, feature_weights(_moments(X)[1]) > 0]
    if varying.size == 0:
        return min(len(X), 1)
    # NaN is not equal to itself; replace it with infinity, which does not occur in the values.
    return len(np.unique(np.where(np.isnan(varying), np.inf, varying), axis=0))


def _moments(X: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(X)
    if not known.any(axis=1).all():
        raise ValueError("every row needs at least one known value")
    if np.isinf(X).any():
        raise ValueError("values must be finite, or NaN when unknown")
    count = known.sum(axis=0)
    mean = np.where(known, X, 0.0).sum(axis=0) / np.maximum(count, 1)
    variance = (np.where(known, X - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan), np.where(count > 0, variance, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows to cluster, prepared for all starts.

    `values` are 0 and `known` is 0 where unknown, shape (d, n); `center` is the mean, shape (d,).
    """

    columns: WeightedColumns
    values: Floats
    known: Floats
    center: Floats

    @classmethod
    def of(cls, X: Floats, weights: Floats, center: Floats) -> Self:
        columns = np.ascontiguousarray(X.T)
        known = ~np.isnan(columns)
        values = np.where(known, columns, 0.0)
        return cls(WeightedColumns.of(X, weights), values, known.astype(np.float64), center)


def _k_means_plus_plus(rows: _Rows, k: int, rng: np.random.Generator) -> Floats:
    filled = np.where(rows.known > 0, rows.values, rows.center[:, None]).T
    n = len(filled)
    centroids = filled[[rng.integers(n)]]
    [least] = rows.columns.squared_distances(centroids)
    while len(centroids) < k:
        cumulated = np.cumsum(least)
        # A row with few known values can be at distance 0 from a centroid it does not equal. If all
        # rows are, draw any row.
        drawn = (
            np.searchsorted(cumulated, rng.random(TRIALS) * cumulated[-1], side="right")
            if cumulated[-1] > 0
            else rng.integers(n, size=TRIALS)
        )
        tried = filled[np.minimum(drawn, n - 1)]
        after = np.minimum(least, rows.columns.squared_distances(tried))
        best = after.sum(axis=1).argmin()
        centroids = np.concatenate([centroids, tried[[best]]])
        least = after[best]
    return centroids


def _lloyd(rows: _Rows, centroids: Floats) -> tuple[float, Indices, Floats]:
    k = len(centroids)
    previous = None
    for _ in range(MOST_ITERATIONS):
        clusters, own = nearest(rows.columns.squared_distances(centroids))
        sizes = np.bincount(clusters, minlength=k)
        empty = np.flatnonzero(sizes == 0)
        if empty.size:
            farthest = np.argsort(-own, kind="stable")[: len(empty)]
            empty = empty[: len(farthest)]
            clusters[farthest] = np.where(own[farthest] > 0, empty, clusters[farthest])
            sizes = np.bincount(clusters, minlength=k)
        if previous is not None and np.array_equal(clusters, previous):
            break
        previous = clusters
        count = _sums(rows.known, clusters, k)
        means = _sums(rows.values, clusters, k) / np.maximum(count, 1)
        kept = np.where(sizes[:, None] > 0, rows.center, centroids)
        centroids = np.where(count > 0, means, kept)
    clusters, own = nearest(rows.columns.squared_distances(centroids))
    return float(own.sum()), clusters, centroids


def _sums(columns: Floats, clusters: Indices, k: int) -> Floats:
    """Sum each column, shape (d, n), by cluster, shape (k, d)."""
    sums = [np.bincount(clusters, column, minlength=k) for column in columns]
    return np.ascontiguousarray(np.array(sums).T)
