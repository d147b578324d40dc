"""The only code that talks to Redis: partition state, read and committed in one round trip each."""

from store.outbox import Output
from store.partitions import Commit, Deployment, Loaded, Partitions, Reading, StoreMismatchError
from store.progress import Progress

__all__ = [
    "Commit",
    "Deployment",
    "Loaded",
    "Output",
    "Partitions",
    "Progress",
    "Reading",
    "StoreMismatchError",
]
