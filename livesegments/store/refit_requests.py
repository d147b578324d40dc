"""Manual refit requests, stored until the owner of partition 0 takes them."""

from livesegments.store.cluster_pipeline import Client
from livesegments.store.keys import refit_key

_REMOVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RefitRequests:
    """Slot for one refit request at a time, with an expiry.

    Only the owner of partition 0 creates generations, in a commit of its own. It removes a request
    after publishing a generation newer than the one the request refers to. A crash at any point
    therefore leaves either the request or its generation, and no request produces two generations.
    """

    def __init__(self, client: Client, group_id: str) -> None:
        self._redis = client
        self._key = refit_key(group_id)

    def put(self, request: bytes, seconds: float) -> bool:
        """Store a request that expires after ``seconds``, unless one is pending; return success."""
        return bool(self._redis.set(self._key, request, px=round(seconds * 1000), nx=True))

    def get(self) -> bytes | None:
        """Return the pending request."""
        found: bytes | None = self._redis.get(self._key)  # type: ignore[assignment]
        return found

    def remove(self, request: bytes) -> bool:
        """Remove a request if it is still pending; return whether it was."""
        return bool(self._redis.eval(_REMOVE, 1, self._key, request))
