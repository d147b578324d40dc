"""Rate limits by client, in bounded memory."""

from collections import OrderedDict

MOST_CLIENTS = 10_000


class RateLimit:
    """Token bucket for each client: ``burst`` at once, refilled at ``per_second``.

    The clients seen last are kept; of those forgotten, each begins with a full bucket.

    Examples
    --------
    >>> limit = RateLimit(per_second=1, burst=2)
    >>> [limit.takes("ann", now_s=0.0) for _ in range(3)], limit.takes("ann", now_s=1.0)
    ([True, True, False], True)
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, client: str, now_s: float) -> bool:
        """Take one of a client's; return whether there was one."""
        has = self.left(client, now_s)
        took = has >= 1
        self._left[client] = (has - took, now_s)
        self._left.move_to_end(client)
        if len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return took

    def left(self, client: str, now_s: float) -> float:
        """Return how many a client may take now."""
        left, at_s = self._left.get(client, (self._burst, now_s))
        return min(self._burst, left + max(now_s - at_s, 0.0) * self._per_second)
