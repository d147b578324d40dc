"""Snapshot of centroids and scale, and the assignment of rows to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.model.vectors import (
    NOWHERE,
    Clusters,
    Flags,
    Floats,
    feature_weights,
    read_only,
    squared_distances,
)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Nearest cluster of each row, and distances to all clusters.

    Attributes
    ----------
    clusters
        Nearest cluster, int8, shape (n,); the lowest one in a tie.
    distances
        Euclidean distance to each centroid, shape (n, k), in z-units.

    """

    clusters: Clusters
    distances: Floats

    def runner_up(self) -> Clusters:
        """Return the second nearest cluster of each row, int8, shape (n,)."""
        others = self.distances.copy()
        others[np.arange(len(others)), self.clusters] = np.inf
        return np.asarray(others.argmin(axis=1), dtype=np.int8)

    def confidence(self) -> Floats:
        """Compute 1 - d1 / d2 of nearest and second nearest, shape (n,), from 0 (a tie) to 1."""
        first, second = np.partition(self.distances, 1, axis=1)[:, :2].T
        ratio = np.divide(first, second, out=np.ones_like(first), where=second > 0)
        return np.asarray(np.clip(1.0 - ratio, 0.0, 1.0))

    def take(self, rows: slice | npt.NDArray[np.integer]) -> Assignment:
        """Select rows."""
        return Assignment(self.clusters[rows], self.distances[rows])

    def switch(self, published: Clusters, margin: float) -> tuple[Clusters, Flags]:
        """Update published clusters, with hysteresis.

        A published cluster is replaced only if another centroid is nearer by the margin:
        d_new <= (1 - margin) * d_published. A tie never switches.

        Parameters
        ----------
        published
            Published cluster of each row, int8, shape (n,); -1 for none.
        margin
            From 0 (every nearer centroid wins) to less than 1.

        Returns
        -------
        The new published clusters, int8, shape (n,), and a mask of the rows that kept theirs
        although another centroid is nearer, bool, shape (n,).

        """
        if not 0.0 <= margin < 1.0:
            raise ValueError(f"margin must be at least 0 and below 1, not {margin}")
        rows = np.arange(len(published))
        nearest = self.distances[rows, self.clusters]
        # Rows without a published cluster index an arbitrary column; the result is not used.
        present = self.distances[rows, published]
        nobody = published == NOWHERE
        nearer = ~nobody & (nearest < present)
        switches = nobody | (nearer & (nearest <= (1.0 - margin) * present))
        return np.where(switches, self.clusters, published), nearer & ~switches


@dataclass(frozen=True, slots=True, eq=False)
class ModelSnapshot:
    """Centroids and scale at one moment; immutable, so it can be shared between threads.

    Attributes
    ----------
    centroids
        Shape (k, d), in feature units, without NaN.
    mean, std
        Mean and standard deviation of each feature over the population, shape (d,); NaN if unknown.
    weights
        1 / std**2, shape (d,); 0 for a feature that is unknown or constant.

    Examples
    --------
    >>> import numpy as np
    >>> from livesegments.model.generation import Generation
    >>> from livesegments.model.snapshot import ModelSnapshot

    >>> generation = Generation(
    ...     number=1,
    ...     centroids=np.array([[0.0, 10.0], [4.0, 30.0]]),
    ...     mean=np.array([2.0, 20.0]),
    ...     variance=np.array([4.0, 100.0]),
    ...     sizes=(3, 3),
    ...     segments=("students", "retirees"),
    ... )
    >>> snapshot = ModelSnapshot.of(generation)
    >>> assignment = snapshot.assign(np.array([[1.0, 10.0], [3.0, np.nan]]))
    >>> assignment.clusters
    array([0, 1], dtype=int8)
    >>> assignment.distances.round(2)
    array([[0.5, 2.5],
           [1.5, 0.5]])
    >>> assignment.confidence().round(2)
    array([0.8 , 0.67])

    """

    centroids: Floats
    mean: Floats
    std: Floats
    weights: Floats

    @classmethod
    def of(
        cls, generation: Generation, statistics: ClusterStatistics | None = None
    ) -> ModelSnapshot:
        """Combine a fit with the rows counted since.

        A centroid coordinate is the mean of the cluster's members, else the fitted one, else the
        mean of all rows. A feature's mean and variance are those of all rows, else (unknown, or no
        spread yet) those of the fit. So an empty cluster keeps its fitted position. A coordinate
        that is unknown in all rows is 0, with weight 0.

        Parameters
        ----------
        generation
            The fit.
        statistics
            Statistics of its clusters; None for no rows.

        """
        mean, variance, centroids = generation.mean, generation.variance, generation.centroids
        if statistics is not None:
            if statistics.known.shape != centroids.shape:
                raise ValueError(
                    f"statistics have shape {statistics.known.shape}, "
                    f"the generation {centroids.shape}"
                )
            everyone = statistics.pooled()
            mean = _else(everyone.centroids()[0], mean)
            [spread] = everyone.variances()
            variance = np.where(feature_weights(spread) > 0, spread, variance)
            centroids = _else(statistics.centroids(), centroids)
        return cls(
            centroids=read_only(np.nan_to_num(_else(centroids, mean))),
            mean=read_only(mean),
            std=read_only(np.sqrt(variance)),
            weights=read_only(feature_weights(variance)),
        )

    def assign(self, X: Floats) -> Assignment:
        """Find the nearest centroid of each row.

        Parameters
        ----------
        X
            Rows, shape (n, d), in feature units; NaN is unknown and ignored.

        """
        distances = np.sqrt(squared_distances(X, self.centroids, self.weights))
        return Assignment(distances.argmin(axis=1).astype(np.int8), distances)

    def zscores(self, X: Floats) -> Floats:
        """Standardize rows or centroids by the population's mean and standard deviation.

        Returns
        -------
        Same shape as `X`; NaN where the value is unknown or the feature has no spread.

        """
        scale = np.where(self.weights > 0, np.sqrt(self.weights), np.nan)
        return np.asarray((X - self.mean) * scale, dtype=np.float64)


def _else(values: Floats, fallback: Floats) -> Floats:
    return np.where(np.isnan(values), fallback, values)
