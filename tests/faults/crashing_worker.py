"""A worker that kills itself at a named point of a round: ``python -m ... POINT CALL``.

Only tests run this; the service knows nothing of it.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer

from livesegments import worker
from livesegments.settings import load
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


def kill_at(point: str, call: int) -> None:
    """Make the call-th time that this point is reached the process's last."""
    owner, name, when = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == call and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    worker.run(load())
