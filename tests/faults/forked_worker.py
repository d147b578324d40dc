"""A worker forked off a process that has everything loaded, for tests that start many."""

import os
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from livesegments import worker
from livesegments.logs import configure
from livesegments.settings import load

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def fork(environment: Mapping[str, str], log: Path) -> ForkServerProcess:
    """Start a worker with these variables set, which logs to a file."""
    process = _CONTEXT.Process(target=_run, args=(dict(environment), log))
    process.start()
    return process


def _run(environment: Mapping[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("wb") as out:
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    settings = load()
    configure(settings)
    worker.run(settings)
