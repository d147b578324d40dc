"""The model and the clocks of a running deployment, kept up to date by a thread."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import structlog
from kafka.errors import KafkaError
from redis.exceptions import RedisError

from livesegments.config.clients import kafka_config
from livesegments.config.settings import Settings
from livesegments.consumers.modelling.global_model import DefinitionsReader, GlobalModel
from livesegments.consumers.retry import describe
from livesegments.domain import Model, ProcessingConfig
from livesegments.operations.model_loader import other_segmentation, rules_of
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions

log = structlog.get_logger()

REFRESH_SECONDS = 1.0
AWAY = "Redis is away"


@dataclass(frozen=True, slots=True)
class Current:
    """A deployment at one moment.

    Attributes
    ----------
    deployment, config
        Of the workers; None if none has ever run.
    model
        None before the first fit.
    clocks_us
        Clock of each partition, microseconds; 0 where nothing was processed.
    """

    deployment: Deployment | None = None
    config: ProcessingConfig | None = None
    model: Model | None = None
    clocks_us: tuple[int, ...] = ()


class CurrentModel:
    """Reads the model and the clocks once a second.

    Parameters
    ----------
    settings
        Of the deployment.
    store
        The deployment.
    """

    def __init__(self, settings: Settings, store: Partitions) -> None:
        self._settings, self._store = settings, store
        self._segmentation = settings.read_segmentation()
        self.now = Current()
        self.trouble: str | None = "the store is being read"
        """Why customers cannot be read now."""

    def follow(self, stopping: threading.Event, beat: Callable[[], object] = lambda: None) -> None:
        """Keep it up to date until asked to stop; retry while a server is away."""
        config = kafka_config(self._settings)
        while not stopping.is_set():
            try:
                with closing(DefinitionsReader(config, self._segmentation)) as definitions:
                    merged: GlobalModel | None = None
                    while not stopping.is_set():
                        beat()
                        definitions.poll()
                        merged = self._refresh(definitions, merged)
                        stopping.wait(REFRESH_SECONDS)
            except (KafkaError, OSError) as error:
                # The generation stays as it was read; the follower says that Kafka is away.
                log.debug("definitions cannot be read", error=str(error))
                beat()
                stopping.wait(REFRESH_SECONDS)

    def _refresh(
        self, definitions: DefinitionsReader, merged: GlobalModel | None
    ) -> GlobalModel | None:
        segmentation = self._segmentation
        try:
            deployment = self._store.deployment()
            if deployment is None:
                self.now, self.trouble = Current(), "no worker has run yet"
                return None
            if (difference := other_segmentation(deployment, segmentation)) is not None:
                self.now, self.trouble = Current(), difference
                return None
            if merged is None or deployment != self.now.deployment:
                merged = GlobalModel(self._store, deployment.partitions, segmentation, 0.0)
            merged.adopt(definitions.generation)
            merged.refresh({}, time.monotonic())
            checkpoints = self._store.checkpoints(range(deployment.partitions))
        except RedisError as error:
            if self.trouble != AWAY:
                log.warning("store cannot be read", error=describe(error))
            self.trouble = AWAY
            return merged
        clocks = tuple(each.clock_us if each else 0 for each in checkpoints)
        config = rules_of(self._settings, deployment)
        self.now, self.trouble = Current(deployment, config, merged.model({}), clocks), None
        return merged
