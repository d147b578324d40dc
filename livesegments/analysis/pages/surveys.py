"""Surveys of a running deployment, one after the other in a thread of their own."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import duckdb
import structlog
from kafka.errors import KafkaError
from redis.exceptions import RedisError

from livesegments.analysis.pages.audiences import audiences_page
from livesegments.analysis.pages.segments import Period
from livesegments.analysis.segments import describe
from livesegments.analysis.survey.context import DeploymentContext, DeploymentReader
from livesegments.analysis.survey.process import SurveyProcess
from livesegments.analysis.survey.run import Survey
from livesegments.config.settings import Settings
from livesegments.history.database import History
from livesegments.operations.model_loader import NoModelError

log = structlog.get_logger()

DAYS = 30
"""Period of departures, and horizon of those to come."""
PAUSE_SECONDS, SHARE = 30.0, 0.4
"""Least time between two surveys, and the share of the time that they take at most, with rests."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A survey, and the page that it makes."""

    context: DeploymentContext
    survey: Survey
    period: Period
    audiences: dict[str, Any]


class Surveys:
    """Repeats a survey: the latest, their number so far, and why the last one failed, if it did."""

    def __init__(
        self,
        settings: Settings,
        reader: DeploymentReader,
        history: History,
        explain: Callable[[Exception], str],
    ) -> None:
        self._process = SurveyProcess(settings, history)
        self._reader, self._history = reader, history
        self._explain = explain
        self.latest: Surveyed | None = None
        self.number = 0
        self.trouble = ""

    def run(self, stopping: threading.Event) -> None:
        """Survey until asked to stop; retry what fails."""
        while not stopping.is_set():
            began_s = time.monotonic()
            pause = RETRY_SECONDS
            try:
                if not self._history.filled:
                    raise NoModelError("the history is being read from Kafka")
                self.latest = self._survey()
                self.number += 1
                self.trouble = ""
                pause = max(PAUSE_SECONDS, (time.monotonic() - began_s) * (1 / SHARE - 1))
            except NoModelError:
                pass
            except (RuntimeError, OSError, KafkaError, RedisError, duckdb.Error) as error:
                if stopping.is_set():
                    return
                self.trouble, pause = self._explain(error), PAUSE_SECONDS
                log.warning("survey failed", error=self.trouble, retry_seconds=pause)
            stopping.wait(pause)

    def stop(self) -> None:
        """End a survey under way."""
        self._process.stop()

    def _survey(self) -> Surveyed:
        context = self._reader.read()
        found = self._process.survey(context, DAYS)
        period = Period.until(found.clock_us, DAYS)
        order = [
            each["id"] for each in describe(context.model, context.rules.segmentation, Counter())
        ]
        with self._history.cursor() as cursor:
            audiences = audiences_page(cursor, context, period, order)
        return Surveyed(context, found, period, audiences)
