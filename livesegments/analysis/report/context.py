"""The current model of a deployment, and its settings."""

from dataclasses import dataclass

import numpy as np

from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.segmentation import Segmentation
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.naming import positions
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.types import Floats
from livesegments.operations.model_loader import current_model, deployment_of, no_model, rules_of
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions


class ReportError(RuntimeError):
    """Nothing to report on; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """A deployment at one moment; no statistics while partitions move to another generation."""

    store: Partitions
    deployment: Deployment
    rules: ProcessingConfig
    model: Model
    statistics: ClusterStatistics | None

    @property
    def valued(self) -> int:
        """Index of the segment that is expected to buy and spend the most."""
        return self.rules.segmentation.most_valuable


def load_context(settings: Settings, store: Partitions) -> ReportContext:
    """Read the current state of a deployment.

    Raises
    ------
    NoModelError
        If no worker has ever run, or there is no model yet.
    ReportError
        If the settings name other segments.
    """
    deployment = deployment_of(store)
    segmentation = settings.read_segmentation()
    ids, features = segmentation.segment_ids, segmentation.feature_names
    if ids != deployment.segments:
        raise ReportError(
            f"segments are {', '.join(ids)} here and {', '.join(deployment.segments)} in the store:"
            " set LIVESEGMENTS_SEGMENTATION as the workers have it"
        )
    if features != deployment.features:
        raise ReportError(
            f"features are {', '.join(features)} here and {', '.join(deployment.features)} in the"
            " store: set LIVESEGMENTS_SEGMENTATION as the workers have it"
        )
    current = current_model(kafka_config(settings), store, deployment, segmentation)
    model = current.model({})
    if model is None:
        raise no_model(settings)
    complete = current.complete({})
    statistics = None if complete is None else complete.statistics
    return ReportContext(store, deployment, rules_of(settings, deployment), model, statistics)


def expected(segmentation: Segmentation, view: ModelSnapshot) -> Floats:
    """Return the positions of segments in natural units (k, d); NaN for unknown features."""
    scale = np.where(view.weights > 0, view.std, np.nan)
    return segmentation.natural(view.mean + positions(segmentation.segments) * scale)
