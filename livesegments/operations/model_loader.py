"""Read-only loader of a running deployment's current model."""

import time
from collections.abc import Mapping
from typing import Any

from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.store.partitions import Partitions


def current_model(
    config: Mapping[str, Any], store: Partitions, partitions: int, segments: tuple[str, ...]
) -> GlobalModel:
    """Return the model of a deployment, as seen by a worker that owns no partition.

    It consists of the generation from its topic, None during the warm-up, and the sum of all
    partitions' statistics, None while some are still in an older generation.
    """
    reader = DefinitionsReader(config)
    reader.close()
    model = GlobalModel(store, partitions, segments)
    model.adopt(reader.generation)
    model.refresh({}, time.monotonic())
    return model
