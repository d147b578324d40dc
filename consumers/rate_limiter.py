"""Rate limit for segment changes emitted by background sweeps."""

SWEPT = frozenset({"expiry", "model", "recovery", "erasure"})
"""Origins of changes made by sweeps; the request itself may also make those of an erasure."""


class SweepRateLimiter:
    """Rate limiter that pauses sweeps to keep a worker's changes below a rate.

    A sweep chunk that made changes is followed by the pause they take at that rate. Nothing is
    queued: the remaining customers are simply scored later, with the model and the clock of that
    time. Live events are never delayed.

    Parameters
    ----------
    per_second
        Maximum number of changes per second; 0 for no limit.

    Attributes
    ----------
    free_at
        When the pause of sweeps ends, in seconds.

    Examples
    --------
    >>> pace = SweepRateLimiter(100)
    >>> pace.made(250, now_s=10.0)
    >>> pace.free_at
    12.5
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self.free_at = float("-inf")

    def made(self, changes: int, now_s: float) -> None:
        """Record the changes that sweeps have just made."""
        if self._per_second and changes:
            self.free_at = max(self.free_at, now_s) + changes / self._per_second
