"""Surveys in a process of their own, so that they do not slow down answers to requests.

The process has a low priority. It writes its tables to a file next to the history, which then takes
them over.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock

from livesegments.analysis.survey.context import DeploymentContext
from livesegments.analysis.survey.customers import CUSTOMERS
from livesegments.analysis.survey.purchases import PURCHASES
from livesegments.analysis.survey.run import Survey, survey
from livesegments.config.clients import open_store
from livesegments.config.error_messages import explain
from livesegments.config.settings import Settings
from livesegments.domain import Model
from livesegments.history.database import History
from livesegments.model.cluster_statistics import ClusterStatistics
from livesegments.operations.model_loader import rules_of
from livesegments.store.deployment import Deployment
from livesegments.store.partitions import Partitions

NICENESS = 19
RESTS = 3
"""Seconds of rest for each second of work, so that most of a core is left to answers."""


class SurveyError(RuntimeError):
    """A survey failed; the message says why."""


_Request = tuple[Deployment, Model, ClusterStatistics | None, int]
"""A deployment, with the horizon of its departures in days."""


class SurveyProcess:
    """Makes surveys for a history, one at a time; the process starts with the first."""

    def __init__(self, settings: Settings, history: History) -> None:
        self._settings, self._history = settings, history
        self._file = settings.serve_data.with_suffix(".survey")
        self._starting = Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    def survey(self, context: DeploymentContext, days: int) -> Survey:
        """Survey all customers but those that the history has no state of: erased meanwhile.

        Raises `SurveyError` if it fails, or was stopped.
        """
        self._delete()  # a crash may have left one
        try:
            pipe = self._start()
            pipe.send((context.deployment, context.model, context.statistics, days))
            found: Survey | str = pipe.recv()
            if isinstance(found, str):
                raise SurveyError(found)
            self._take_over()
        except (EOFError, OSError):
            self._end()
            raise SurveyError("the process of the survey ended: was it out of memory?") from None
        finally:
            self._delete()
        return found

    def stop(self) -> None:
        """End the process, and a survey under way."""
        self._stopped = True
        self._end()

    def _start(self) -> Connection:
        with self._starting:
            if self._stopped:
                raise EOFError
            if self._process is None:
                spawn = multiprocessing.get_context("spawn")
                self._pipe, theirs = spawn.Pipe()
                self._process = spawn.Process(
                    target=_serve,
                    args=(theirs, self._settings, self._file),
                    name="survey",
                    daemon=True,
                )
                self._process.start()
                theirs.close()
            assert self._pipe is not None
            return self._pipe

    def _end(self) -> None:
        with self._starting:
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process = None

    def _take_over(self) -> None:
        path = str(self._file).replace("'", "''")
        with self._history.cursor() as cursor:
            cursor.execute(f"ATTACH '{path}' AS survey (READ_ONLY)")
            try:
                with self._history.transaction() as writing:
                    for table in (CUSTOMERS, PURCHASES):
                        writing.execute(
                            f"CREATE OR REPLACE TABLE {table} AS FROM survey.{table}"
                            " WHERE customer_id IN (SELECT customer_id FROM customers)"
                        )
            finally:
                cursor.execute("DETACH survey")

    def _delete(self) -> None:
        for each in (self._file, self._file.with_name(f"{self._file.name}.wal")):
            each.unlink(missing_ok=True)


def _serve(pipe: Connection, settings: Settings, file: Path) -> None:
    """Make surveys until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both processes
    os.nice(NICENESS)
    store = open_store(settings)
    try:
        while True:
            pipe.send(_survey(settings, store, file, pipe.recv()))
    except (EOFError, OSError):
        return


@contextmanager
def _resting(_: str) -> Iterator[Callable[[int], None]]:
    """Rest after each batch of a step."""
    began_s = time.monotonic()

    def rest(_: int) -> None:
        nonlocal began_s
        time.sleep(RESTS * (time.monotonic() - began_s))
        began_s = time.monotonic()

    yield rest


def _survey(settings: Settings, store: Partitions, file: Path, request: _Request) -> Survey | str:
    deployment, model, statistics, days = request
    context = DeploymentContext(deployment, rules_of(settings, deployment), model, statistics)
    try:
        with closing(History(file)) as history:
            return survey(settings, context, store, history, days, _resting)
    except Exception as error:  # noqa: BLE001 - an exception may not survive the pipe
        return explain(error, settings)
