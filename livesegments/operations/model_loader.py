"""Read-only loader of a running deployment's settings and current model."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from livesegments import app
from livesegments.config.settings import Settings
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.domain import ProcessingConfig
from livesegments.features.segmentation import Segmentation
from livesegments.features.window import Tiling
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions


class NoModelError(RuntimeError):
    """There is no deployment or no model yet; states the remedy."""


def deployment_of(store: Partitions) -> Deployment:
    """Return the deployment of a store; raises `NoModelError` if no worker has ever run."""
    deployment = store.deployment()
    if deployment is None:
        raise NoModelError(
            f"no worker has ever run in group {store.group_id!r}: start a worker first"
            " (livesegments run)"
        )
    return deployment


def other_segmentation(deployment: Deployment, segmentation: Segmentation) -> str | None:
    """Return in a sentence how a segmentation differs from that of the workers, None if not."""
    for what, here, there in (
        ("segments", segmentation.segment_ids, deployment.segments),
        ("features", segmentation.feature_names, deployment.features),
    ):
        if here != there:
            return (
                f"{what} are {', '.join(here)} here and {', '.join(there)} in the store: set"
                " LIVESEGMENTS_SEGMENTATION as the workers have it"
            )
    return None


def rules_of(settings: Settings, deployment: Deployment) -> ProcessingConfig:
    """Return the processing configuration of the workers."""
    layout = Tiling(deployment.window_days, deployment.tiles)
    return replace(app.processing_config(settings), layout=layout, currency=deployment.currency)


def no_model(settings: Settings) -> NoModelError:
    """Return the error for the time before the first fit."""
    return NoModelError(
        f"there is no model yet: the first comes when {settings.warmup_customers} customers have"
        " bought (LIVESEGMENTS_WARMUP_CUSTOMERS) and not all of them the same"
    )


def current_model(
    config: Mapping[str, Any], store: Partitions, deployment: Deployment, segmentation: Segmentation
) -> GlobalModel:
    """Return the model of a deployment, as seen by a worker that owns no partition.

    It consists of the generation from its topic, None during the warm-up, and the sum of all
    partitions' statistics, None while some are still in an older generation.
    """
    reader = DefinitionsReader(config, segmentation)
    reader.close()
    model = GlobalModel(store, deployment.partitions, segmentation)
    model.adopt(reader.generation)
    model.refresh({}, time.monotonic())
    return model
