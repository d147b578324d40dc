"""Masked squared distances, over the known features of each row."""

from __future__ import annotations

import numpy as np

from livesegments.model.cluster_statistics import SCALE
from livesegments.model.types import Floats


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
    >>> from livesegments.model.distance import squared_distances

    >>> X = np.array([[1.0, 5.0], [1.0, np.nan]])
    >>> squared_distances(X, np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([1.0, 0.5]))
    array([[13.5,  8. ],
           [ 1. ,  0. ]])

    """
    # Clusters by rows: the inner loops run along contiguous memory, three times as fast as rows by
    # clusters. It is also faster than the matrix-product expansion, and free of cancellation.
    columns = np.ascontiguousarray(X.T)
    known = ~np.isnan(columns)
    columns = np.where(known, columns, 0.0)
    summed = np.zeros((len(centroids), len(X)))
    for feature in np.flatnonzero(weights):
        difference = columns[feature] - centroids[:, feature, None]
        difference *= difference
        difference *= weights[feature] * known[feature]
        summed += difference
    return summed.T
