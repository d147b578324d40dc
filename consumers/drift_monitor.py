"""Model metrics: cluster positions and drift."""

from collections.abc import Callable, Sequence

import numpy as np

from livesegments.consumers.modelling.initial_fit import Sample
from livesegments.consumers.scoring import Scores
from livesegments.domain import DriftSample, Model
from livesegments.features.record_codec import Records
from livesegments.features.segmentation import Segmentation
from livesegments.model import drift
from livesegments.model.detectors import DriftDetectors
from livesegments.model.vectors import Floats, feature_weights
from livesegments.monitoring.metrics import Metrics

MOST = 32
"""Customers per partition and micro-batch: enough for small micro-batches, cheap for large ones."""


def watch(customers: slice, records: Records, scores: Scores) -> DriftSample:
    """Sample customers evenly among those scored under the same generation as before.

    ``customers`` are the rows to sample from, a partition's customers in the batch; ``records``,
    (n,), are those before the scores are applied.
    """
    number = scores.model.generation.number
    same = scores.counted[customers] & (records["generation"][customers] == number)
    rows = customers.start + np.flatnonzero(same)
    if len(rows) > MOST:
        rows = rows[np.linspace(0, len(rows) - 1, MOST).astype(np.intp)]
    assignment, before = scores.assignment, records["segment"][rows]
    return DriftSample(
        distances=assignment.distances[rows, assignment.clusters[rows]],
        reassigned=(before >= 0) & (before != scores.segment[rows]),
    )


SAMPLE_SECONDS = 30.0


class DriftMonitor:
    """Reporter of one worker's view of the model.

    Positions, shifts and shares come from the exact statistics. For the silhouette and the feature
    distributions, the owner of partition 0 periodically draws a sample of customers. Detectors
    observe customers from this worker's own micro-batches.

    ``draw`` draws a sample of all customers.
    """

    def __init__(
        self, metrics: Metrics, segmentation: Segmentation, draw: Callable[[], Sample]
    ) -> None:
        self._metrics, self._segmentation, self._draw = metrics, segmentation, draw
        self._detectors: DriftDetectors | None = None
        self._watching = 0
        self._reported: Model | None = None
        self._updated_s = 0.0
        self._sampled_s: float | None = None
        self._travelled, self._last = 0, np.empty(0)
        """Generation of the last positions of the centroids, and these."""

    def look(self, watched: Sequence[DriftSample], model: Model | None) -> None:
        """Update the detectors with the customers of a micro-batch.

        Provisional generations, fitted while windows were filling, are skipped: everything moves
        then.
        """
        if model is None or model.generation.provisional:
            return
        if self._detectors is None or model.generation.number != self._watching:
            self._watching, self._detectors = model.generation.number, DriftDetectors()
        for each in watched:
            for signal, detector in self._detectors.update(each.distances, each.reassigned):
                self._metrics.count("drift_detections_total", signal, detector)

    def observe(self, model: Model | None, first: bool, now_s: float) -> None:
        """Report the current model, the sum of all partitions, if there is one.

        ``first`` tells whether this worker owns partition 0; ``now_s`` are epoch seconds.
        """
        if not first and self._sampled_s is not None:
            self._sampled_s = None
            unknown = np.full(len(self._segmentation.features), np.nan)
            self._metrics.set("silhouette_score", np.nan)
            self._metrics.set_all("feature_psi", unknown)
            self._metrics.set_all("feature_psi_critical", unknown)
        if model is None:
            return
        if model is not self._reported:
            if self._reported is None or model.statistics != self._reported.statistics:
                self._updated_s = now_s
            self._reported = model
            self._report(model)
        if not model.statistics.members.any():
            return
        if first and (self._sampled_s is None or now_s - self._sampled_s >= SAMPLE_SECONDS):
            self._sampled_s = now_s
            self._report_sample(model)

    def _report(self, model: Model) -> None:
        """Set the gauges of clusters, scale and shares, and count the travel of the centroids.

        Shift and travel ignore features that too few customers have.
        """
        generation, statistics, now = model.generation, model.statistics, model.snapshot
        metrics, rows = self._metrics, model.cluster_of_segment
        metrics.set("model_generation", generation.number)
        metrics.set("model_last_update_timestamp_seconds", self._updated_s)
        metrics.set("model_provisional", generation.provisional)
        metrics.set_all("cluster_customers", statistics.members[rows])
        if not statistics.members.any():
            return
        # A scaler that moves must not look like a centroid that moves: its unit is that of the fit.
        weights = feature_weights(generation.variance)
        unit = np.where(weights > 0, np.sqrt(generation.variance), np.nan)
        settled = np.where(statistics.known >= drift.LEAST_KNOWN, now.centroids, np.nan)
        personas = drift.persona_distance(
            now.zscores(model.means()), generation.segments, self._segmentation.segments
        )
        natural = self._segmentation.natural(statistics.centroids())
        for name, values in (
            ("centroid_natural_units", natural),
            ("centroid_position_stddevs", (now.centroids - now.mean) / unit),
            (
                "centroid_shift_stddevs",
                drift.centroid_shift(settled, generation.centroids, weights),
            ),
            ("persona_distance_stddevs", personas),
            (
                "cluster_mean_squared_distance",
                drift.mean_squared_distance(statistics, now.weights),
            ),
        ):
            metrics.set_all(name, values[rows])
        for segment, way in zip(
            generation.segments, self._travel(generation.number, settled, weights), strict=True
        ):
            metrics.count("centroid_travel_stddevs_total", segment, n=way)
        explained = drift.explained_variance_ratio(statistics, now.weights)
        metrics.set("explained_variance_ratio", explained)
        metrics.set_all("scaler_mean", now.mean)
        metrics.set_all("scaler_stddev", now.std)
        expected = np.array(generation.sizes, np.float64)
        actual = statistics.members.astype(np.float64)
        critical = drift.psi_critical_value(len(expected), int(expected.sum()), int(actual.sum()))
        metrics.set("segment_share_psi", drift.psi(expected, actual))
        metrics.set("segment_share_psi_critical", critical)

    def _travel(self, generation: int, centroids: Floats, weights: Floats) -> list[float]:
        """Return the root mean square moves of the centroids since the last report.

        A new generation starts from its own first report: a refit is a decision and not drift.
        """
        last = self._last if generation == self._travelled else centroids
        # While a coordinate is unknown, keep its last position, so its later move counts in full.
        self._last = np.where(np.isnan(centroids), last, centroids)
        self._travelled = generation
        return list(np.nan_to_num(drift.centroid_shift(self._last, last, weights)).tolist())

    def _report_sample(self, model: Model) -> None:
        vectors, histograms = self._draw().vectors, model.generation.histograms
        assignment = model.kmeans.predict_arrays(vectors)
        self._metrics.set(
            "silhouette_score", drift.silhouette(assignment.distances, assignment.clusters)
        )
        if histograms and len(vectors):
            self._metrics.set_all(
                "feature_psi",
                [each.psi(x) for each, x in zip(histograms, vectors.T, strict=True)],
            )
            self._metrics.set_all(
                "feature_psi_critical",
                [each.psi_critical_value(len(vectors)) for each in histograms],
            )
