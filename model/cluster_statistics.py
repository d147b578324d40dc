"""Exact, mergeable and retractable cluster statistics in fixed-point integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from livesegments.model.vectors import NOWHERE, SCALE, UNKNOWN, Counts, Floats, Vectors

# |v| <= LIMIT * SCALE < 2**31, so a square in fixed point is below 2**42 and this many of them sum
# to less than 2**53: within one slice the float64 sums of np.bincount are exact integers.
_EXACT_ROWS = 2048


class ClusterStatistics:
    """Count, sum and sum of squares per cluster and feature.

    Statistics of disjoint sets of rows are merged with ``+=``, as in `river.stats`. The sums are
    integers, so they do not depend on order or batching, and rows can be taken out again exactly.

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
    >>> from livesegments.model.cluster_statistics import ClusterStatistics
    >>> from livesegments.model.vectors import quantize

    >>> X = np.array([[1.0, 20.0], [3.0, np.nan], [10.0, 60.0]])
    >>> statistics = ClusterStatistics.of(quantize(X), np.array([0, 0, 1]), k=2)
    >>> statistics.members
    array([2, 1])
    >>> statistics.centroids()
    array([[ 2., 20.],
           [10., 60.]])

    >>> statistics.count(quantize(X[:2]), np.array([0, 0]), times=-1)
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
        """Return the statistics of some rows; parameters as in `count`."""
        found = cls(k, vectors.shape[1])
        found.count(vectors, clusters)
        return found

    def count(self, vectors: Vectors, clusters: npt.NDArray[np.integer], *, times: int = 1) -> None:
        """Count rows.

        Parameters
        ----------
        vectors
            Quantized vectors, int32, shape (n, d).
        clusters
            The cluster of each, shape (n,); rows with -1 are not counted.
        times
            -1 takes rows out that were counted.

        Raises
        ------
        ValueError
            If the shapes do not match or a cluster is not in -1..k-1; nothing is counted then.

        """
        k, d = self.known.shape
        if vectors.shape != (len(clusters), d):
            raise ValueError(
                f"{len(clusters)} clusters need vectors of shape {(len(clusters), d)},"
                f" not {vectors.shape}"
            )
        if len(clusters) and not (clusters.min() >= NOWHERE and clusters.max() < k):
            raise ValueError(f"clusters must be from {NOWHERE} to {k - 1}")
        for start in range(0, len(vectors), _EXACT_ROWS):
            part = vectors[start : start + _EXACT_ROWS]
            # Rows without a cluster are counted in one extra row, which is dropped.
            rows = clusters[start : start + _EXACT_ROWS].astype(np.intp)
            rows[rows == NOWHERE] = k
            cells = (rows[:, None] * d + np.arange(d)).ravel()
            known = part != UNKNOWN
            value = np.where(known, part, 0).astype(np.int64)
            self.members += times * np.bincount(rows, minlength=k + 1)[:k]
            for sums, addend in (
                (self.known, known),
                (self.total, value),
                (self.square, (value * value) >> 20),
            ):
                binned = np.bincount(cells, addend.ravel(), (k + 1) * d)
                sums += times * binned[: k * d].astype(np.int64).reshape(k, d)

    def __iadd__(self, other: ClusterStatistics) -> ClusterStatistics:
        if other.known.shape != self.known.shape:
            raise ValueError(
                f"statistics of shape {self.known.shape} and {other.known.shape} cannot be added"
            )
        self.sums += other.sums
        return self

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

    def pooled(self) -> ClusterStatistics:
        """Return the statistics of all counted rows, as of one cluster."""
        k, d = self.known.shape
        sums = self.sums[k:].reshape(3, k, d).sum(axis=1)
        return ClusterStatistics(1, d, np.append(self.members.sum(), sums))

    def centroids(self) -> Floats:
        """Mean of each cluster's known values, shape (k, d), NaN where no value is known."""
        count = np.maximum(self.known, 1)
        return np.where(self.known > 0, self.total / (count * float(SCALE)), np.nan)

    def scatter(self) -> Floats:
        """Sum of squared deviations from the cluster's centroid, shape (k, d), squared units."""
        # Sum of squares minus N * mean**2. The squares were rounded down, so it can fall below 0.
        mean = self.total / np.maximum(self.known, 1) / SCALE
        return np.maximum(self.square / SCALE - self.known * mean * mean, 0.0)

    def variances(self) -> Floats:
        """Population variance in each cluster, shape (k, d), NaN where no value is known.

        For a feature with a single value it may be slightly below 1 / `SCALE` instead of 0.
        """
        return np.where(self.known > 0, self.scatter() / np.maximum(self.known, 1), np.nan)
