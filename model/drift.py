"""Drift and quality metrics of the clusters and the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.naming import Segment
from livesegments.model.vectors import Clusters, Counts, Floats

LEAST_KNOWN = 30
"""Minimum customers with a known feature for its mean to count as a position. With ten, a single
new customer moves the mean by a standard deviation, which is not drift."""
LEAST_SHARE = 1e-4
"""Minimum share of a bin, so that the index is finite for an empty one."""


def centroid_shift(centroids: Floats, baseline: Floats, weights: Floats) -> Floats:
    """Distance of each centroid from its baseline, in standard deviations per feature.

    It is the z-distance divided by sqrt(d), the root mean square over the features known in both.
    Between two successive snapshots it is the travel of a centroid.

    Parameters
    ----------
    centroids, baseline
        Shape (k, d), in feature units; NaN is unknown.
    weights
        1 / variance of each feature, shape (d,); features with weight 0 are ignored.

    Returns
    -------
    Shape (k,); NaN where no feature is left.

    """
    difference = np.where(weights > 0, (centroids - baseline) * np.sqrt(weights), np.nan)
    return _root_mean_square(difference)


def persona_distance(
    centroids_z: Floats, names: Sequence[str], segments: Sequence[Segment]
) -> Floats:
    """Distance of each cluster from its segment's position, in standard deviations per feature.

    Parameters
    ----------
    centroids_z
        Centroids in z-units, shape (k, d); NaN is unknown and ignored.
    names
        Segment id of each cluster.
    segments
        All segments, in any order.

    Returns
    -------
    Root mean square over the known features, shape (k,); NaN where none is known.

    """
    by_id = {segment.id: segment for segment in segments}
    return _root_mean_square(centroids_z - np.array([by_id[name].position for name in names]))


def mean_squared_distance(statistics: ClusterStatistics, weights: Floats) -> Floats:
    """Mean squared distance of each cluster's members to its centroid, in squared z-units.

    Exact, from the sums of squares. Shape (k,); NaN for an empty cluster.
    """
    members = statistics.members
    mean = (statistics.scatter() @ weights) / np.maximum(members, 1)
    return np.where(members > 0, mean, np.nan)


def explained_variance_ratio(statistics: ClusterStatistics, weights: Floats) -> float:
    """Share of the customers' spread that the clusters explain, from 0 to 1.

    1 - (within-cluster scatter / total scatter), both weighted; exact, from the sums of squares.
    NaN if there is no spread.
    """
    total = float(statistics.pooled().scatter()[0] @ weights)
    within = float((statistics.scatter() @ weights).sum())
    return float(np.clip(1.0 - within / total, 0.0, 1.0)) if total > 0 else float("nan")


def silhouette(distances: Floats, clusters: Clusters) -> float:
    """Mean simplified silhouette: distances to centroids instead of to every other member.

    (b - a) / max(a, b), where a is the distance to the assigned centroid and b to the nearest other
    one [1]_; 0 for a row where both are 0.

    Parameters
    ----------
    distances
        Distance of each row to each centroid, shape (n, k), k >= 2.
    clusters
        Cluster of each row, shape (n,).

    Returns
    -------
    From -1 to 1; NaN if there are no rows.

    References
    ----------
    .. [1] Hruschka, E. R., Campello, R. J. G. B. and de Castro, L. N., 2006. Evolving clusters in
       gene-expression data. Information Sciences, 176(13), pp. 1898-1927.

    """
    if len(distances) == 0:
        return float("nan")
    rows = np.arange(len(distances))
    own = distances[rows, clusters]
    others = distances.copy()
    others[rows, clusters] = np.inf
    nearest = others.min(axis=1)
    larger = np.maximum(own, nearest)
    return float(np.divide(nearest - own, larger, out=np.zeros_like(own), where=larger > 0).mean())


def bin_edges(sample: Floats, bins: int = 10) -> Floats:
    """Inner edges of bins with equal frequency in a baseline sample.

    Parameters
    ----------
    sample
        Values of the feature, shape (n,); NaN is unknown.
    bins
        Maximum number of bins; a feature with few distinct values gets fewer.

    Returns
    -------
    Increasing, at most `bins` - 1 values.

    """
    known = sample[~np.isnan(sample)]
    if len(known) == 0:
        return np.empty(0)
    return np.unique(np.quantile(known, np.arange(1, bins) / bins, method="higher"))


def bin_counts(sample: Floats, edges: Floats) -> Counts:
    """Count values below the first edge, from each edge up to the next, and unknown values.

    Returns
    -------
    Shape (len(edges) + 2,); the last is the number of NaN.

    """
    # NaN sorts last, so it needs a bin of its own.
    bins = np.where(np.isnan(sample), len(edges) + 1, np.searchsorted(edges, sample, side="right"))
    return np.bincount(bins, minlength=len(edges) + 2)


def psi(expected: Counts | Floats, actual: Counts | Floats) -> float:
    """Population stability index of two distributions over the same bins.

    The sum of (a - e) * ln(a / e) over the bins' shares, after Siddiqi [1]_.

    Parameters
    ----------
    expected, actual
        Counts or shares of each bin, shape (b,).

    Returns
    -------
    0 for equal shares; NaN if either side is empty.

    References
    ----------
    .. [1] Siddiqi, N., 2006. Credit Risk Scorecards: Developing and Implementing Intelligent Credit
       Scoring. Wiley.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.drift import psi

    >>> round(psi(np.array([50, 50]), np.array([80, 20])), 3)
    0.416

    """
    if np.sum(expected) <= 0 or np.sum(actual) <= 0:
        return float("nan")
    e = np.maximum(expected / np.sum(expected), LEAST_SHARE)
    a = np.maximum(actual / np.sum(actual), LEAST_SHARE)
    return float(np.sum((a - e) * np.log(a / e)))


def psi_critical_value(bins: int, expected: int, actual: int) -> float:
    """Threshold above which a shift is neither small nor random: max(0.1, 99 % quantile).

    For two samples of one distribution the index is about (1 / n + 1 / m) times a chi-squared
    variable with `bins` - 1 degrees of freedom [1]_. A shift below 0.1 is conventionally
    negligible.

    Parameters
    ----------
    bins
        Number of bins, at least 2.
    expected, actual
        Sizes of the two samples, n and m; the threshold is infinite if one is empty.

    References
    ----------
    .. [1] Yurdakul, B. and Naranjo, J., 2020. Statistical properties of the population stability
       index. Journal of Risk Model Validation, 14(4).

    """
    if expected <= 0 or actual <= 0:
        return float("inf")
    from scipy.special import chdtri  # slow to import, and few commands need it

    return max(0.1, (1 / expected + 1 / actual) * float(chdtri(bins - 1, 0.01)))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of a sample in bins of equal frequency.

    Attributes
    ----------
    edges
        Inner edges of the bins, increasing, in feature units.
    counts
        Customers below the first edge, from each edge up to the next, and last those for whom the
        feature is unknown: two more than there are edges.

    Raises
    ------
    ValueError
        If the parts do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.drift import Histogram

    >>> ages = np.array([20.0, 30.0, 40.0, 50.0, np.nan])
    >>> histogram = Histogram.of(ages, bins=2)
    >>> histogram
    Histogram(edges=(40.0,), counts=(2, 2, 1))
    >>> round(histogram.psi(ages), 3), histogram.psi(ages + 15) > 0.1
    (0.0, True)

    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 2 or any(count < 0 for count in self.counts):
            raise ValueError("a histogram has two counts, from 0 up, more than edges")
        if not np.all(np.diff(self.edges) > 0) or not np.isfinite(self.edges).all():
            raise ValueError("the edges of a histogram must rise")

    @classmethod
    def of(cls, sample: Floats, bins: int = 10) -> Histogram:
        """Bin and count a sample of the feature, shape (n,); NaN is unknown."""
        edges = np.unique(bin_edges(sample, bins).round(6))
        return cls(tuple(edges.tolist()), tuple(bin_counts(sample, edges).tolist()))

    def psi(self, sample: Floats) -> float:
        """Population stability index of a later sample, shape (n,), NaN unknown."""
        return psi(np.array(self.counts), bin_counts(sample, np.array(self.edges)))

    def psi_critical_value(self, rows: int) -> float:
        """Threshold of the index for a later sample of ``rows`` rows."""
        return psi_critical_value(len(self.counts), sum(self.counts), rows)


def _root_mean_square(difference: Floats) -> Floats:
    known = ~np.isnan(difference)
    count = known.sum(axis=1)
    summed = (np.where(known, difference, 0.0) ** 2).sum(axis=1)
    return np.where(count > 0, np.sqrt(summed / np.maximum(count, 1)), np.nan)
