"""The model of a deployment as it stands, and the rules that it works by."""

from dataclasses import dataclass, replace

import numpy as np

from consumers.rules import Model, Rules
from features.layout import Layout
from features.vector import natural
from livesegments.clients import kafka_config
from livesegments.current_model import current_model
from livesegments.settings import Settings
from livesegments.worker import rules as rules_of
from model.cluster_statistics import ClusterStatistics
from model.personas import Persona, positions
from model.snapshot import ModelSnapshot
from model.types import Floats
from store.deployment import Deployment
from store.partitions import Partitions


class ReportError(RuntimeError):
    """There is nothing to report on; says why, and the way out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A deployment at one moment; no statistics while partitions take a generation over."""

    store: Partitions
    deployment: Deployment
    rules: Rules
    model: Model
    statistics: ClusterStatistics | None

    @property
    def valued(self) -> int:
        """Index of the segment whose persona is expected to buy and spend the most."""
        return int(positions(self.rules.personas)[:, :2].sum(axis=1).argmax())


def look(settings: Settings, store: Partitions) -> Standing:
    """Return a deployment as it stands.

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
    layout = Layout(deployment.window_days, deployment.tiles)
    rules = replace(rules_of(settings), layout=layout, currency=deployment.currency)
    return Standing(store, deployment, rules, model, current.statistics({}))


def expected(personas: tuple[Persona, ...], view: ModelSnapshot) -> Floats:
    """Return where personas are expected, in natural units (k, d); NaN where nothing is known."""
    scale = np.where(view.weights > 0, view.std, np.nan)
    return natural(view.mean + positions(personas) * scale)
