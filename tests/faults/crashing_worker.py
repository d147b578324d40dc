"""A worker with a fault at a named point of a micro-batch: ``python -m ... POINT CALL HOW [FILE]``.

SIGKILL ends it there; SIGSTOP stops it there until it is resumed. Both also hit the publisher's
process, as when a machine fails. With ``hang`` the process stays alive but never returns from the
call. Only tests run this; the service knows nothing of it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kafka import KafkaProducer

from livesegments import app
from livesegments.config import logs
from livesegments.config.settings import load
from livesegments.producers.publishing_process import PublishingProcess, serve
from livesegments.store.partitions import Partitions

Point: TypeAlias = tuple[type, str, str]
"""Class, method, and whether before or after it."""

POINTS: dict[str, Point] = {
    "before the store is read": (Partitions, "read", "before"),
    "before the commit": (Partitions, "commit", "before"),
    "after the commit": (Partitions, "commit", "after"),
    "transaction begun": (KafkaProducer, "begin_transaction", "after"),
    "records sent": (KafkaProducer, "flush", "after"),
    "offsets sent": (KafkaProducer, "send_offsets_to_transaction", "after"),
    "transaction committed": (KafkaProducer, "commit_transaction", "after"),
    "while taking over": (Partitions, "load", "after"),
}

MAX_POLL_INTERVAL_SECONDS = 9.0
"""Below the minimum of the setting, so that tests do not wait long."""


class Harm(NamedTuple):
    """A fault, its point and the number of the call.

    With a file, calls count only while the file exists, and the fault removes it.
    """

    point: str
    call: int
    how: str = "SIGKILL"
    file: str = __file__


def crashing(
    point: str, call: int, how: str = "SIGKILL", file: str | Path = __file__
) -> Sequence[str]:
    """Return the command of a worker with a fault at the call-th time it reaches a point."""
    return [sys.executable, "-m", "tests.faults.crashing_worker", point, str(call), how, str(file)]


def strike(how: str) -> None:
    """Kill, stop or hang."""
    if how == "hang":
        time.sleep(3_600)
    else:
        os.killpg(0, signal.Signals[how])


def await_harm(harm: Harm, points: Mapping[str, Point] = POINTS) -> None:
    """Install a fault for the call-th time that this process reaches the point."""
    owner, name, when = points[harm.point]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += Path(harm.file).exists()
        struck = calls == harm.call
        if struck and harm.file != __file__:
            Path(harm.file).unlink(missing_ok=True)
        if struck and when == "before":
            strike(harm.how)
        result = original(*args, **kwargs)
        if struck and when == "after":
            strike(harm.how)
        return result

    setattr(owner, name, deadly)


def publish_until(
    harm: Harm, pipe: Connection, config: Mapping[str, Any], transactional_id: str
) -> None:
    """Run the publisher's process with a point among its steps."""
    await_harm(harm)
    serve(pipe, config, transactional_id)


if __name__ == "__main__":
    harm = Harm(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    if POINTS[harm.point][0] is KafkaProducer:
        app.PublishingProcess = partial(  # type: ignore[assignment, attr-defined]
            PublishingProcess, target=partial(publish_until, harm)
        )
    else:
        await_harm(harm)
    settings = load()
    if harm.how != "SIGKILL":
        quick = {"max_poll_interval_seconds": MAX_POLL_INTERVAL_SECONDS}
        settings = settings.model_copy(update=quick)
    logs.configure(settings)
    app.run(settings)
