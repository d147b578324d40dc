"""Exact, mergeable and retractable cluster statistics in fixed-point integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from livesegments.model.types import NOWHERE, Counts, Floats, Vectors

SCALE = 1 << 20
"""Fixed-point steps per unit of a feature."""

LIMIT = 2000.0
"""Values are clipped to plus and minus this many units, to fit into int32 steps."""

UNKNOWN = np.iinfo(np.int32).min
"""Quantized value of an unknown feature."""

# |v| <= LIMIT * SCALE < 2**31, so a square in fixed point is below 2**42 and this many of them sum
# to less than 2**53: within one slice the float64 sums of np.bincount are exact integers.
_EXACT_ROWS = 2048


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
    >>> from livesegments.model.cluster_statistics import dequantize, quantize

    >>> dequantize(quantize(np.array([1.5, np.nan, -1e9]))).tolist()
    [1.5, nan, -2000.0]

    """
    known = ~np.isnan(X)
    steps = np.rint(np.clip(np.where(known, X, 0.0), -LIMIT, LIMIT) * SCALE)
    return np.where(known, steps, UNKNOWN).astype(np.int32)


def dequantize(vectors: Vectors) -> Floats:
    """Convert fixed-point steps to feature units, with NaN for `UNKNOWN`."""
    return np.where(vectors == UNKNOWN, np.nan, vectors / SCALE)


class ClusterStatistics:
    """Count, sum and sum of squares per cluster and feature.

    Statistics of disjoint sets of rows are merged with ``+=`` and retracted with ``-=``, as in
    `river.stats`. The sums are integers, so they do not depend on order or batching, and ``-=``
    reverts ``+=`` exactly.

    Parameters
    ----------
    k, d
        Number of clusters and of features.
    sums
        All sums in one array, int64, shape (k * (1 + 3 * d),); zeros by default. The attributes
        are views of it.

    Attributes
    ----------
    members
        Rows in each cluster, shape (k,).
    known
        Number of members with a known feature, shape (k, d).
    total
        Sum of the known values v, in steps of 1 / `SCALE` unit, shape (k, d).
    square
        Sum of (v * v) >> 20, in steps of 1 / `SCALE` squared unit, shape (k, d). Its range allows
        ten million rows whose values have a mean square of 800,000 squared units.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.cluster_statistics import ClusterStatistics, quantize

    >>> X = np.array([[1.0, 20.0], [3.0, np.nan], [10.0, 60.0]])
    >>> statistics = ClusterStatistics.of(quantize(X), np.array([0, 0, 1]), k=2)
    >>> statistics.members
    array([2, 1])
    >>> statistics.centroids()
    array([[ 2., 20.],
           [10., 60.]])

    >>> statistics -= ClusterStatistics.of(quantize(X[:2]), np.array([0, 0]), k=2)
    >>> statistics.centroids()
    array([[nan, nan],
           [10., 60.]])

    """

    __slots__ = ("known", "members", "square", "sums", "total")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, k: int, d: int, sums: Counts | None = None) -> None:
        self.sums = np.zeros(k * (1 + 3 * d), dtype=np.int64) if sums is None else sums
        self.members = self.sums[:k]
        self.known, self.total, self.square = self.sums[k:].reshape(3, k, d)

    @classmethod
    def of(cls, vectors: Vectors, clusters: npt.NDArray[np.integer], k: int) -> ClusterStatistics:
        """Count rows.

        Parameters
        ----------
        vectors
            Quantized vectors, int32, shape (n, d).
        clusters
            The cluster of each, shape (n,); rows with -1 are not counted.
        k
            Number of clusters.

        Raises
        ------
        ValueError
            If the shapes do not match or a cluster is not in -1..k-1.

        """
        if vectors.ndim != 2 or len(vectors) != len(clusters):
            raise ValueError(
                f"{len(clusters)} clusters need vectors of shape (n, d), not {vectors.shape}"
            )
        if len(clusters) and not (clusters.min() >= NOWHERE and clusters.max() < k):
            raise ValueError(f"clusters must be from {NOWHERE} to {k - 1}")
        d = vectors.shape[1]
        found = cls(k, d)
        for start in range(0, len(vectors), _EXACT_ROWS):
            part = vectors[start : start + _EXACT_ROWS]
            # Rows without a cluster are counted in one extra row, which is dropped.
            rows = clusters[start : start + _EXACT_ROWS].astype(np.intp)
            rows[rows == NOWHERE] = k
            cells = (rows[:, None] * d + np.arange(d)).ravel()
            known = part != UNKNOWN
            value = np.where(known, part, 0).astype(np.int64)
            found.members += np.bincount(rows, minlength=k + 1)[:k]
            for sums, addend in (
                (found.known, known),
                (found.total, value),
                (found.square, (value * value) >> 20),
            ):
                binned = np.bincount(cells, addend.ravel(), (k + 1) * d)
                sums += binned[: k * d].astype(np.int64).reshape(k, d)
        return found

    def __iadd__(self, other: ClusterStatistics) -> ClusterStatistics:
        self.sums += self._same_shape(other).sums
        return self

    def __isub__(self, other: ClusterStatistics) -> ClusterStatistics:
        self.sums -= self._same_shape(other).sums
        return self

    def __add__(self, other: ClusterStatistics) -> ClusterStatistics:
        total = self.copy()
        total += other
        return total

    def _same_shape(self, other: ClusterStatistics) -> ClusterStatistics:
        if other.known.shape != self.known.shape:
            raise ValueError(
                f"statistics of shape {self.known.shape} and {other.known.shape} cannot be added"
            )
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterStatistics):
            return NotImplemented
        return self.known.shape == other.known.shape and np.array_equal(self.sums, other.sums)

    def __reduce__(self) -> tuple[Any, ...]:
        return ClusterStatistics, (*self.known.shape, self.sums)

    def copy(self) -> ClusterStatistics:
        """Return a copy that shares no array with this one."""
        k, d = self.known.shape
        return ClusterStatistics(k, d, self.sums.copy())

    def widened(self, columns: Sequence[int], d: int) -> ClusterStatistics:
        """Map the features to the given columns of `d`; the others are unknown in all rows."""
        wide = ClusterStatistics(len(self.members), d)
        wide.members[:] = self.members
        for name in ("known", "total", "square"):
            getattr(wide, name)[:, columns] = getattr(self, name)
        return wide

    def to_bytes(self) -> bytes:
        """Serialize to 8 * k * (1 + 3 * d) bytes: `sums` as little-endian int64."""
        return self.sums.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, k: int, d: int) -> ClusterStatistics:
        """Inverse of `to_bytes`.

        Raises
        ------
        ValueError
            If the length of `data` is not that of `k` clusters with `d` features.

        """
        expected = 8 * k * (1 + 3 * d)
        if len(data) != expected:
            raise ValueError(
                f"statistics of {k} clusters and {d} features take {expected} bytes, "
                f"not {len(data)}"
            )
        return cls(k, d, np.frombuffer(data, dtype="<i8").astype(np.int64))

    def centroids(self) -> Floats:
        """Mean of each cluster's known values, shape (k, d), NaN where no value is known."""
        return _mean(self.total, self.known)

    def mean(self) -> Floats:
        """Mean over all clusters, shape (d,), NaN where no value is known."""
        return _mean(self.total.sum(axis=0), self.known.sum(axis=0))

    def variance(self) -> Floats:
        """Population variance over all clusters, shape (d,), NaN where no value is known.

        For a feature with a single value it may be slightly below 1 / `SCALE` instead of 0.
        """
        known = self.known.sum(axis=0)
        return np.where(known > 0, self.total_scatter() / np.maximum(known, 1), np.nan)

    def within_scatter(self) -> Floats:
        """Sum of squared deviations from the cluster's centroid, shape (k, d), squared units."""
        return _scatter(self.known, self.total, self.square)

    def total_scatter(self) -> Floats:
        """Sum of squared deviations from the overall mean, shape (d,), squared units."""
        return _scatter(self.known.sum(axis=0), self.total.sum(axis=0), self.square.sum(axis=0))

    def inertia(self, weights: Floats) -> Floats:
        """Sum of the members' weighted squared distances to their centroid, per cluster.

        Parameters
        ----------
        weights
            Weight of each feature, shape (d,): with 1 / variance the distances are in z-units.

        Returns
        -------
        Shape (k,); their sum is the k-POD objective that `livesegments.model.fit` minimizes.

        """
        return np.asarray(self.within_scatter() @ weights, dtype=np.float64)


def _mean(total: Counts, known: Counts) -> Floats:
    return np.where(known > 0, total / (np.maximum(known, 1) * float(SCALE)), np.nan)


def _scatter(known: Counts, total: Counts, square: Counts) -> Floats:
    # Sum of squares minus N * mean**2. The squares were rounded down, so it can fall below zero.
    mean = total / np.maximum(known, 1) / SCALE
    return np.maximum(square / SCALE - known * mean * mean, 0.0)
