"""A fit that a person has asked for, on its way to the owner of partition 0."""

from livesegments.store.cluster_pipeline import Client
from livesegments.store.keys import Keys

_REMOVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RefitRequests:
    """Where a request waits: one at a time, and never for longer than it said.

    Only the owner of partition 0 makes generations, with a commit of its own. It removes a request
    once a newer generation than the one the request is for is published, so that a crash at any
    point leaves either the request or its generation, and never makes two of it.
    """

    def __init__(self, client: Client, group_id: str) -> None:
        self._redis = client
        self._key = Keys(group_id).refit

    def put(self, request: bytes, seconds: float) -> bool:
        """Leave a request for so many seconds, if there is none; return whether it was left."""
        return bool(self._redis.set(self._key, request, px=round(seconds * 1000), nx=True))

    def get(self) -> bytes | None:
        """Return the request that waits."""
        found: bytes | None = self._redis.get(self._key)  # type: ignore[assignment]
        return found

    def remove(self, request: bytes) -> bool:
        """Remove a request if it still waits; return whether it did."""
        return bool(self._redis.eval(_REMOVE, 1, self._key, request))
