"""Rows of feature values, of which some are unknown: array types, fixed point, masked distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[np.int32]
Clusters: TypeAlias = npt.NDArray[np.int8]
Indices: TypeAlias = npt.NDArray[np.intp]
Flags: TypeAlias = npt.NDArray[np.bool_]

NOWHERE = -1
"""Cluster of a row without a cluster."""

SCALE = 1 << 20
"""Fixed-point steps per unit of a feature."""

LIMIT = 2000.0
"""Values are clipped to plus and minus this many units, to fit into int32 steps."""

UNKNOWN = np.iinfo(np.int32).min
"""Quantized value of an unknown feature."""


def read_only(values: npt.ArrayLike) -> Floats:
    """Copy `values` to a read-only array."""
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def quantize(X: Floats) -> Vectors:
    """Round feature values to fixed-point steps.

    Parameters
    ----------
    X
        Feature values, shape (n, d), in feature units; NaN is unknown.

    Returns
    -------
    Steps of 1 / `SCALE` unit, int32, the same shape; `UNKNOWN` where X is NaN. Values beyond plus
    or minus `LIMIT` are clipped.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.vectors import dequantize, quantize

    >>> dequantize(quantize(np.array([1.5, np.nan, -1e9]))).tolist()
    [1.5, nan, -2000.0]

    """
    known = ~np.isnan(X)
    steps = np.rint(np.clip(np.where(known, X, 0.0), -LIMIT, LIMIT) * SCALE)
    return np.where(known, steps, UNKNOWN).astype(np.int32)


def dequantize(vectors: Vectors) -> Floats:
    """Convert fixed-point steps to feature units, with NaN for `UNKNOWN`."""
    return np.where(vectors == UNKNOWN, np.nan, vectors / SCALE)


def feature_weights(variance: Floats) -> Floats:
    """Weights that convert a squared distance to z-units: 1 / variance.

    Parameters
    ----------
    variance
        Population variance of each feature, shape (d,), in squared feature units.

    Returns
    -------
    Shape (d,); 0 where the variance is unknown (NaN) or at most 1 / `SCALE`, the resolution of the
    fixed-point statistics: such a feature is constant and does not distinguish clusters.

    """
    varies = np.nan_to_num(variance) > 1 / SCALE
    return np.where(varies, 1.0 / np.where(varies, variance, 1.0), 0.0)


def squared_distances(X: Floats, centroids: Floats, weights: Floats) -> Floats:
    """Weighted squared Euclidean distances over the features known in each row.

    This is the summand of the k-POD objective [1]_. The sum runs over the features in order, one
    product at a time, so a row's distances are bit-identical in every batch.

    Parameters
    ----------
    X
        Rows, shape (n, d), in feature units; NaN is unknown.
    centroids
        Shape (k, d), in feature units, without NaN where the weight is positive.
    weights
        Weight of each feature, shape (d,); 0 leaves the feature out.

    Returns
    -------
    Shape (n, k). A row without known values is at distance 0 from every centroid.

    References
    ----------
    .. [1] Chi, J. T., Chi, E. C. and Baraniuk, R. G., 2016. k-POD: A Method for k-Means Clustering
       of Missing Data. The American Statistician, 70(1), pp. 91-99.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.vectors import squared_distances

    >>> X = np.array([[1.0, 5.0], [1.0, np.nan]])
    >>> squared_distances(X, np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([1.0, 0.5]))
    array([[13.5,  8. ],
           [ 1. ,  0. ]])

    """
    return WeightedColumns.of(X, weights).squared_distances(centroids).T


@dataclass(frozen=True, slots=True, eq=False)
class WeightedColumns:
    """Rows by feature, for `squared_distances` to several sets of centroids.

    Attributes
    ----------
    features
        Columns of positive weight, shape (f,).
    values, weights
        Their values and weights, shape (f, n); 0 where unknown.

    """

    features: Indices
    values: Floats
    weights: Floats

    @classmethod
    def of(cls, X: Floats, weights: Floats) -> Self:
        """Take the columns of positive weight, shape (d,), of rows, shape (n, d)."""
        features = np.flatnonzero(weights)
        columns = np.ascontiguousarray(X.T[features])
        known = ~np.isnan(columns)
        return cls(features, np.where(known, columns, 0.0), weights[features, None] * known)

    def squared_distances(self, centroids: Floats) -> Floats:
        """Compute the squared distance of each row to each centroid, shape (k, n)."""
        # Clusters by rows: the inner loops run along contiguous memory, three times as fast as
        # rows by clusters. It is also faster than the matrix-product expansion, and free of
        # cancellation.
        summed = np.zeros((len(centroids), self.values.shape[1]))
        difference = np.empty_like(summed)
        for feature, values, weights in zip(self.features, self.values, self.weights, strict=True):
            np.subtract(values, centroids[:, feature, None], out=difference)
            difference *= difference
            difference *= weights
            summed += difference
        return summed


def nearest(distances: Floats) -> tuple[Indices, Floats]:
    """Find the nearest cluster of each row, the lowest one in a tie.

    Parameters
    ----------
    distances
        Shape (k, n).

    Returns
    -------
    Clusters and distances, shape (n,).

    """
    # Faster than argmin and min of a row at a time, which do not vectorize over a short axis.
    clusters = np.zeros(distances.shape[1], dtype=np.intp)
    least = distances[0].copy()
    for cluster, own in enumerate(distances[1:], start=1):
        clusters[own < least] = cluster
        np.minimum(least, own, out=least)
    return clusters, least
