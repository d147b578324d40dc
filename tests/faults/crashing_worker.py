"""A worker that signals itself at a named point of a round: ``python -m ... POINT CALL SIGNAL``.

SIGKILL ends it there; SIGSTOP leaves it there until somebody wakes it, and then it goes on. Both
meet the publisher's process as well, as when a machine goes. Only tests run this; the service knows
nothing of it.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from kafka import KafkaProducer

from livesegments import worker
from livesegments.settings import load
from producers.publishing_process import PublishingProcess, serve
from store.partitions import Partitions

POINTS = {
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
"""Below what settings take, so that a test need not wait for long to be past it."""


def crashing(point: str, call: int, how: signal.Signals = signal.SIGKILL) -> Sequence[str]:
    """Return the command of a worker that signals itself at the call-th time at a point."""
    return [sys.executable, "-m", "tests.faults.crashing_worker", point, str(call), how.name]


def signal_at(point: str, call: int, how: signal.Signals) -> None:
    """Signal the worker's processes the call-th time that this one reaches a point."""
    owner, name, when = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.killpg(0, how)
        result = original(*args, **kwargs)
        if calls == call and when == "after":
            os.killpg(0, how)
        return result

    setattr(owner, name, deadly)


def publish_until(
    signalled: tuple[str, int, signal.Signals],
    pipe: Connection,
    config: Mapping[str, Any],
    transactional_id: str,
) -> None:
    """Serve as the publisher's process does, with a point among its steps."""
    signal_at(*signalled)
    serve(pipe, config, transactional_id)


if __name__ == "__main__":
    signalled = (sys.argv[1], int(sys.argv[2]), signal.Signals[sys.argv[3]])
    if POINTS[signalled[0]][0] is KafkaProducer:
        worker.PublishingProcess = partial(  # type: ignore[assignment, attr-defined]
            PublishingProcess, target=partial(publish_until, signalled)
        )
    else:
        signal_at(*signalled)
    settings = load()
    if signalled[2] is signal.SIGSTOP:
        quick = {"max_poll_interval_seconds": MAX_POLL_INTERVAL_SECONDS}
        settings = settings.model_copy(update=quick)
    worker.run(settings)
