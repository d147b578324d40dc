"""Drift gauges, computed from snapshots of the clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livesegments.features.segmentation import Segmentation
from livesegments.model.distance import feature_weights
from livesegments.model.drift import centroid_shift
from livesegments.monitoring.metrics import Metrics

Floats = NDArray[np.float64]

LEAST_KNOWN = 30
"""Minimum customers with a known feature for its mean to count as a position. With ten, a single
new customer moves the mean by a standard deviation, which is not drift."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusterSnapshot:
    """The global model at one moment: k clusters, d features, NaN for unknown.

    Parameters
    ----------
    generation
        Number of the model's generation.
    provisional
        Whether it was fitted while windows were still filling.
    updated_at
        When the model last changed, epoch seconds.
    segments
        Segment of each row's cluster, (k,), in any order.
    centroids
        (k, d) feature units.
    means
        Means (k, d) of the customers now in each cluster; NaN where a feature is unknown for all.
    known
        Customers (k, d) of each cluster with a known feature.
    baseline
        Centroids (k, d) at the start of the generation.
    stddevs
        (d,) unit of position, shift and travel. Use the scaler's values from the start of the
        generation, so that a moving scaler does not look like a moving centroid.
    sizes
        Customers in each cluster, (k,).
    mean, variance
        Mean and variance of the scaler now, (d,).
    persona_distances
        (k,) standard deviations.
    mean_squared_distances
        (k,) squared standard deviations.
    explained_variance_ratio
        0..1.
    """

    generation: int
    provisional: bool
    updated_at: float
    segments: tuple[str, ...]
    centroids: Floats
    means: Floats
    known: NDArray[np.int64]
    baseline: Floats
    stddevs: Floats
    sizes: NDArray[np.int64]
    mean: Floats
    variance: Floats
    persona_distances: Floats
    mean_squared_distances: Floats
    explained_variance_ratio: float


class DriftMetrics:
    """Sets the cluster gauges from snapshots, and accumulates the travel of centroids."""

    def __init__(self, metrics: Metrics, segmentation: Segmentation) -> None:
        self._metrics, self._segmentation = metrics, segmentation
        self._generation: int | None = None
        self._last = np.empty(0)

    def update(self, snapshot: ClusterSnapshot) -> None:
        """Report a snapshot.

        Travel is the sum of root mean square moves between successive snapshots of a generation.
        A new generation starts from its own first snapshot, since a refit is a decision and not
        drift. Shift and travel ignore features that too few customers have.

        Raises
        ------
        ValueError
            If the snapshot's segments differ from those of the segmentation.
        """
        segments = self._segmentation.segment_ids
        if sorted(snapshot.segments) != sorted(segments):
            raise ValueError(f"segments must be {', '.join(segments)}, each once")
        rows = [snapshot.segments.index(segment) for segment in segments]
        centroids = np.asarray(snapshot.centroids, dtype=np.float64)[rows]
        weights = feature_weights(snapshot.stddevs**2)
        unit = np.where(weights > 0, snapshot.stddevs, np.nan)

        enough = snapshot.known[rows] >= LEAST_KNOWN
        settled = np.where(enough, centroids, np.nan)

        metrics = self._metrics
        metrics.set("model_generation", snapshot.generation)
        metrics.set("model_last_update_timestamp_seconds", snapshot.updated_at)
        metrics.set("model_provisional", snapshot.provisional)
        metrics.set_all("centroid_natural_units", self._segmentation.natural(snapshot.means[rows]))
        metrics.set_all("cluster_customers", snapshot.sizes[rows])
        metrics.set_all("centroid_position_stddevs", (centroids - snapshot.mean) / unit)
        metrics.set_all(
            "centroid_shift_stddevs", centroid_shift(settled, snapshot.baseline[rows], weights)
        )
        travel = self._travel(snapshot.generation, settled, weights).tolist()
        for segment, way in zip(segments, travel, strict=True):
            metrics.count("centroid_travel_stddevs_total", segment, n=way)
        metrics.set_all("persona_distance_stddevs", snapshot.persona_distances[rows])
        metrics.set_all("cluster_mean_squared_distance", snapshot.mean_squared_distances[rows])
        metrics.set("explained_variance_ratio", snapshot.explained_variance_ratio)
        metrics.set_all("scaler_mean", snapshot.mean)
        metrics.set_all("scaler_stddev", np.sqrt(snapshot.variance))

    def _travel(self, generation: int, centroids: Floats, weights: Floats) -> Floats:
        last = self._last if generation == self._generation else centroids
        # While a coordinate is unknown, keep its last position, so its later move counts in full.
        self._last = np.where(np.isnan(centroids), last, centroids)
        self._generation = generation
        return np.nan_to_num(centroid_shift(self._last, last, weights))
