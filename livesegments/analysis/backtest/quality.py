"""Quality of clusters: their inertia relative to a batch fit of the same customers."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from livesegments.analysis.backtest.simulator import Simulator
from livesegments.model import batch_kmeans

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

STARTS = 20
MOST_CUSTOMERS = 10_000


class Quality(TypedDict):
    """Inertia relative to the best batch fit: 1 is as good, 2 twice as far from the centroids.

    Attributes
    ----------
    by_centroids
        Each customer at the nearest of today's centroids.
    as_published
        Each customer in the published segment, about its mean: includes the cost of margin and
        dwell.
    customers
        Number measured.
    """

    by_centroids: float
    as_published: float
    customers: int


class QualityMeter:
    """Measures simulators on their current customers; keeps the last batch fit for the next one.

    Of more than ten thousand customers it takes a sample.
    """

    def __init__(self) -> None:
        self._seen: Floats = np.empty((0, 0))
        self._best: batch_kmeans.Fit | None = None

    def __call__(self, history: Simulator) -> Quality | None:
        """Measure a simulator now; None without a model or when all customers are the same."""
        model, now = history.model.model({0: history.state}), history.population()
        X, segment = now.vectors, now.segment
        if model is None:
            return None
        if len(X) > MOST_CUSTOMERS:
            rows = np.random.default_rng(0).choice(len(X), MOST_CUSTOMERS, replace=False)
            X, segment = X[rows], segment[rows]
        try:
            best = self._reference(X, len(model.snapshot.centroids))
        except ValueError:
            return None
        by_centroids = batch_kmeans.inertia(X, model.snapshot.centroids, best.weights)
        as_published = labelled_inertia(X, segment, best.weights, len(best.centroids))
        return {
            "by_centroids": round(ratio(by_centroids, best.inertia, len(X)), 4),
            "as_published": round(ratio(as_published, best.inertia, len(X)), 4),
            "customers": len(X),
        }

    def _reference(self, X: Floats, k: int) -> batch_kmeans.Fit:
        known = self._best is not None and len(self._best.centroids) == k
        if self._best is None or not known or not np.array_equal(X, self._seen, equal_nan=True):
            self._best = reference(X, k)
            self._seen = X
        return self._best


def reference(X: Floats, k: int) -> batch_kmeans.Fit:
    """Return the best of 20 batch fits of k clusters.

    Raises `ValueError` if all rows are the same.
    """
    return batch_kmeans.fit(X, k, seed=1, starts=STARTS)


def ratio(ours: float, best: float, customers: int) -> float:
    """Return ours / best; 1 where both are 0."""
    nothing = 1e-9 * customers
    return (ours + nothing) / (best + nothing)


def label_means(X: Floats, labels: Labels, k: int) -> Floats:
    """Return the mean of each label's known values, and last, for label -1, that of all rows."""
    members = [X[labels == label] for label in range(k)]
    return np.stack([_mean(rows) for rows in [*members, X]])


def labelled_inertia(X: Floats, labels: Labels, weights: Floats, k: int) -> float:
    """Return the inertia of rows about the mean of their label, over known values."""
    deviations = np.nan_to_num(X - label_means(X, labels, k)[labels])
    return float((deviations**2 * weights).sum())


def _mean(X: Floats) -> Floats:
    known = (~np.isnan(X)).sum(axis=0)
    return np.asarray(np.nansum(X, axis=0) / np.maximum(known, 1))
