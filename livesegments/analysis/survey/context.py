"""The current model of a deployment, and its settings."""

import threading
import time
from dataclasses import dataclass

from livesegments.config.settings import Settings
from livesegments.consumers.modelling.definitions import complete_generation
from livesegments.consumers.modelling.global_model import GlobalModel
from livesegments.contracts.segments import SegmentDefinition
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.segmentation import Segmentation
from livesegments.history.database import History
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.generation import Generation
from livesegments.operations.model_loader import (
    deployment_of,
    no_model,
    other_segmentation,
    rules_of,
)
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions

OLDEST_S = 0.5
_NEWEST = """
SELECT value FROM definitions WHERE generation = (
    SELECT max(generation)
    FROM (SELECT generation FROM definitions GROUP BY generation HAVING count(*) = ?)
)
"""


class ReportError(RuntimeError):
    """Nothing to report on; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment at one moment.

    Partitions that processed nothing have a clock of 0; there is no model before the first fit, and
    no statistics while partitions move to another generation.
    """

    deployment: Deployment
    rules: ProcessingConfig
    clocks_us: tuple[int, ...]
    model: Model | None
    statistics: ClusterStatistics | None


@dataclass(frozen=True, slots=True)
class DeploymentContext:
    """A deployment that has a model; no statistics while partitions move to another generation."""

    deployment: Deployment
    rules: ProcessingConfig
    model: Model
    statistics: ClusterStatistics | None

    @property
    def valued(self) -> int:
        """Index of the segment that is expected to buy and spend the most."""
        return self.rules.segmentation.most_valuable

    @property
    def spending_more(self) -> list[str]:
        """Segments whose customers spend more than those of the most valuable one."""
        segments, features = self.model.generation.segments, self.model.kmeans.features
        if "spend" not in features:
            return []
        column = self.model.snapshot.centroids[:, features.index("spend")]
        spend = dict(zip(segments, column.tolist(), strict=True))
        valued = spend[self.rules.segment_ids[self.valued]]
        return [segment for segment, each in spend.items() if each > valued]


class DeploymentReader:
    """Reads the state of a deployment: the fits from its history, the rest from the store."""

    def __init__(self, settings: Settings, store: Partitions, history: History) -> None:
        self._settings, self._store, self._history = settings, store, history
        self._global: GlobalModel | None = None
        self._lock = threading.Lock()

    def look(self) -> DeploymentState:
        """Return the state now; the statistics of the clusters are half a second old at most.

        Raises
        ------
        NoModelError
            If no worker has ever run.
        ReportError
            If the settings name other segments or features.
        """
        deployment = deployment_of(self._store)
        segmentation = self._settings.read_segmentation()
        if (difference := other_segmentation(deployment, segmentation)) is not None:
            raise ReportError(difference)
        clocks_us = [
            each.clock_us if each else 0
            for each in self._store.checkpoints(range(deployment.partitions))
        ]
        generation = self._generation(segmentation)
        with self._lock:
            merged = self._global
            # An older generation is that of topics that were created again.
            if merged is None or (generation and generation.number < merged.number):
                merged = GlobalModel(self._store, deployment.partitions, segmentation, OLDEST_S)
                self._global = merged
            merged.adopt(generation)
            merged.refresh({}, time.monotonic())
            model, complete = merged.model({}), merged.complete({})
        statistics = None if complete is None else complete.statistics
        rules = rules_of(self._settings, deployment)
        return DeploymentState(deployment, rules, tuple(clocks_us), model, statistics)

    def read(self) -> DeploymentContext:
        """Return the state now, as `look` does; raises `NoModelError` before the first fit too."""
        now = self.look()
        if now.model is None:
            raise no_model(self._settings)
        return DeploymentContext(now.deployment, now.rules, now.model, now.statistics)

    def _generation(self, segmentation: Segmentation) -> Generation | None:
        with self._history.cursor() as cursor:
            found = cursor.execute(_NEWEST, [len(segmentation.segments)]).fetchall()
        definitions = [SegmentDefinition.model_validate_json(value) for (value,) in found]
        return complete_generation(definitions, segmentation)
