"""The model of a running deployment as it stands, for commands that only look."""

import time
from collections.abc import Mapping
from typing import Any

from consumers.definitions import DefinitionsReader
from consumers.global_model import GlobalModel
from consumers.rules import Model
from store.partitions import Deployment, Partitions


def current_model(
    config: Mapping[str, Any], store: Partitions, deployment: Deployment
) -> Model | None:
    """Return what assigns customers now, None during the warm-up.

    As workers have it: a generation from its topic, and the sum of all partitions' statistics; the
    fitted centroids while some are still in an older generation.
    """
    reader = DefinitionsReader(config)
    reader.close()
    model = GlobalModel(store, deployment.partitions, deployment.segments)
    model.adopt(reader.generation)
    model.refresh({}, time.monotonic())
    return model.model({})
