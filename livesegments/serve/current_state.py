"""The newest state of a deployment, read by a thread."""

import threading

import structlog
from redis.exceptions import RedisError

from livesegments.analysis.survey.context import DeploymentReader, DeploymentState, ReportError
from livesegments.consumers.retry import describe
from livesegments.operations.model_loader import NoModelError

log = structlog.get_logger()

REFRESH_SECONDS = 1.0
AWAY = "Redis is away"


class CurrentState:
    """Reads the state once a second.

    Attributes
    ----------
    now
        The newest state; None before the first.
    trouble
        Why customers cannot be read now.
    """

    def __init__(self, reader: DeploymentReader) -> None:
        self._reader = reader
        self.now: DeploymentState | None = None
        self.trouble: str | None = "the store is being read"

    def follow(self, stopping: threading.Event) -> None:
        """Keep it up to date until asked to stop."""
        while not stopping.is_set():
            try:
                self.now, self.trouble = self._reader.look(), None
            except RedisError as error:
                self._fails(AWAY, describe(error))
            except (NoModelError, ReportError) as error:
                self.now, self.trouble = None, str(error)
            except Exception as error:  # noqa: BLE001 - reported in every answer, and retried
                self._fails(f"the model cannot be read: {type(error).__name__}", describe(error))
            stopping.wait(REFRESH_SECONDS)

    def _fails(self, trouble: str, error: str) -> None:
        if self.trouble != trouble:
            log.warning("state cannot be read", error=error)
        self.trouble = trouble
