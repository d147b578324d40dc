"""What a worker tells of the model: where the clusters are, and how they drift."""

from collections.abc import Callable, Sequence

import numpy as np

from consumers.definitions import standing
from consumers.rules import Model
from consumers.warmup import Sample
from consumers.watched import Watched
from features.vector import FEATURES
from model import drift
from model.cluster_statistics import ClusterStatistics
from model.detectors import DriftDetectors
from model.generation import Generation
from model.personas import Persona
from model.snapshot import ModelSnapshot
from monitoring.drift_report import ClusterSnapshot, DriftMetrics
from monitoring.metrics import Metrics

SAMPLE_SECONDS = 30.0


class ModelWatch:
    """Reports one worker's view of the model.

    Positions, shifts and shares come from the exact statistics. For the silhouette and the
    distribution of features partition 0's owner draws a sample of customers now and then. Detectors
    look at customers of this worker's own rounds.

    Parameters
    ----------
    metrics
        Where the values go.
    personas
        The deployment's segments.
    draw
        Draws a sample of all customers.
    """

    def __init__(
        self, metrics: Metrics, personas: Sequence[Persona], draw: Callable[[], Sample]
    ) -> None:
        self._metrics, self._personas, self._draw = metrics, personas, draw
        self._drift = DriftMetrics(metrics)
        self._detectors = DriftDetectors()
        self._watching = 0
        self._statistics: ClusterStatistics | None = None
        self._updated_s = 0.0
        self._sampled_s: float | None = None

    def look(self, watched: Sequence[Watched], model: Model | None) -> None:
        """Show the customers of a round to the detectors.

        A generation that came while windows were filling is left out: everything moves then.
        """
        if model is None or model.generation.provisional:
            return
        if model.generation.number != self._watching:
            self._watching, self._detectors = model.generation.number, DriftDetectors()
        for each in watched:
            for signal, detector in self._detectors.update(each.distances, each.reassigned):
                self._metrics.count("drift_detections_total", signal, detector)

    def observe(
        self,
        generation: Generation | None,
        statistics: ClusterStatistics | None,
        first: bool,
        now_s: float,
    ) -> None:
        """Report the model as it stands.

        Parameters
        ----------
        generation, statistics
            The current generation and all customers counted in it, None while there are none.
        first
            Whether this worker owns partition 0.
        now_s
            Epoch seconds.
        """
        if not first:
            self._forget_sample()
        if generation is None or statistics is None or not statistics.members.any():
            return
        if self._statistics is None or statistics != self._statistics:
            self._statistics, self._updated_s = statistics, now_s
        view = ModelSnapshot.of(generation, statistics)
        self._drift.update(self._snapshot(generation, statistics, view))
        expected = np.array(generation.sizes, np.float64)
        actual = statistics.members.astype(np.float64)
        self._metrics.set("segment_share_psi", drift.psi(expected, actual))
        self._metrics.set(
            "segment_share_psi_critical",
            drift.psi_critical_value(len(expected), int(expected.sum()), int(actual.sum())),
        )
        if first and (self._sampled_s is None or now_s - self._sampled_s >= SAMPLE_SECONDS):
            self._sampled_s = now_s
            self._report_sample(generation, view)

    def _snapshot(
        self, generation: Generation, statistics: ClusterStatistics, view: ModelSnapshot
    ) -> ClusterSnapshot:
        return ClusterSnapshot(
            generation=generation.number,
            provisional=generation.provisional,
            updated_at=self._updated_s,
            segments=generation.segments,
            centroids=view.centroids,
            means=statistics.centroids(),
            known=statistics.known,
            baseline=generation.centroids,
            stddevs=np.sqrt(generation.variance),
            sizes=statistics.members,
            mean=view.mean,
            variance=view.std**2,
            persona_distances=drift.persona_distance(
                view.zscores(standing(generation, statistics)),
                generation.segments,
                self._personas,
            ),
            mean_squared_distances=drift.mean_squared_distance(statistics, view.weights),
            explained_variance_ratio=drift.explained_variance_ratio(statistics, view.weights),
        )

    def _report_sample(self, generation: Generation, view: ModelSnapshot) -> None:
        vectors = self._draw().vectors
        assignment = view.assign(vectors)
        self._metrics.set(
            "silhouette_score", drift.silhouette(assignment.distances, assignment.clusters)
        )
        if generation.histograms and len(vectors):
            self._metrics.set_all(
                "feature_psi",
                [each.psi(x) for each, x in zip(generation.histograms, vectors.T, strict=True)],
            )
            self._metrics.set_all(
                "feature_psi_critical",
                [each.psi_critical_value(len(vectors)) for each in generation.histograms],
            )

    def _forget_sample(self) -> None:
        if self._sampled_s is not None:
            self._sampled_s = None
            unknown = np.full(len(FEATURES), np.nan)
            self._metrics.set("silhouette_score", np.nan)
            self._metrics.set_all("feature_psi", unknown)
            self._metrics.set_all("feature_psi_critical", unknown)
