"""A worker whose wall clock is ahead by the days in a file: ``python -m ... FILE``.

Only tests run this; the service knows nothing of it.
"""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

from livesegments import worker
from livesegments.settings import load

DAY_NS = 86_400_000_000_000


def shift(by: Path) -> None:
    """Move the clock that the worker ends its windows at."""
    real = time.time_ns
    shifted = SimpleNamespace(time_ns=lambda: real() + round(float(by.read_text()) * DAY_NS))
    setattr(worker, "time", shifted)  # noqa: B010 - not among what the module exports


if __name__ == "__main__":
    shift(Path(sys.argv[1]))
    worker.run(load())
