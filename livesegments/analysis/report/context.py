"""The current model of a deployment, and its settings."""

from dataclasses import dataclass, replace

import numpy as np

from livesegments.app import rules as rules_of
from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.domain import Model, ProcessingConfig
from livesegments.features.feature_specs import natural
from livesegments.features.window import Tiling
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.model.personas import Persona, positions
from livesegments.model.snapshot import ModelSnapshot
from livesegments.model.types import Floats
from livesegments.operations.model_loader import current_model
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
        """Index of the segment whose persona buys and spends the most."""
        return int(positions(self.rules.personas)[:, :2].sum(axis=1).argmax())


def load_context(settings: Settings, store: Partitions) -> ReportContext:
    """Read the current state of a deployment.

    Raises
    ------
    ReportError
        If no worker has ever run, or there is no model yet.
    """
    deployment = store.deployment()
    if deployment is None:
        raise ReportError(f"no worker has ever run in group {settings.group_id!r}: start one")
    ids = tuple(persona.id for persona in settings.personas)
    if ids != deployment.segments:
        raise ReportError(
            f"segments are {', '.join(ids)} here and {', '.join(deployment.segments)} in the store:"
            " set LIVESEGMENTS_PERSONAS_FILE as the workers have it"
        )
    current = current_model(
        kafka_config(settings), store, deployment.partitions, deployment.segments
    )
    model = current.model({})
    if model is None:
        raise ReportError(
            f"there is no model yet: the first comes when {settings.warmup_customers} customers"
            " have bought (LIVESEGMENTS_WARMUP_CUSTOMERS)"
        )
    layout = Tiling(deployment.window_days, deployment.tiles)
    rules = replace(rules_of(settings), layout=layout, currency=deployment.currency)
    complete = current.complete({})
    statistics = None if complete is None else complete.statistics
    return ReportContext(store, deployment, rules, model, statistics)


def expected(personas: tuple[Persona, ...], view: ModelSnapshot) -> Floats:
    """Return the positions of personas in natural units (k, d); NaN for unknown features."""
    scale = np.where(view.weights > 0, view.std, np.nan)
    return natural(view.mean + positions(personas) * scale)
